//! The units that a restart of a unit affects: those that systemd restarts, starts or stops with it (systemd.unit(5)).

use super::systemctl;
use crate::{
    error::{Error, Result},
    machine::service,
};
use std::{
    collections::{BTreeSet, VecDeque},
    path::Path,
};

/// The properties that systemd is asked for.
const ASKED: &str = "--property=Id,Names,ExecStart,Accept,RequiredBy,RequisiteOf,BoundBy,ConsistsOf,PropagatesStopTo,\
                     Triggers,Conflicts,ConflictedBy";
/// The properties that name the units to which a restart is propagated, and those that a socket or a timer starts.
const PASSED_ON: [&str; 6] = ["RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo", "Triggers"];
/// The properties that name the units that a start stops.
const STOPPED: [&str; 2] = ["Conflicts", "ConflictedBy"];
/// The most units that are looked at.
const MOST: usize = 256;

/// A unit, as systemd shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// Its main name in systemd, whatever alias led to it.
    pub(super) id: String,
    names: Vec<String>,
    starts_sshd: bool,
    passed_on: Vec<String>,
    stopped: Vec<String>,
}

impl Unit {
    fn ask(name: &str) -> Result<Self> {
        let output = systemctl(["show", ASKED, "--", name])?;
        let unit = Self::parse(&output.stdout);
        if output.succeeded() && !unit.id.is_empty() {
            return Ok(unit);
        }
        Err(Error::failed(format!("systemd does not say what a restart of {name} reaches"))
            .cause(output.complaint())
            .next(format!("systemctl show {name}")))
    }

    fn parse(shown: &str) -> Self {
        let mut unit = Self::default();
        let mut is_accepting = false;
        for (property, value) in shown.lines().filter_map(|line| line.split_once('=')) {
            let words = || value.split_whitespace().map(str::to_owned);
            match property {
                "Id" => value.clone_into(&mut unit.id),
                "Names" => unit.names.extend(words()),
                "ExecStart" => unit.starts_sshd |= value.split_whitespace().any(is_sshd),
                "Accept" => is_accepting = value == "yes",
                _ if PASSED_ON.contains(&property) => unit.passed_on.extend(words()),
                _ if STOPPED.contains(&property) => unit.stopped.extend(words()),
                _ => {}
            }
        }
        // systemd names no instance before there is a connection (systemd.socket(5)), so an instance name is made up.
        if let Some(stem) = unit.id.strip_suffix(".socket").filter(|_| is_accepting) {
            unit.passed_on.push(format!("{stem}@warded.service"));
        }
        unit
    }

    /// Whether this is one of its names.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.id == name || self.names.iter().any(|known| known == name)
    }

    /// Whether it runs or would run sshd: by its name, by its command, or as a unit in which an sshd runs now.
    pub(super) fn is_of_sshd(&self, running: &[String]) -> bool {
        let mut names = self.names.iter().chain([&self.id]);
        self.starts_sshd || names.any(|name| service::is_of_sshd(name) || running.contains(name))
    }
}

/// Whether a word of a unit's `ExecStart` names sshd: `path=/usr/sbin/sshd`, or an argument that another program is to
/// start.
fn is_sshd(word: &str) -> bool {
    let file = |path: &str| Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    match word.strip_prefix("path=") {
        Some(program) => file(program).is_some_and(|name| name.starts_with("sshd")),
        None => file(word.trim_start_matches("argv[]=")).is_some_and(|name| name == "sshd"),
    }
}

/// The first `wanted` unit that a restart of this one affects; the unit itself counts.
///
/// # Errors
/// systemd does not answer. Refused: there are too many units to look at.
pub(super) fn find(unit: &str, wanted: impl Fn(&Unit) -> bool) -> Result<Option<Unit>> {
    walk(unit, Unit::ask, wanted)
}

