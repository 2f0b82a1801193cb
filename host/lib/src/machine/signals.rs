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

/// A hang-up, Ctrl-C, Ctrl-\, `kill`; Ctrl-Z and a terminal that is not ours any more would stop
/// us half-way. PIPE is ignored by Rust's runtime from the start.
const ENDING: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU];

/// How many shields are up.
static UP: AtomicUsize = AtomicUsize::new(0);
/// Whether the signals do what they usually do.
static AS_USUAL: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// While this lives, none of those signals does anything to this process. Programs that it starts
/// have a process group of their own, and are not concerned.
#[derive(Debug)]
#[must_use]
pub struct Shield(());

impl Shield {
    /// Puts it up.
    ///
    /// # Errors
    /// When the signals cannot be caught.
    pub fn up() -> Result<Self> {
        let as_usual = AS_USUAL.get_or_init(Arc::default);
        if UP.fetch_add(1, Ordering::SeqCst) == 0 {
            as_usual.store(false, Ordering::SeqCst);
        }
        // Counts from here on, so that an early return takes it down.
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

/// From here on a write beyond the largest size that a file may have (`ulimit -f`, setrlimit(2)) fails like any other, with
/// a message, where the signal SIGXFSZ would end the process.
///
/// # Errors
/// When the signal cannot be caught.
pub fn outlive_file_sizes() -> Result<()> {
    let caught = flag::register(SIGXFSZ, Arc::default());
    caught.map(drop).map_err(|error| Error::failed("SIGXFSZ cannot be caught").cause(error))
}

/// Becomes true when SIGTERM comes. Only behind a shield does the process live to see it.
///
/// # Errors
/// When the signal cannot be caught.
pub fn termination() -> Result<Arc<AtomicBool>> {
    let came = Arc::new(AtomicBool::new(false));
    let caught = flag::register(SIGTERM, Arc::clone(&came));
    caught.map_err(|error| Error::failed("SIGTERM cannot be caught, so this would not end in order").cause(error))?;
    Ok(came)
}

/// Once in the life of a process: what is caught stays caught.
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
            // On this thread, so that it has been dealt with before the shield goes.
            raise(signal).unwrap();
        }
        drop(outer);
        assert!(AS_USUAL.get().unwrap().load(Ordering::SeqCst));
    }
}
