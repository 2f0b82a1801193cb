//! Warded's own directories and files: state, journal, audit. Not for files that another program reads; those belong to
//! `files.rs`.
#![expect(clippy::disallowed_methods, reason = "the state directory")]

mod owned;
mod unfinished;

use super::{interruption, ownership::chmod_unwritable};
use crate::error::{Error, Result};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Component, Path, PathBuf},
};
use zeroize::Zeroizing;

/// A directory that only its owner can enter, and that holds only Warded's files.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

/// The lock of a [`StateDir`], held until it is dropped.
#[derive(Debug)]
pub struct StateLock {
    directory: File,
}

impl StateLock {
    /// Whether this locks the directory that has the path of `directory` now.
    #[must_use]
    pub fn is_of(&self, directory: &StateDir) -> bool {
        let key = |found: fs::Metadata| (found.dev(), found.ino());
        let locked = self.directory.metadata().map(key).ok();
        locked.is_some() && locked == directory.path.metadata().map(key).ok()
    }
}

impl StateDir {
    /// Opens a directory; if it is missing, makes it and its missing parents.
    ///
    /// # Errors
    /// When it cannot be made, belongs to another user, or others can write it; for root also
    /// when others can write a directory above it.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.is_absolute() {
            return Err(Error::usage(format!("the state directory {} is not an absolute path", path.display())));
        }
        let failed = |error| Self::failed("make", path, &error);
        for missing in path.ancestors().take_while(|above| !above.exists()).collect::<Vec<_>>().into_iter().rev() {
            match DirBuilder::new().mode(0o700).create(missing) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
                Ok(()) | Err(_) => missing.parent().map_or(Ok(()), sync).map_err(failed)?,
            }
        }
        let directory = Self { path: path.canonicalize().map_err(|error| Self::failed("open", path, &error))? };
        directory.check()?;
        Ok(directory)
    }

    /// Opens a directory; none if it does not exist. Never makes one.
    ///
    /// # Errors
    /// As [`StateDir::open`].
    pub fn find(path: &Path) -> Result<Option<Self>> {
        match path.symlink_metadata() {
            Ok(_) => Self::open(path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Self::failed("open", path, &error)),
        }
    }

    /// Its path, without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in this one, made if it is missing; `name` may have several segments.
    ///
    /// # Errors
    /// As [`StateDir::open`].
    pub fn sub(&self, name: &str) -> Result<Self> {
        Self::open(&self.at(name)?)
    }

    /// Like [`StateDir::sub`], but the entry of the new directory is not synced: [`StateDir::sync`] does that.
    ///
    /// # Errors
    /// As [`StateDir::open`].
    pub fn sub_of_many(&self, name: &str) -> Result<Self> {
        let path = self.at(name)?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Self::failed("make", &path, &error)),
            Ok(()) | Err(_) => Self::open(&path),
        }
    }

    /// Makes a directory in this one without syncing its entry: [`StateDir::sync`] does that. False if it exists
    /// already.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_sub(&self, name: &str) -> Result<bool> {
        let path = self.at(name)?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(Self::failed("make", &path, &error)),
        }
    }

    /// A directory in this one; none if it does not exist.
    ///
    /// # Errors
    /// As [`StateDir::open`].
    pub fn find_sub(&self, name: &str) -> Result<Option<Self>> {
        Self::find(&self.at(name)?)
    }

    /// Writes a file, whole or not at all, and syncs it and the directory.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
        self.write_one_of_many(name, bytes, mode)?;
        self.sync()
    }

    /// Makes the entries of this directory durable.
    ///
    /// # Errors
    /// When that fails.
    pub fn sync(&self) -> Result<()> {
        sync(&self.path).map_err(|error| Self::failed("sync", &self.path, &error))
    }

    /// Writes a file, whole or not at all, and syncs its contents but not its entry: [`StateDir::sync`] does that for
    /// all files of a directory. An empty file has no contents to sync.
    ///
    /// # Errors
    /// When that fails.
    pub fn write_one_of_many(&self, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
        self.put(name, bytes, mode, !bytes.is_empty())
    }

    /// Writes a file on which nothing depends: after a power cut it may be as before, empty or gone.
    ///
    /// # Errors
    /// When that fails.
    pub fn write_unsynced(&self, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
        self.put(name, bytes, mode, false)
    }

    fn put(&self, name: &str, bytes: &[u8], mode: u32, is_synced: bool) -> Result<()> {
        let (path, new) = (self.at(name)?, self.temporary()?);
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            interruption::point("written beside");
            if mode != 0o600 {
                file.set_permissions(Permissions::from_mode(mode))?;
            }
            if is_synced {
                file.sync_all()?;
            }
            fs::rename(&new, &path)
        })();
        written.map_err(|error| {
            // Report the first failure, not that of the clean-up.
            let _nothing_to_add = fs::remove_file(&new);
            Self::failed("write", &path, &error)
        })
    }

    /// A file's bytes; none if the file does not exist.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let path = self.at(name)?;
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Self::failed("read", &path, &error)),
        };
        let read = (|| {
            let length = usize::try_from(file.metadata()?.len()).unwrap_or_default();
            let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        })();
        read.map(Some).map_err(|error: io::Error| Self::failed("read", &path, &error))
    }

    /// The names in it, sorted, without files that are still being written.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = self.all_names()?;
        names.retain(|name| !unfinished::is(name));
        names.sort_unstable();
        Ok(names)
    }

    fn all_names(&self) -> Result<Vec<String>> {
        let listed = fs::read_dir(&self.path).and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name().into_string().ok())).collect::<io::Result<Vec<_>>>()
        });
        Ok(listed.map_err(|error| Self::failed("read", &self.path, &error))?.into_iter().flatten().collect())
    }

    /// Renames a file over another and syncs the directory; this takes no disk space.
    ///
    /// # Errors
    /// When that fails.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.rename_one_of_many(from, to)?;
        self.sync()
    }

    /// Renames a file over another, in one step, without a sync.
    ///
    /// # Errors
    /// When that fails.
    pub fn rename_one_of_many(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        fs::rename(&from, &to).map_err(|error| Self::failed("write", &to, &error))
    }

    /// Stores a word as the target of a symbolic link that leads nowhere, in one step. The link has no contents to
    /// sync, so [`StateDir::sync`] makes it durable.
    ///
    /// # Errors
    /// When that fails.
    pub fn put_word(&self, name: &str, word: &str) -> Result<()> {
        let (path, new) = (self.at(name)?, self.temporary()?);
        let made = symlink(word, &new).and_then(|()| {
            interruption::point("word written beside");
            fs::rename(&new, &path)
        });
        made.map_err(|error| {
            // Report the first failure, not that of the clean-up.
            let _nothing_to_add = fs::remove_file(&new);
            Self::failed("write", &path, &error)
        })
    }

    /// The word that a link stores; none if the link does not exist.
    ///
    /// # Errors
    /// When it cannot be read, or is not a link.
    pub fn word(&self, name: &str) -> Result<Option<String>> {
        let path = self.at(name)?;
        match fs::read_link(&path) {
            Ok(word) => Ok(Some(word.to_string_lossy().into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // readlink(2) fails with EINVAL.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(Error::failed(format!("{} is no symbolic link", path.display())))
            }
            Err(error) => Err(Self::failed("read", &path, &error)),
        }
    }

    /// Removes a file, or a directory with everything in it; it is no error if it does not exist.
    ///
    /// # Errors
    /// When that fails.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.at(name)?;
        let removed = match path.symlink_metadata() {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Self::failed("remove", &path, &error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes a directory in this one if it is empty.
    ///
    /// # Errors
    /// When that fails for another reason.
    pub fn remove_if_empty(&self, name: &str) -> Result<()> {
        let path = self.at(name)?;
        match fs::remove_dir(&path) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                Err(Self::failed("remove", &path, &error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Locks it; none if another process, or another part of this one, holds the lock.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn try_lock(&self) -> Result<Option<StateLock>> {
        self.try_flock(FlockOperation::NonBlockingLockExclusive)
    }

    /// Whether it is locked. The check takes only a shared lock, so several processes can check at once.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn is_locked(&self) -> Result<bool> {
        Ok(self.try_flock(FlockOperation::NonBlockingLockShared)?.is_none())
    }

    fn try_flock(&self, operation: FlockOperation) -> Result<Option<StateLock>> {
        let failed = |error: io::Error| Self::failed("lock", &self.path, &error);
        let directory = File::open(&self.path).map_err(failed)?;
        match flock(&directory, operation) {
            Ok(()) => Ok(Some(StateLock { directory })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed(error.into())),
        }
    }

    fn at(&self, name: &str) -> Result<PathBuf> {
        let mut parts = Path::new(name).components().peekable();
        if parts.peek().is_none() || parts.any(|part| !matches!(part, Component::Normal(_))) {
            return Err(Error::failed(format!("{name:?} is not a name in {}", self.path.display())));
        }
        Ok(self.path.join(name))
    }

    fn check(&self) -> Result<()> {
        let look = |path: &Path| path.metadata().map_err(|error| Self::failed("open", path, &error));
        let refused = |path: &Path, why: &str, next: &str| {
            Err(Error::refused(format!("Warded's files in {} are not safe there", self.path.display()))
                .cause(format!("{}: {why}", path.display()))
                .next(format!("{next}; or name another directory with --state DIR")))
        };
        let owner = |path: &Path, owner| {
            let next = if owner == 0 { "run this as root" } else { "move it away" };
            refused(path, "it belongs to another user", next)
        };
        let mode = |path: &Path, mode| refused(path, "others can write it", &chmod_unwritable(path, mode));
        let (found, user) = (look(&self.path)?, rustix::process::geteuid().as_raw());
        if !found.is_dir() {
            return refused(&self.path, "not a directory", "move it away");
        }
        if found.uid() != user {
            return owner(&self.path, found.uid());
        }
        if found.mode() & 0o022 != 0 {
            return mode(&self.path, found.mode());
        }
        if found.mode() & 0o077 != 0 {
            let tightened = fs::set_permissions(&self.path, Permissions::from_mode(0o700));
            tightened.map_err(|error| Self::failed("keep others out of", &self.path, &error))?;
        }
        // A user's own directories above may be writable by the user's private group; root's must not be.
        for above in self.path.ancestors().skip(1).take_while(|_| user == 0) {
            let found = look(above)?;
            if found.uid() != 0 {
                return refused(above, "it belongs to another user", "keep the state below directories of root's");
            }
            if found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0 {
                return mode(above, found.mode());
            }
        }
        Ok(())
    }

    fn failed(verb: &str, path: &Path, error: &io::Error) -> Error {
        let failed = Error::failed(format!("could not {verb} {}", path.display())).cause(error);
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            failed.next("make room on that disk")
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            failed.next("run this as root, or name a directory of your own with --state DIR")
        } else {
            failed
        }
    }
}

/// Makes the entries of a directory durable.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests;
