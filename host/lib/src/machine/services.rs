//! Services: tells them to reload their configuration. A service is restarted only if nothing else works and no login
//! ends by that.

mod reach;
mod restart;
mod schedule;
mod scripts;

pub use restart::{refuse_restart, restart};
pub use schedule::{Timer, forget_recovery, is_linked, reconcile, reconcile_links, timer};

use super::{
    exec::{self, Program, Signal},
    sshd::{Listener, Sshd},
};
use crate::{
    error::{Error, Exit, Result},
    machine::service::{Service, SignalTarget},
    name::{Name, UnitName},
};
use serde::Serialize;
use std::{path::PathBuf, time::Duration};

/// How long systemctl or runlevel may take to tell whether the machine is going down: by then the process that asks has
/// only seconds left.
const ANSWER: Duration = Duration::from_millis(500);

/// How a reload was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "how")]
pub enum ReloadResult {
    /// systemd reloaded the unit.
    Unit { unit: String },
    /// systemd restarted the unit, and kept its sockets meanwhile.
    Restarted { unit: String },
    /// systemd restarted the unit of a service that is not sshd.
    Anew { unit: String },
    /// A service that was to be restarted is not running.
    LeftStopped {
        /// Its name in the policy.
        name: String,
    },
    /// systemd started the unit, whose process had ended.
    Started { unit: String },
    /// SIGHUP was sent to the process.
    Signalled {
        /// Its id.
        pid: i32,
    },
    /// The init system now starts what the files of the schedule say.
    Scheduled {
        /// The program that enables and disables.
        by: &'static str,
        /// The units or scripts whose files exist.
        enabled: Vec<String>,
        /// The units or scripts whose files are gone.
        disabled: Vec<String>,
    },
    /// The recovery script is gone while the machine is starting: the next command removes its links.
    DisabledLater {
        /// Its name.
        name: String,
    },
    /// No listener is running: the next one reads the new configuration when it starts.
    NotRunning,
}

impl ReloadResult {
    /// Whether it is about a schedule and not about a service.
    #[must_use]
    pub fn is_of_schedule(&self) -> bool {
        matches!(self, Self::Scheduled { .. } | Self::DisabledLater { .. })
    }

    /// The result for the service that the policy calls `name`, in a few words.
    #[must_use]
    pub fn brief(&self, name: &str) -> String {
        match self {
            Self::Scheduled { .. }
            | Self::DisabledLater { .. }
            | Self::Started { .. }
            | Self::Anew { .. }
            | Self::LeftStopped { .. } => self.to_string(),
            Self::NotRunning => format!("no listener of {name} is known"),
            Self::Unit { .. } | Self::Restarted { .. } | Self::Signalled { .. } => format!("{name} reloaded"),
        }
    }
}

impl std::fmt::Display for ReloadResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unit { unit } => write!(f, "systemd reloaded {unit}"),
            Self::Restarted { unit } => write!(f, "systemd restarted {unit} (systemd holds its socket)"),
            Self::Anew { unit } => write!(f, "systemd restarted {unit}"),
            Self::LeftStopped { name } => write!(f, "{name} does not run, and is not started"),
            Self::Started { unit } => write!(f, "systemd started {unit}, which had ended"),
            Self::Signalled { pid } => write!(f, "SIGHUP to process {pid}"),
            Self::DisabledLater { name } => {
                write!(f, "the links to {name} stay while the machine starts, and go with the next command of Warded's")
            }
            Self::Scheduled { by, enabled, disabled } => {
                let named = |how: &str, units: &[String]| {
                    (!units.is_empty()).then(|| format!("{by} {how} {}", units.join(", ")))
                };
                let parts = [named("enabled", enabled), named("disabled", disabled)];
                f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
            }
            Self::NotRunning => f.write_str("no listener of it is known, so none was told"),
        }
    }
}

/// A reload that failed.
#[derive(Debug)]
pub struct ReloadFault {
    /// Whether the service had been told to reload by then.
    pub told: ReloadDelivery,
    /// Why it failed.
    pub error: Error,
}

/// Whether a service was told to reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadDelivery {
    /// It was not told.
    No,
    /// The program that reloads it failed: the service may have reloaded or exited.
    Unknown,
    /// It was told.
    Yes,
}

/// A failure before the service was told to reload.
impl From<Error> for ReloadFault {
    fn from(error: Error) -> Self {
        Self { told: ReloadDelivery::No, error }
    }
}

impl From<ReloadFault> for Error {
    fn from(fault: ReloadFault) -> Self {
        fault.error
    }
}

