//! Signals that would end this process, and must not while it changes the machine.

use crate::error::{Error, Result};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGXFSZ},
    flag,
};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Hang-up, Ctrl-C, Ctrl-\ and `kill`. Ctrl-Z and background access to the terminal would stop us half-way. Rust's
/// runtime ignores SIGPIPE from the start.
const ENDING: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU];

/// How many shields exist.
static UP: AtomicUsize = AtomicUsize::new(0);
/// Whether the signals have their default effect.
static AS_USUAL: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// While this lives, none of those signals affects this process. Programs that it starts have their own process group,
/// and do not get the terminal's signals.
#[derive(Debug)]
#[must_use]
pub struct Shield(());

impl Shield {
    /// Raises the shield.
    ///
    /// # Errors
    /// When the signals cannot be caught.
    pub fn up() -> Result<Self> {
        let as_usual = AS_USUAL.get_or_init(Arc::default);
        if UP.fetch_add(1, Ordering::SeqCst) == 0 {
            as_usual.store(false, Ordering::SeqCst);
        }
        // Created before `install`, so that an early return drops it and lowers the shield again.
        let shield = Self(());
        install(as_usual)?;
        Ok(shield)
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        if UP.fetch_sub(1, Ordering::SeqCst) == 1
            && let Some(as_usual) = AS_USUAL.get()
        {
            as_usual.store(true, Ordering::SeqCst);
        }
    }
}

/// From here on a write beyond the file size limit (`ulimit -f`, setrlimit(2)) fails with an ordinary error. Otherwise
/// SIGXFSZ would end the process.
///
/// # Errors
/// When the signal cannot be caught.
pub fn outlive_file_sizes() -> Result<()> {
    let caught = flag::register(SIGXFSZ, Arc::default());
    caught.map(drop).map_err(|error| Error::failed("SIGXFSZ cannot be caught").cause(error))
}

/// A flag that becomes true on SIGTERM. Without a shield the process would not live to read it.
///
/// # Errors
/// When the signal cannot be caught.
pub fn termination() -> Result<Arc<AtomicBool>> {
    let came = Arc::new(AtomicBool::new(false));
    let caught = flag::register(SIGTERM, Arc::clone(&came));
    caught.map_err(|error| Error::failed("SIGTERM cannot be caught, so this would not end in order").cause(error))?;
    Ok(came)
}

/// Runs once in the life of a process: the handlers stay installed.
fn install(as_usual: &Arc<AtomicBool>) -> Result<()> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let all = || {
        ENDING.into_iter().try_for_each(|signal| {
            let caught = flag::register_conditional_default(signal, Arc::clone(as_usual));
            caught.map(drop).map_err(|error| error.to_string())
        })
    };
    INSTALLED.get_or_init(all).clone().map_err(|why| Error::failed("cannot keep signals from ending this").cause(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::low_level::raise;

    #[test]
    fn nothing_ends_what_is_shielded() {
        let outer = Shield::up().unwrap();
        drop(Shield::up().unwrap());
        for signal in ENDING {
            // `raise` sends it to this thread, so that it has been handled before the shield is dropped.
            raise(signal).unwrap();
        }
        drop(outer);
        assert!(AS_USUAL.get().unwrap().load(Ordering::SeqCst));
    }
}
