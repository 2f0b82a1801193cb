//! A new file or directory gets its final name last. If the process is killed before that, it remains under a temporary
//! name.

use super::StateDir;
use crate::error::Result;
use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

const PREFIX: &str = ".new-";
pub(super) static COUNT: AtomicU64 = AtomicU64::new(0);

pub(super) fn is(name: &str) -> bool {
    name.starts_with(PREFIX)
}

impl StateDir {
    /// A temporary name that is free: what an earlier process with the same pid left under it is removed.
    pub(super) fn temporary(&self) -> Result<PathBuf> {
        let name = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        self.remove(&name)?;
        self.at(&name)
    }

    /// Whether something is being written in this directory, or was when a process was killed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn has_unfinished(&self) -> Result<bool> {
        Ok(self.all_names()?.iter().any(|name| is(name)))
    }

    /// Removes what was being written when a process was killed: it may hold private keys. Only for the process that
    /// has locked the directory, since otherwise another process may be writing.
    ///
    /// # Errors
    /// When that fails.
    pub fn remove_unfinished(&self) -> Result<()> {
        self.all_names()?.iter().filter(|name| is(name)).try_for_each(|name| self.remove(name))
    }
}
