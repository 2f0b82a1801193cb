//! Waits for locks that another process holds only for a moment.

use super::private::{StateDir, StateLock};
use crate::error::Result;
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long another process may hold such a lock.
pub const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// Locks a directory; none where another process has had it locked for [`PATIENCE`].
///
/// # Errors
/// It cannot be locked.
pub fn lock(directory: &StateDir) -> Result<Option<StateLock>> {
    let until = Instant::now() + PATIENCE;
    loop {
        match directory.try_lock()? {
            None if Instant::now() < until => thread::sleep(PAUSE),
            locked => return Ok(locked),
        }
    }
}
