//! The contents and the identity of a file at one moment.

use super::{FileError, FileErrorKind, Metadata, Place};
use crate::{digest::Digest, text::shell_word};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat},
    io::Errno,
};
use std::{fmt, fs::File, io::Read as _};
use zeroize::Zeroizing;

/// The largest size of a file that is read, in bytes.
pub const MAX_BYTES: u64 = 4 << 20;

/// A regular file at one moment.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its contents; wiped from memory afterwards, because they may be a private key.
    pub contents: Zeroizing<Vec<u8>>,
    /// The digest of the contents.
    pub digest: Digest,
    /// The file system that it is on.
    pub device: u64,
    /// Its inode on that file system.
    pub inode: u64,
    /// Its permission bits, `0o7777`.
    pub mode: u32,
    /// The user it belongs to.
    pub uid: u32,
    /// The group it belongs to.
    pub gid: u32,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} inode {} mode {:o} owner {}:{})", self.digest, self.inode, self.mode, self.uid, self.gid)
    }
}

impl Place {
    /// The file at this place; none if nothing is there.
    ///
    /// # Errors
    /// `untrusted-path`: a link. `not-a-file`: a directory, FIFO, device or socket, or a file with more than one name.
    /// `too-large`: more than [`MAX_BYTES`]. `io`.
    pub fn snapshot(&self) -> Result<Option<Snapshot>, FileError> {
        let Some(mut file) = self.open()? else { return Ok(None) };
        let failed = |error| FileError::io(self.resolved(), error);
        let mut contents = Zeroizing::new(Vec::new());
        let room = usize::try_from(file.metadata().map_err(failed)?.len().min(MAX_BYTES)).unwrap_or_default();
        // Room for the whole file at once: growing would leave copies in memory that nobody wipes.
        contents.reserve_exact(room + 1);
        (&mut file).take(MAX_BYTES + 1).read_to_end(&mut contents).map_err(failed)?;
        if u64::try_from(contents.len()).is_ok_and(|length| length > MAX_BYTES) {
            return Err(FileError::new(FileErrorKind::TooLarge, self.resolved(), "more than 4 MiB")
                .with_next("take out of it what is not needed: Warded reads up to 4 MiB of a file".to_owned()));
        }
        let found = fstat(&file).map_err(|error| failed(error.into()))?;
        Ok(Some(Snapshot {
            digest: Digest::of(&contents),
            contents,
            device: found.st_dev,
            inode: found.st_ino,
            mode: found.st_mode & 0o7777,
            uid: found.st_uid,
            gid: found.st_gid,
        }))
    }

    /// Owner and extended attributes of the file at this place; none if nothing is there.
    ///
    /// # Errors
    /// As [`Place::snapshot`].
    pub fn metadata(&self) -> Result<Option<Metadata>, FileError> {
        let Some(file) = self.open()? else { return Ok(None) };
        Metadata::of(&file).map(Some).map_err(|error| FileError::io(self.resolved(), error))
    }

    /// The inode of whatever is at this place, of any type.
    pub(crate) fn inode(&self) -> Result<Option<u64>, FileError> {
        Ok(self.look()?.map(|found| found.st_ino))
    }

    pub(super) fn refuse_link(&self) -> Result<(), FileError> {
        match self.look()? {
            Some(found) if FileType::from_raw_mode(found.st_mode) == FileType::Symlink => {
                Err(FileError::below_a_wildcard(self.resolved()))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Opens the regular file at this place. Anything else is not even opened: opening can have effects on a device,
    /// and block on a FIFO.
    fn open(&self) -> Result<Option<File>, FileError> {
        let Some(found) = self.look()? else { return Ok(None) };
        self.refuse_unusual(&found)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = match openat(self.dir(), self.below(), flags, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(FileError::untrusted(self.resolved(), "a link")),
            Err(error) => return Err(FileError::io(self.resolved(), error)),
        };
        self.refuse_unusual(&fstat(&opened).map_err(|error| FileError::io(self.resolved(), error))?)?;
        Ok(Some(File::from(opened)))
    }

    fn look(&self) -> Result<Option<Stat>, FileError> {
        match statat(self.dir(), self.below(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(FileError::io(self.resolved(), error)),
        }
    }

    fn refuse_unusual(&self, found: &Stat) -> Result<(), FileError> {
        let what = match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile if found.st_nlink == 1 => return Ok(()),
            FileType::RegularFile if found.st_nlink == 0 => "removed while it was looked at",
            FileType::RegularFile => "a file that has another name as well (a hard link)",
            FileType::Symlink => return Err(FileError::untrusted(self.resolved(), "a link")),
            FileType::Directory => "a directory",
            FileType::Fifo => "a FIFO",
            FileType::Socket => "a socket",
            FileType::CharacterDevice | FileType::BlockDevice => "a device",
            FileType::Unknown => "not a regular file",
        };
        let error = FileError::not_a_file(self.resolved(), what);
        let path = shell_word(&self.resolved().to_string_lossy());
        Err(match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile if found.st_nlink > 1 => {
                error.with_next(format!("make it a file of its own: cp -p {path} {path}.new && mv {path}.new {path}"))
            }
            FileType::Directory | FileType::Fifo | FileType::Socket => {
                error.with_next(format!("move it away, so that a file can be there: mv {path} {path}.old"))
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                error.with_next("if a link leads there, take the link away: a file can then be in its place".to_owned())
            }
            FileType::RegularFile | FileType::Symlink | FileType::Unknown => error,
        })
    }
}
