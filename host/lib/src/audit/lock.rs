//! Locks the log, with a time limit: the process that holds the lock may have been stopped, and a rollback must not
//! wait for it.

use super::LOG;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use std::{
    fs::File,
    io, thread,
    time::{Duration, Instant},
};

/// How long another process may hold the lock: writing a record takes milliseconds.
pub(super) const PATIENCE: Duration = if cfg!(test) { Duration::from_secs(3) } else { Duration::from_secs(10) };
/// The longest pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// Locks a log. `how` has to be a non-blocking operation: this function waits and repeats it.
///
/// # Errors
/// `WouldBlock`: another process has held the lock for the whole time.
pub(super) fn lock(file: &File, how: FlockOperation, patience: Duration) -> io::Result<()> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        match flock(file, how) {
            Err(Errno::WOULDBLOCK) if start.elapsed() < patience => {
                thread::sleep(pause);
                pause = (pause * 2).min(PAUSE);
            }
            Err(Errno::WOULDBLOCK) => {
                let why = format!("another process has kept {LOG} locked for {} s", patience.as_secs_f32());
                return Err(io::Error::new(io::ErrorKind::WouldBlock, why));
            }
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
