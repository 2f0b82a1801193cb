//! The few ways in which live files change. Each is one step that the kernel does whole; none
//! decides whether it should be taken.

use super::{Metadata, Place, metadata::take_label};
use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags, flock, fsync, openat, renameat, renameat_with, unlinkat},
    io::Errno,
};
use std::{fs::File, io, io::Write as _};

/// Whether a step was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It was.
    Taken,
    /// Not: this file system cannot exchange two names, or rename only where nothing is.
    Unsupported,
}

/// A directory's lock, held until it is dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _directory: File,
}

impl Place {
    /// Makes a file here, where nothing may be, and syncs it. Its owner and attributes are
    /// `metadata`'s, else the creator's and what a new file in `target`'s directory gets.
    pub(crate) fn create(
        &self,
        contents: &[u8],
        mode: u32,
        metadata: Option<&Metadata>,
        target: &Self,
    ) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Nobody else's before it has its owner and mode: it may be a private key.
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

    /// Exchanges what is here with what is there.
    pub(crate) fn exchange(&self, other: &Self) -> io::Result<Step> {
        self.rename_with(other, RenameFlags::EXCHANGE)
    }

    /// Renames what is here to there, where nothing may be.
    pub(crate) fn move_to_free(&self, other: &Self) -> io::Result<Step> {
        self.rename_with(other, RenameFlags::NOREPLACE)
    }

    /// Renames what is here to there, whatever is there.
    pub(crate) fn move_over(&self, other: &Self) -> io::Result<()> {
        Ok(renameat(self.dir(), self.below(), other.dir(), other.below())?)
    }

    /// Removes the name; fine where it does not exist.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match unlinkat(self.dir(), self.below(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes renames in the directory last.
    pub(crate) fn sync_directory(&self) -> io::Result<()> {
        Ok(fsync(self.dir())?)
    }

    /// Locks the directory, if nobody else has; held until the lock is dropped.
    pub(crate) fn try_lock_directory(&self) -> io::Result<Option<DirectoryLock>> {
        // A lock belongs to one opening of the directory: our handle may be shared.
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

/// Tests of file systems that this machine does not have.
#[cfg(test)]
pub(crate) mod pretend {
    use std::cell::Cell;

    thread_local! {
        static WITHOUT_FLAGS: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn without_flags() -> bool {
        WITHOUT_FLAGS.get()
    }

    /// Whether `renameat2` is to fail as it does where a file system has no flags for it.
    pub(crate) fn set_without_flags(without: bool) {
        WITHOUT_FLAGS.set(without);
    }
}