fn walk(unit: &str, ask: impl Fn(&str) -> Result<Unit>, wanted: impl Fn(&Unit) -> bool) -> Result<Option<Unit>> {
    let first = (unit.to_owned(), true);
    let (mut known, mut waiting) = (BTreeSet::from([first.clone()]), VecDeque::from([first]));
    let mut left = MOST;
    while let Some((name, passes_on)) = waiting.pop_front() {
        left = left.checked_sub(1).ok_or_else(|| {
            Error::refused(format!("{unit} is not restarted")).cause(format!("that reaches more than {MOST} units"))
        })?;
        let found = ask(&name)?;
        if wanted(&found) {
            return Ok(Some(found));
        }
        // A stop is propagated as a restart is. But from a unit that is stopped by a conflict, no further conflict is
        // followed: each unit conflicts with shutdown.target, and that one with each unit.
        let passed_on = found.passed_on.into_iter().map(|name| (name, passes_on));
        let stopped = found.stopped.into_iter().filter(|_| passes_on).map(|name| (name, false));
        waiting.extend(passed_on.chain(stopped).filter(|next| known.insert(next.clone())));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units as `systemctl show` prints them.
    const UNITS: [(&str, &str); 15] = [
        ("rival.service", "Conflicts=base.service"),
        (
            "plain.service",
            "Conflicts=shutdown.target\nExecStart={ path=/bin/app ; argv[]=/bin/app -c /etc/ssh/sshd_config ; }",
        ),
        ("shutdown.target", "ConflictedBy=ssh.service plain.service"),
        ("base.service", "ConsistsOf=middle.service"),
        ("middle.service", "RequiredBy=base.service\nBoundBy=ssh.service"),
        ("ssh.service", "ExecStart={ path=/usr/sbin/sshd ; argv[]=/usr/sbin/sshd -D ; }"),
        ("entry.service", "Id=door.service\nNames=door.service entry.service\nExecStart={ path=/bin/door ; }"),
        ("other.service", "Names=other.service sshd.service"),
        ("failed.service", "ExecStart={ path=/usr/lib/openssh/sshd-old ; argv[]=x ; }"),
        ("wrapped.service", "ExecStart={ path=/usr/bin/env ; argv[]=/usr/bin/env /opt/sshd -D ; }"),
        ("idle.socket", "Triggers=failed.service"),
        ("gate.socket", "Accept=yes"),
        ("gate@warded.service", "ExecStart={ path=/usr/sbin/sshd ; argv[]=/usr/sbin/sshd -i ; }"),
        ("opposite.service", "Conflicts=ssh.service"),
        ("own.timer", "Triggers=own.service"),
    ];

    fn ask(name: &str) -> Result<Unit> {
        let shown = UNITS.iter().find(|(unit, _)| *unit == name).map_or("", |(_, shown)| shown);
        Ok(Unit::parse(&format!("Id={name}\n{shown}\n")))
    }

    #[test]
    fn a_restart_reaches_what_systemd_passes_it_on_to() {
        let running = ["door.service".to_owned()];
        for (unit, reached) in [
            ("plain.service", None),
            ("absent.service", None),
            ("own.timer", None),
            ("ssh.service", Some("ssh.service")),
            ("base.service", Some("ssh.service")),
            ("middle.service", Some("ssh.service")),
            ("entry.service", Some("door.service")),
            ("other.service", Some("other.service")),
            ("failed.service", Some("failed.service")),
            ("wrapped.service", Some("wrapped.service")),
            ("idle.socket", Some("failed.service")),
            ("gate.socket", Some("gate@warded.service")),
            ("opposite.service", Some("ssh.service")),
            ("rival.service", Some("ssh.service")),
        ] {
            let found = walk(unit, ask, |unit| unit.is_of_sshd(&running)).unwrap();
            assert_eq!(found.map(|unit| unit.id).as_deref(), reached, "{unit}");
        }
        let own = walk("own.timer", ask, |unit| unit.id == "own.service").unwrap();
        assert_eq!(own.map(|unit| unit.id).as_deref(), Some("own.service"));
    }

    #[test]
    fn a_walk_without_an_end_is_refused() {
        let next = |name: &str| Ok(Unit::parse(&format!("Id={name}\nRequiredBy=x{name}")));
        let error = walk("x.service", next, |_| false).unwrap_err();
        assert!(error.to_string().contains("more than 256 units"), "{error}");
    }
}