/// Reloads a service: through systemd if that manages the running process, else by a signal. If the service is a
/// running sshd, this happens right after sshd has accepted its configuration and `last_look` has no objection either.
/// An sshd whose socket is held by process 1 cannot reload (Debian's OpenSSH 9.2 and 10.0: `Cannot bind any address`,
/// and it exits). Then its unit is restarted, while connections wait in the socket.
///
/// # Errors
/// The reload failed, or the policy does not say how to reach the service here. Refused: `last_look` objects, or sshd
/// would exit.
pub fn reload(
    name: &Name,
    service: &Service,
    systemd: bool,
    sshd: Option<&Sshd>,
    last_look: &dyn Fn() -> Result<()>,
) -> Result<ReloadResult, ReloadFault> {
    let listener = sshd.map(Sshd::listener_now).transpose()?.flatten();
    let unit = listener.as_ref().and_then(|listener| unit_of(service, listener));
    if let (Some(sshd), Some(listener)) = (sshd, &listener)
        && is_sshd(service, listener)
    {
        check(name, sshd)?;
        last_look()?;
    }
    if let Some(listener) = &listener {
        refuse_untellable(name, service, listener)?;
    }
    if let Some(unit) = unit {
        return if listener.is_some_and(|listener| listener.is_activated()) {
            restart_unit(unit)
        } else {
            reload_unit(unit)
        };
    }
    match (service.direct, listener) {
        (Some(SignalTarget::Sshd), Some(listener)) => {
            exec::signal(listener.pid, Signal::Hangup).map_err(|error| {
                Error::failed(format!("cannot tell {name} to reload: SIGHUP to process {}", listener.pid)).cause(error)
            })?;
            Ok(ReloadResult::Signalled { pid: listener.pid })
        }
        (Some(SignalTarget::Sshd), None) => Ok(ReloadResult::NotRunning),
        (None, _) if systemd => match service.systemd.iter().find(|unit| is_active(unit)) {
            Some(unit) => reload_unit(unit),
            None => Ok(ReloadResult::NotRunning),
        },
        (None, _) => {
            Err(Error::refused(format!("the policy does not say how to reload {name} on this machine")).into())
        }
    }
}

/// Whether a service is this listener, so that reloading the service makes sshd read its configuration again.
#[must_use]
pub fn is_sshd(service: &Service, listener: &Listener) -> bool {
    service.direct == Some(SignalTarget::Sshd) || unit_of(service, listener).is_some()
}

/// Refuses a reload that this listener cannot carry out, if the service is this listener. Either its program is gone,
/// so that it cannot re-execute itself. Or process 1 holds its socket, and a restart of its unit would end logins, or
/// the policy does not name that unit.
///
/// # Errors
/// Refused, with the reason.
pub fn refuse_untellable(name: &Name, service: &Service, listener: &Listener) -> Result<()> {
    if !is_sshd(service, listener) {
        return Ok(());
    }
    if !listener.is_activated() {
        return match &listener.gone {
            None => Ok(()),
            Some(program) => Err(Error::refused(format!("{name} cannot be told to reload: it would end"))
                .cause(format!("it would be restarted as {}, and that program is gone", program.display()))
                .next(format!("put the program back, or start {name} by another path; then run this again"))),
        };
    }
    let refused = |why: String| {
        Error::refused(format!("{name} cannot be told to reload: process 1 has its socket, and it would end"))
            .cause(why)
    };
    match unit_of(service, listener).map(UnitName::as_str) {
        Some(unit) if spares_processes(unit) => Ok(()),
        Some(unit) => Err(refused(format!("a restart of {unit} would end its logins: it has no KillMode=process"))
            .next(format!("give {unit} KillMode=process, as Debian does (systemd.kill(5))"))),
        None => Err(refused("the policy does not name its unit, which could be restarted".to_owned())
            .next(format!("let the policy name its unit for {name}"))),
    }
}

fn unit_of<'a>(service: &'a Service, listener: &Listener) -> Option<&'a UnitName> {
    service.systemd.iter().find(|candidate| Some(candidate.as_str()) == listener.unit.as_deref())
}

/// A listener that reloads a configuration which it does not accept exits.
fn check(name: &Name, sshd: &Sshd) -> Result<()> {
    let refused = |why: &str| {
        Error::refused(format!("{name} is not told to reload: it would stop")).cause(why).next(format!(
            "correct {} until `{} -t` is silent, then reload {name}",
            sshd.config,
            sshd.binary.display()
        ))
    };
    let tested = sshd.test().map_err(|error| {
        if error.exit() != Exit::Refused {
            return error;
        }
        let why: Vec<&str> = error.notes().map(|(_, text)| text).collect();
        refused(&why.join("\n"))
    })?;
    if tested.without_keys { Err(refused("it has no host key that it can use")) } else { Ok(()) }
}

