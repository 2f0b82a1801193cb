//! The sshd that a command is about.

use super::Context;
use crate::outcomes::{LastProof, Outcome as _};
use warded_lib::{error::Result, machine::sshd::Sshd};

impl Context {
    /// This machine's sshd; none: there is none. Its version is not asked for where the last run knows it.
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
}
