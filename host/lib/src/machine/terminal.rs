//! Restores the modes of a terminal after a question that changes them, such as one that hides a secret.

use super::signals::Shield;
use crate::error::{Error, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::{
    SigId,
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    flag,
    low_level::{emulate_default_handler, pipe, unregister},
};
use std::{
    io::{self, Read as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Signals that end a process that waits for an answer.
const ENDING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// Restores the terminal's modes when it is dropped, and before a signal ends this process. Ctrl-Z is ignored
/// meanwhile.
#[derive(Debug)]
#[must_use]
pub struct TerminalGuard {
    terminal: OwnedFd,
    before: Termios,
    caught: Vec<SigId>,
    _shield: Shield,
}

impl TerminalGuard {
    /// Remembers the present modes of a terminal.
    ///
    /// # Errors
    /// It is not a terminal, or signals cannot be caught.
    pub fn later(terminal: impl AsFd) -> Result<Self> {
        let failed = |error: &dyn std::fmt::Display| Error::failed("cannot ask at the terminal").cause(error);
        let before = tcgetattr(&terminal).map_err(|error| failed(&error))?;
        let terminal = terminal.as_fd().try_clone_to_owned().map_err(|error| failed(&error))?;
        let mut restored = Self { terminal, before, caught: Vec::new(), _shield: Shield::up()? };
        restored.watch().map_err(|error| failed(&error))?;
        Ok(restored)
    }

    /// The modes that will be restored.
    #[must_use]
    pub fn before(&self) -> &Termios {
        &self.before
    }

    fn watch(&mut self) -> io::Result<()> {
        let (mut woken, wakes) = UnixStream::pair()?;
        let which = Arc::new(AtomicUsize::new(0));
        for signal in ENDING {
            let number = usize::try_from(signal).unwrap_or_default();
            self.caught.push(flag::register_usize(signal, Arc::clone(&which), number)?);
            self.caught.push(pipe::register(signal, wakes.try_clone()?)?);
        }
        let (terminal, before) = (self.terminal.try_clone()?, self.before.clone());
        // The thread ends with this process, or once nothing can wake it any more.
        thread::Builder::new().spawn(move || {
            if woken.read(&mut [0]).is_ok_and(|read| read > 0) {
                restore(&terminal, &before);
                let signal = i32::try_from(which.load(Ordering::SeqCst)).unwrap_or(SIGTERM);
                emulate_default_handler(signal).unwrap_or_default();
            }
        })?;
        Ok(())
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        for caught in self.caught.drain(..) {
            unregister(caught);
        }
        restore(&self.terminal, &self.before);
    }
}

/// The flush discards surplus pasted input, so that it does not answer the next question.
fn restore(terminal: &OwnedFd, before: &Termios) {
    tcsetattr(terminal, OptionalActions::Flush, before).unwrap_or_default();
}