/// Whether systemd leaves the other processes of a service alone when its main process ends.
#[must_use]
pub fn spares_processes(service: &str) -> bool {
    let mode = systemctl(["show", "--property=KillMode", "--value", "--", service]);
    // `mixed` kills the other processes, too.
    mode.is_ok_and(|mode| mode.succeeded() && matches!(mode.stdout.trim(), "process" | "none"))
}

/// Whether systemd starts a service at boot.
#[must_use]
pub fn is_enabled(service: &str) -> bool {
    systemctl(["is-enabled", "--quiet", "--", service]).is_ok_and(|output| output.succeeded())
}

/// Whether the machine is going down: systemd says so, or the runlevel is that of a halt or a reboot. False if there is
/// no answer in time.
#[must_use]
pub fn is_going_down(systemd: bool) -> bool {
    let (program, arguments) = if systemd { ("systemctl", &["is-system-running"][..]) } else { ("runlevel", &[][..]) };
    let Some(program) = exec::find(program) else { return false };
    let asked = Program::new(program).args(arguments).timeout(ANSWER).run();
    asked.is_ok_and(|output| says_going_down(&output.stdout, systemd))
}

/// systemd prints `stopping`; runlevel(8) prints the previous and the present runlevel.
fn says_going_down(answer: &str, systemd: bool) -> bool {
    let last = answer.split_whitespace().last().unwrap_or_default();
    if systemd { last == "stopping" } else { matches!(last, "0" | "6") }
}

fn is_active(unit: &UnitName) -> bool {
    systemctl(["is-active", "--quiet", unit.as_str()]).is_ok_and(|output| output.succeeded())
}

fn reload_unit(unit: &UnitName) -> Result<ReloadResult, ReloadFault> {
    let program = systemctl_program()?;
    let output = Program::new(program).args(["reload", unit.as_str()]).run().map_err(unknown)?;
    if output.succeeded() {
        return Ok(ReloadResult::Unit { unit: unit.as_str().to_owned() });
    }
    Err(unknown(
        Error::failed(format!("systemd could not reload {}", unit.as_str()))
            .cause(output.complaint())
            .next(format!("journalctl -u {} -n 20", unit.as_str())),
    ))
}

/// The program that reloads a service failed.
fn unknown(error: Error) -> ReloadFault {
    ReloadFault { told: ReloadDelivery::Unknown, error }
}

/// Restarts a unit. systemd's counter of starts is reset first: after several starts in a row systemd would refuse to
/// start the service, and close its socket (systemd.unit(5), `StartLimitBurst`).
fn restart_unit(unit: &UnitName) -> Result<ReloadResult, ReloadFault> {
    let unit = unit.as_str();
    let failed = |output: &exec::Output| {
        Error::failed(format!("systemd could not restart {unit}"))
            .cause(output.complaint())
            .next(format!("journalctl -u {unit} -n 20"))
    };
    let reset = systemctl(["reset-failed", "--", unit])?;
    if !reset.succeeded() {
        return Err(failed(&reset).into());
    }
    let program = systemctl_program()?;
    let restarted = Program::new(program).args(["restart", "--", unit]).run().map_err(unknown)?;
    if !restarted.succeeded() {
        return Err(unknown(failed(&restarted)));
    }
    Ok(ReloadResult::Restarted { unit: unit.to_owned() })
}

/// Starts a unit whose process has ended. systemd does not do that by itself: Debian's unit is not restarted after
/// status 255, with which sshd exits.
///
/// # Errors
/// systemd could not.
pub fn start(unit: &str) -> Result<ReloadResult> {
    drop(systemctl(["reset-failed", "--", unit]));
    let output = systemctl(["start", "--", unit])?;
    if output.succeeded() {
        return Ok(ReloadResult::Started { unit: unit.to_owned() });
    }
    // One line, since the report after a rollback has one line for each service.
    Err(Error::failed(format!("sshd has ended, and systemd could not start {unit} (journalctl -u {unit} -n 20)"))
        .cause(output.complaint()))
}

fn systemctl<const N: usize>(arguments: [&str; N]) -> Result<exec::Output> {
    Program::new(systemctl_program()?).args(arguments).run()
}

fn systemctl_program() -> Result<PathBuf> {
    exec::find("systemctl").ok_or_else(|| Error::failed("there is no systemctl on this machine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_goes_down_is_told_from_one_that_does_not() {
        for (answer, systemd, expected) in [
            ("stopping\n", true, true),
            ("running\n", true, false),
            ("degraded\n", true, false),
            ("starting\n", true, false),
            ("", true, false),
            ("2 6\n", false, true),
            ("5 0\n", false, true),
            ("N 2\n", false, false),
            ("S 1\n", false, false),
            ("unknown\n", false, false),
            ("0 2\n", false, false),
            ("", false, false),
        ] {
            assert_eq!(says_going_down(answer, systemd), expected, "{answer:?}");
        }
    }
}
