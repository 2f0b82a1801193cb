//! After the files are in place, or back in place: a service is told.

use warded_lib::{
    audit::{Event, Kind, Log},
    error::Result,
    machine::{
        services::{self, Reloaded},
        sshd::Sshd,
    },
    transaction::Reload,
};

/// Reloads one service, on record; as [`services::reload`].
///
/// # Errors
/// The reload failed, or could not be recorded.
pub fn reload(
    log: &Log,
    event: impl Fn(Kind) -> Event,
    reload: &Reload,
    systemd: bool,
    sshd: Option<&Sshd>,
    last_look: &dyn Fn() -> Result<()>,
) -> Result<Reloaded> {
    let event = |kind| event(kind).capability("services.reload").need(reload.name.as_str());
    log.append_synced(&event(Kind::Intent))?;
    let outcome = services::reload(&reload.name, &reload.service, systemd, sshd, last_look);
    let (kind, detail) = match &outcome {
        Ok(reloaded) => (Kind::Result, reloaded.to_string()),
        Err(error) => (Kind::Failed, error.message().to_owned()),
    };
    log.append_synced(&event(kind).detail(&detail))?;
    outcome
}
