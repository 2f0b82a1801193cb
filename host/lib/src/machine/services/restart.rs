//! Restarts services that read their files only when they start. Never anything that runs sshd: a restart ends logins,
//! and one that fails keeps everybody out.

use super::{ReloadFault, ReloadResult, reach, systemctl, systemctl_program, unknown};
use crate::{
    error::{Error, Result},
    machine::{control_group, exec::Program, service::Service, sshd::listener},
    name::{Name, UnitName},
    text::neutral,
};

/// Restarts the first unit of a service that is not stopped. A failed unit is restarted, too: it may have failed in the
/// very run that is being rolled back.
///
/// # Errors
/// As [`refuse_restart`]; or systemd could not restart it.
pub fn restart(name: &Name, service: &Service, systemd: bool) -> Result<ReloadResult, ReloadFault> {
    refuse_restart(name, service, systemd)?;
    let Some(unit) = service.systemd.iter().find(|unit| !is_stopped(unit)) else {
        return Ok(ReloadResult::LeftStopped { name: name.to_string() });
    };
    // Otherwise a unit that failed several times in a row would not be started.
    drop(systemctl(["reset-failed", "--", unit.as_str()]));
    let program = systemctl_program()?;
    let output = Program::new(program).args(["restart", "--", unit.as_str()]).run().map_err(unknown)?;
    let cause = if output.succeeded() {
        let shown = systemctl(["show", "--property=ActiveState,SubState,Type,Result", "--", unit.as_str()]);
        match has_come_up(&shown.map_err(unknown)?.stdout) {
            Ok(()) => return Ok(ReloadResult::Anew { unit: unit.as_str().to_owned() }),
            Err(cause) => cause,
        }
    } else {
        output.complaint()
    };
    Err(unknown(
        Error::failed(format!("systemd could not restart {}", unit.as_str()))
            .cause(cause)
            .next(format!("journalctl -u {} -n 20", unit.as_str())),
    ))
}

/// Whether a unit runs as it should after its start was successful; if not, its state. A unit without notification
/// counts as started before its program has done anything, while a oneshot has finished by then (systemd.service(5)).
fn has_come_up(shown: &str) -> Result<(), String> {
    let value = |name: &str| {
        let found = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.filter(|value| !value.is_empty()).unwrap_or("unknown")
    };
    let (state, result) = (value("ActiveState"), value("Result"));
    let is_up = if value("Type") == "oneshot" {
        result == "success" && state != "failed"
    } else {
        matches!(state, "active" | "reloading" | "refreshing")
    };
    if is_up {
        Ok(())
    } else {
        Err(neutral(&format!("it is {state} ({}) now; its result: {result}", value("SubState"))))
    }
}

/// Whether a unit is stopped or does not exist.
fn is_stopped(unit: &UnitName) -> bool {
    let state = systemctl(["show", "--property=ActiveState", "--value", "--", unit.as_str()]);
    state.is_ok_and(|state| matches!(state.stdout.trim(), "inactive" | ""))
}

/// Refuses a service that cannot be restarted here, or whose restart would restart or stop an sshd, by whatever name,
/// or this run.
///
/// # Errors
/// Refused, with the reason.
pub fn refuse_restart(name: &Name, service: &Service, systemd: bool) -> Result<()> {
    let refused = |why: String| Error::refused(format!("{name} is not restarted")).cause(why);
    let of_sshd = |what: String| {
        refused(format!("{what} runs sshd: a restart ends logins, and if it fails, nobody can log in"))
            .next(format!("have the policy reload it: services.{name} = [\"reload\"]"))
    };
    if service.is_of_sshd() {
        return Err(of_sshd(name.to_string()));
    }
    if !systemd {
        return Err(refused("only units of systemd are restarted, and systemd does not run here".to_owned()));
    }
    let (running, own) = (listener::units()?, control_group::service());
    for unit in service.systemd.iter().map(UnitName::as_str) {
        let found = reach::find(unit, |reached| reached.is_of_sshd(&running) || own.as_ref() == Some(&reached.id))?;
        let Some(reached) = found else { continue };
        let id = neutral(&reached.id);
        if !reached.is_of_sshd(&running) {
            return Err(refused(format!("this run is in {id}, and a restart of {unit} would end it"))
                .next("run it in a login, or in a scope of its own: systemd-run --scope warded …"));
        }
        return Err(if reached.is_called(unit) {
            of_sshd(unit.to_owned())
        } else {
            of_sshd(format!("a restart of {unit} reaches {id}, which"))
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_has_come_up_if_it_runs_or_was_to_run_once() {
        for (state, sub, kind, result, expected) in [
            ("active", "running", "simple", "success", Ok(())),
            ("active", "exited", "oneshot", "success", Ok(())),
            ("inactive", "dead", "oneshot", "success", Ok(())),
            ("active", "listening", "", "success", Ok(())),
            ("reloading", "reload", "notify", "success", Ok(())),
            ("inactive", "dead", "simple", "success", Err("it is inactive (dead) now; its result: success")),
            ("failed", "failed", "oneshot", "exit-code", Err("it is failed (failed) now; its result: exit-code")),
            (
                "activating",
                "auto-restart",
                "simple",
                "exit-code",
                Err("it is activating (auto-restart) now; its result: exit-code"),
            ),
            ("", "", "", "", Err("it is unknown (unknown) now; its result: unknown")),
        ] {
            let shown = format!("Type={kind}\nResult={result}\nActiveState={state}\nSubState={sub}\n");
            assert_eq!(has_come_up(&shown), expected.map_err(str::to_owned), "{shown}");
        }
        assert!(has_come_up("").is_err());
    }
}
