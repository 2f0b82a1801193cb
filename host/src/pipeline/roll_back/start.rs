//! Starts an sshd again that did not survive a run.

use super::{Aftermath, Recovery, event, sshd_state::as_before};
use warded_lib::{
    audit::Kind,
    machine::{
        facts,
        services::{self, ReloadResult},
        sshd::Sshd,
    },
    transaction::{RunIdentity, SshdBefore},
};

impl Recovery<'_> {
    /// Starts the unit whose sshd listened before the run, if none listens now, and checks again. After a reboot,
    /// systemd does this.
    pub(super) fn start_again(&self, run: &RunIdentity, before: &SshdBefore, sshd: &Sshd, aftermath: &mut Aftermath) {
        let Some(unit) = before.unit.as_deref().filter(|_| self.systemd && aftermath.fault.is_some()) else { return };
        let is_same_boot = before.boot.is_some() && before.boot == facts::boot();
        if !is_same_boot || !matches!(sshd.listener_now(), Ok(None)) {
            return;
        }
        let event = |kind| event(run, kind).detail(&format!("start {unit}"));
        drop(self.log.append_synced(&event(Kind::Intent)));
        match services::start(unit) {
            Ok(started) => {
                drop(self.log.append(&event(Kind::Result)));
                aftermath.reloads.retain(|(_, how)| !matches!(how, Ok(ReloadResult::NotRunning)));
                aftermath.reloads.push((unit.to_owned(), Ok(started)));
                aftermath.fault = as_before(sshd, before).err();
            }
            Err(error) => {
                drop(self.log.append(&event(Kind::Failed).detail(error.message())));
                aftermath.reloads.push((unit.to_owned(), Err(error)));
            }
        }
    }
}
