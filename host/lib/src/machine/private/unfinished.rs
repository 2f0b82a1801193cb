//! What is written gets its own name last. A process that is killed before leaves it under another one.

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
    /// A name that nothing has: an earlier process with the number of this one may have left something there.
    pub(super) fn temporary(&self) -> Result<PathBuf> {
        let name = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        self.remove(&name)?;
        self.at(&name)
    }

    /// Whether something is being written in it, or was when a process was killed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn has_unfinished(&self) -> Result<bool> {
        Ok(self.all_names()?.iter().any(|name| is(name)))
    }

    /// Removes what was being written when a process was killed: it may hold private keys. For the process that
    /// has the directory locked, since another process may be writing.
    ///
    /// # Errors
    /// When that fails.
    pub fn remove_unfinished(&self) -> Result<()> {
        self.all_names()?.iter().filter(|name| is(name)).try_for_each(|name| self.remove(name))
    }
}
