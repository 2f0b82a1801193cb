//! Restarts of services that read their files only when they start. Never of what runs sshd: a restart ends logins, and
//! one that fails keeps everybody out.

use super::{ReloadFault, Reloaded, is_active, systemctl, systemctl_program, unknown};
use crate::{
    error::{Error, Result},
    machine::{exec::Program, service::Service, sshd::listener},
    name::{Name, UnitName},
    text::neutral_lines,
};

/// Restarts the first of a service's units that nobody stopped. One that has failed is among these: it may have failed in
/// the very run that is taken back.
///
/// # Errors
/// As [`refuse_restart`]; or systemd could not.
pub fn restart(name: &Name, service: &Service, systemd: bool) -> Result<Reloaded, ReloadFault> {
    refuse_restart(name, service, systemd)?;
    let Some(unit) = service.systemd.iter().find(|unit| !is_stopped(unit)) else {
        return Ok(Reloaded::LeftStopped { name: name.to_string() });
    };
    // Else a unit that failed some times in a row would not be started.
    drop(systemctl(["reset-failed", "--", unit.as_str()]));
    let program = systemctl_program()?;
    let output = Program::new(program).args(["restart", "--", unit.as_str()]).run().map_err(unknown)?;
    // A unit without notification counts as started before its program has said anything.
    if output.succeeded() && is_active(unit) {
        return Ok(Reloaded::Anew { unit: unit.as_str().to_owned() });
    }
    Err(unknown(
        Error::failed(format!("systemd could not restart {}", unit.as_str()))
            .cause(neutral_lines(output.stderr.trim()))
            .next(format!("journalctl -u {} -n 20", unit.as_str())),
    ))
}

/// Whether a unit is stopped, or not there.
fn is_stopped(unit: &UnitName) -> bool {
    let state = systemctl(["show", "--property=ActiveState", "--value", "--", unit.as_str()]);
    state.is_ok_and(|state| matches!(state.stdout.trim(), "inactive" | ""))
}

/// Refuses what could not be restarted here, or runs sshd, by whatever name.
///
/// # Errors
/// Refused, with the reason.
pub fn refuse_restart(name: &Name, service: &Service, systemd: bool) -> Result<()> {
    let refused = |why: String| Error::refused(format!("{name} is not restarted")).cause(why);
    let of_sshd = |unit: &str| {
        refused(format!("{unit} runs sshd: a restart ends logins, and one that fails keeps everybody out"))
            .next(format!("have the policy reload it: services.{name} = [\"reload\"]"))
    };
    if service.is_of_sshd() {
        return Err(of_sshd(name.as_str()));
    }
    if !systemd {
        return Err(refused("only units of systemd are restarted, and systemd does not run here".to_owned()));
    }
    let running = listener::units()?;
    for unit in &service.systemd {
        if running.contains(&id(unit)?) {
            return Err(of_sshd(unit.as_str()));
        }
    }
    Ok(())
}

/// What systemd calls a unit, whatever other name led to it.
fn id(unit: &UnitName) -> Result<String> {
    let output = systemctl(["show", "--property=Id", "--value", "--", unit.as_str()])?;
    let id = output.stdout.trim();
    if output.succeeded() && !id.is_empty() {
        return Ok(id.to_owned());
    }
    Err(Error::failed(format!("systemd does not say what {} is", unit.as_str()))
        .cause(neutral_lines(output.stderr.trim())))
}
