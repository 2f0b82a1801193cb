//! The sshd that a command is about.

use super::Context;
use crate::outcomes::{LastProof, Outcome as _};
use std::{thread, time::Duration};
use warded_lib::{
    error::Result,
    machine::sshd::{Listener, Sshd},
};

/// How often to look again for a listener, and how long to wait before each look.
const LOOKS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(50);

impl Context {
    /// This machine's sshd; `None` if there is none. Its version is not asked for if the last run recorded it.
    ///
    /// # Errors
    /// As [`Sshd::find`].
    pub fn sshd(&self) -> Result<Option<Sshd>> {
        let sshd = Sshd::find(&self.places.sshd_config, self.sshd_binary.as_deref())?;
        if let (Some(sshd), Some(proof)) = (&sshd, LastProof::load(&self.state)) {
            proof.tell_version(sshd);
        }
        Ok(sshd)
    }

    /// The same, but if sshd should listen and does not, looks again a moment later. An sshd that re-reads its
    /// configuration has no socket for some milliseconds.
    ///
    /// # Errors
    /// As [`Context::sshd`].
    pub fn settled_sshd(&self, is_to_listen: bool) -> Result<Option<Sshd>> {
        for _ in 0..LOOKS {
            let sshd = self.sshd()?;
            let listens = |listener: &Listener| listener.sockets.as_ref().is_none_or(|sockets| !sockets.is_empty());
            if !is_to_listen || sshd.as_ref().is_none_or(|sshd| sshd.listener.as_ref().is_some_and(listens)) {
                return Ok(sshd);
            }
            thread::sleep(PAUSE);
        }
        self.sshd()
    }
}
