//! Brings the units and scripts of a schedule that the init system starts in line with the files. This is the same when
//! files were added, rolled back or undone, so nothing else has to be remembered.

use super::{
    ReloadFault, ReloadResult,
    scripts::{self, Moment},
    systemctl_program, unknown,
};
use crate::{
    error::{Error, Result},
    machine::{
        exec::{Output, Program},
        facts::Init,
        schedule::{RECOVER, ScriptInit, Started, Starter, UNITS, span},
    },
    name::UnitName,
    text::neutral_lines,
};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long systemd may take: it reloads all units when one is enabled.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long changing a link may take while the machine goes down.
const LINKS: Duration = Duration::from_secs(5);

/// Enables the units whose files exist, and disables those whose files are gone; timers are also started and stopped.
/// The service of a timer is left alone, since it may be running this process.
///
/// # Errors
/// The init system refused.
pub fn reconcile(started: &[Started], systemd: bool) -> Result<ReloadResult, ReloadFault> {
    let (units, script) = sorted(started);
    match script {
        Some(init) => scripts::reconcile(init, Moment::Running),
        None if systemd => units_reconciled(&units),
        None => Ok(ReloadResult::NotRunning),
    }
}

/// The same while the machine goes down, but only for the links by which the init system starts units at boot. systemd
/// itself answers no requests by then.
///
/// # Errors
/// A link could not be made or removed.
pub fn reconcile_links(started: &[Started], systemd: bool) -> Result<ReloadResult, ReloadFault> {
    let (units, script) = sorted(started);
    match script {
        Some(init) => scripts::reconcile(init, Moment::GoingDown),
        None if systemd => links_reconciled(&units),
        None => Ok(ReloadResult::NotRunning),
    }
}

/// Removes the links to the recovery unit or script from the init system if its file is gone. None if there is no such
/// link.
#[must_use]
pub fn forget_recovery(init: Init) -> Option<Result<ReloadResult, ReloadFault>> {
    let is_dangling = || links(RECOVER).any(|link| link.symlink_metadata().is_ok() && !link.exists());
    let left = match init {
        Init::Systemd => Starter::Unit.started().filter(|_| is_dangling()),
        Init::Sysv => Some(ScriptInit::Sysvinit).filter(|init| scripts::is_left(*init)).map(Started::Script),
        Init::Openrc => Some(ScriptInit::Openrc).filter(|init| scripts::is_left(*init)).map(Started::Script),
        Init::Runit | Init::None => None,
    };
    left.map(|left| reconcile(&[left], init == Init::Systemd))
}

/// Whether the init system has a link that starts this unit or script at boot, even a dangling one. `root` stands for
/// `/`.
#[must_use]
pub fn is_linked(root: &Path, started: &Started, systemd: bool) -> bool {
    match started {
        Started::Unit(unit) => systemd && is_wanted_below(root, unit.as_str()),
        Started::Script(init) => scripts::is_linked(root, *init),
    }
}

/// The units, and the init of the recovery script if there is one. A machine has one init, so no run has both.
fn sorted(started: &[Started]) -> (Vec<UnitName>, Option<ScriptInit>) {
    let units = started.iter().filter_map(|one| match one {
        Started::Unit(unit) => Some(unit.clone()),
        Started::Script(_) => None,
    });
    let script = started.iter().find_map(|one| match one {
        Started::Script(init) => Some(*init),
        Started::Unit(_) => None,
    });
    (units.collect(), script)
}

fn units_reconciled(units: &[UnitName]) -> Result<ReloadResult, ReloadFault> {
    let (there, gone) = parted(units);
    for unit in &gone {
        // Stopped first, while systemd still knows the unit.
        if is_timer(unit) {
            stop(unit)?;
        }
        disable(unit)?;
    }
    for unit in &there {
        tell(["--no-reload", "enable", "--quiet", "--", unit])?;
    }
    // Once for all units, since it takes systemd some time.
    tell(["daemon-reload"])?;
    for unit in &there {
        // While the machine boots and runs are recovered, this must not wait for another unit.
        if is_timer(unit) {
            tell(["start", "--no-block", "--", unit])?;
        }
    }
    Ok(scheduled(&there, &gone))
}

fn links_reconciled(units: &[UnitName]) -> Result<ReloadResult, ReloadFault> {
    let (there, gone) = parted(units);
    for (command, units) in [("disable", &gone), ("enable", &there)] {
        for unit in units {
            let arguments = ["--root=/", "--quiet", command, "--", unit];
            let output = Program::new(systemctl_program()?).args(arguments).timeout(LINKS).run()?;
            if !output.succeeded() && (command == "enable" || is_wanted(unit)) {
                return Err(failed(command, unit, &output));
            }
        }
    }
    Ok(scheduled(&there, &gone))
}

/// The units whose files exist, and those whose files do not.
fn parted(units: &[UnitName]) -> (Vec<&str>, Vec<&str>) {
    units.iter().map(UnitName::as_str).partition(|unit| Path::new(UNITS).join(unit).is_file())
}

fn scheduled(there: &[&str], gone: &[&str]) -> ReloadResult {
    let owned = |units: &[&str]| units.iter().map(|unit| (*unit).to_owned()).collect();
    ReloadResult::Scheduled { by: "systemd", enabled: owned(there), disabled: owned(gone) }
}

