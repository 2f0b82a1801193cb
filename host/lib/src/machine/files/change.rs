//! The few ways in which live files change. The kernel does each of these steps as a whole. Nothing here decides
//! whether a step should be taken.

use super::{Metadata, Place, metadata::take_label};
use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags, flock, fsync, openat, renameat, renameat_with, unlinkat},
    io::Errno,
};
use std::{fs::File, io, io::Write as _};

/// Whether a step was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The step was taken.
    Taken,
    /// The step was not taken: this file system cannot exchange two names, or cannot refuse to rename over an existing
    /// one.
    Unsupported,
}

/// A directory's lock, held until it is dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _directory: File,
}

impl Place {
    /// Makes a file where none may exist, and syncs it. It gets the owner and attributes in `metadata`; without those
    /// it keeps its creator as the owner, and gets what a new file in `target`'s directory gets.
    pub(crate) fn create(
        &self,
        contents: &[u8],
        mode: u32,
        metadata: Option<&Metadata>,
        target: &Self,
    ) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Only the owner can read it before it has its owner and mode: it may be a private key.
        let mut file = File::from(openat(self.dir(), self.below(), flags, Mode::RUSR | Mode::WUSR)?);
        let written = (|| {
            file.write_all(contents)?;
            match metadata {
                Some(metadata) => metadata.apply(&file)?,
                None if self.key().inode != target.key().inode => take_label(&file, target.dir())?,
                None => {}
            }
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o7777))?;
            Ok(fsync(&file)?)
        })();
        if written.is_err() {
            self.remove()?;
        }
        written
    }

    /// Exchanges the files at both places.
    pub(crate) fn exchange(&self, other: &Self) -> io::Result<Step> {
        self.rename_with(other, RenameFlags::EXCHANGE)
    }

    /// Renames this file to `other`, where nothing may exist.
    pub(crate) fn move_to_free(&self, other: &Self) -> io::Result<Step> {
        self.rename_with(other, RenameFlags::NOREPLACE)
    }

    /// Renames this file to `other`, replacing what is there.
    pub(crate) fn move_over(&self, other: &Self) -> io::Result<()> {
        Ok(renameat(self.dir(), self.below(), other.dir(), other.below())?)
    }

    /// Removes the name; it is no error if it does not exist.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match unlinkat(self.dir(), self.below(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes renames in the directory durable.
    pub(crate) fn sync_directory(&self) -> io::Result<()> {
        Ok(fsync(self.dir())?)
    }

    /// Locks the directory unless somebody else holds the lock. The lock lasts until it is dropped.
    pub(crate) fn try_lock_directory(&self) -> io::Result<Option<DirectoryLock>> {
        // A lock belongs to an open file description, and our handle may be shared: so the directory is opened anew.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(self.dir(), ".", flags, Mode::empty())?;
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(DirectoryLock { _directory: File::from(directory) })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn rename_with(&self, other: &Self, flags: RenameFlags) -> io::Result<Step> {
        #[cfg(test)]
        if pretend::without_flags() {
            return Ok(Step::Unsupported);
        }
        match renameat_with(self.dir(), self.below(), other.dir(), other.below(), flags) {
            Ok(()) => Ok(Step::Taken),
            Err(Errno::INVAL | Errno::NOSYS) => Ok(Step::Unsupported),
            Err(error) => Err(error.into()),
        }
    }
}

/// Lets tests act as if on a file system that this machine does not have.
#[cfg(test)]
pub(crate) mod pretend {
    use std::cell::Cell;

    thread_local! {
        static WITHOUT_FLAGS: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn without_flags() -> bool {
        WITHOUT_FLAGS.get()
    }

    /// Whether `renameat2` is to fail as on a file system that does not support its flags.
    pub(crate) fn set_without_flags(without: bool) {
        WITHOUT_FLAGS.set(without);
    }
}