/// The state of a timer in systemd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timer {
    /// Whether it is active: a timer that is only enabled waits for the next boot.
    pub is_active: bool,
    /// When it fires next. None: its service is running, or systemd does not say.
    pub next: Option<Timestamp>,
}

/// Asks systemd about a timer; none if it does not answer.
#[must_use]
pub fn timer(name: &str) -> Option<Timer> {
    let program = Program::new(systemctl_program().ok()?).env("TZ", "UTC");
    let properties = "--property=ActiveState,NextElapseUSecRealtime,NextElapseUSecMonotonic";
    let output = program.args(["show", properties, "--", name]).run().ok()?;
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let since_start = uptime.split_whitespace().next().and_then(span);
    output.succeeded().then(|| as_shown(&output.stdout, Timestamp::now(), since_start))
}

/// `since_start`: the time since boot, from which systemd counts the monotonic times of a timer.
fn as_shown(properties: &str, now: Timestamp, since_start: Option<Duration>) -> Timer {
    let value = |key: &str| properties.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let by_calendar = value("NextElapseUSecRealtime")
        .and_then(|time| DateTime::strptime("%a %Y-%m-%d %H:%M:%S UTC", time).ok()?.to_zoned(TimeZone::UTC).ok())
        .map(|next| next.timestamp());
    let by_span = value("NextElapseUSecMonotonic")
        .and_then(span)
        .and_then(|span| now.checked_add(span.checked_sub(since_start?)?).ok());
    let next = by_calendar.into_iter().chain(by_span).min();
    Timer { is_active: value("ActiveState") == Some("active"), next }
}

/// Some releases of systemd fail for a unit that has no file, but remove its links anyway.
fn disable(unit: &str) -> Result<(), ReloadFault> {
    let output = systemctl(["--no-reload", "disable", "--quiet", "--", unit])?;
    if output.succeeded() || !is_wanted(unit) {
        return Ok(());
    }
    Err(failed("disable", unit, &output))
}

/// A unit that was never started cannot be stopped once its file is gone, since systemd does not know it.
fn stop(unit: &str) -> Result<(), ReloadFault> {
    let output = systemctl(["stop", "--", unit])?;
    if output.succeeded() || !timer(unit).is_some_and(|timer| timer.is_active) {
        return Ok(());
    }
    Err(failed("stop", unit, &output))
}

fn is_timer(unit: &str) -> bool {
    unit.ends_with(".timer")
}

/// Whether systemd has a link that starts this unit at boot, even a dangling one.
fn is_wanted(unit: &str) -> bool {
    is_wanted_below(Path::new("/"), unit)
}

fn is_wanted_below(root: &Path, unit: &str) -> bool {
    links(unit).any(|link| root.join(link.strip_prefix("/").unwrap_or(&link)).symlink_metadata().is_ok())
}

/// The paths of the links by which systemd starts a unit of a schedule at boot.
fn links(unit: &str) -> impl Iterator<Item = PathBuf> {
    ["timers.target.wants", "multi-user.target.wants"].iter().map(move |wants| Path::new(UNITS).join(wants).join(unit))
}

fn tell<const N: usize>(arguments: [&str; N]) -> Result<(), ReloadFault> {
    let output = systemctl(arguments)?;
    if output.succeeded() {
        return Ok(());
    }
    let words: Vec<&str> = arguments.into_iter().filter(|word| !word.starts_with('-')).collect();
    Err(failed(words.first().unwrap_or(&""), words.get(1).unwrap_or(&""), &output))
}

fn systemctl<const N: usize>(arguments: [&str; N]) -> Result<Output> {
    Program::new(systemctl_program()?).args(arguments).timeout(PATIENCE).run()
}

fn failed(command: &str, unit: &str, output: &Output) -> ReloadFault {
    let said = neutral_lines(output.stderr.trim());
    let cause = if said.is_empty() { output.ending() } else { said };
    let words = format!("systemctl {command} {unit}");
    unknown(Error::failed(format!("{} failed", words.trim_end())).cause(cause).next("systemctl --failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_read_as_systemd_shows_it() {
        for (shown, is_active, next) in [
            (
                "NextElapseUSecRealtime=Sat 2026-11-28 19:20:11 UTC\nActiveState=active\n",
                true,
                Some("2026-11-28T19:20:11Z"),
            ),
            ("NextElapseUSecRealtime=\nActiveState=active\n", true, None),
            ("NextElapseUSecRealtime=n/a\nActiveState=inactive\n", false, None),
            (
                "NextElapseUSecRealtime=\nNextElapseUSecMonotonic=1h 30min 10s\nActiveState=active\n",
                true,
                Some("2026-11-28T10:30:10Z"),
            ),
            ("NextElapseUSecRealtime=\nNextElapseUSecMonotonic=infinity\nActiveState=active\n", true, None),
            ("", false, None),
        ] {
            let next = next.map(|next| next.parse().unwrap());
            let now = "2026-11-28T10:00:00Z".parse().unwrap();
            let seen = as_shown(shown, now, Some(Duration::from_secs(3600)));
            assert_eq!(seen, Timer { is_active, next }, "{shown}");
        }
    }
}
