//! Finds what runs `warded renew` unattended: a systemd timer or a cron job. Every function takes the directory that
//! stands for `/`, and only reads.

mod command_line;
mod cron;
mod recovery;
mod scheduler;
mod search;
mod starter;
mod table;
mod text;
mod timer;
mod times;

pub use command_line::{Installation, RejectionReason};
pub use cron::Cron;
pub use recovery::recovers_at_start;
pub use scheduler::{Scheduler, Schedulers};
pub use starter::{RECOVER, SCRIPT, SCRIPT_NAME, ScriptInit, Started, Starter};
pub use table::SkipReason;
pub use text::{Command, File, MARK, UNITS, is_ours, recovers};
pub use timer::Timer;
pub(super) use timer::span;

use super::facts::Init;
use jiff::Timestamp;
use search::{Search, UNIT_DIRECTORIES};
use std::{fmt, fs, path::Path, time::Duration};

/// Used instead of a service's name when the init system is told about a schedule.
pub const SCHEDULE: &str = "schedule";

/// What runs `warded renew` on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// A timer that is started at boot.
    Timer(Timer),
    /// A timer that is installed but not enabled.
    DisabledTimer(String),
    /// A table of cron's, or a script that cron runs.
    Cron(Cron),
    /// A job that an appliance keeps in its own store, with the name of the action that made it.
    Job(String),
    /// Such a job that was disabled.
    DisabledJob(String),
    /// Something runs `warded renew`, but it does not count: for example it is not for this installation, or nothing
    /// starts it.
    Passed(RejectedSchedule),
    /// No schedule in any place that is known here.
    Nothing,
    /// No schedule was found, but not every place can be seen by this process.
    Unknown(BlindSpot),
}

/// A place for a schedule that this process cannot see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlindSpot {
    /// An ordinary user cannot read the tables of other users.
    Crontabs,
    /// systemd is installed, but is not process 1 here, as in a namespace or a chroot: its timers cannot be seen from
    /// here.
    Systemd,
}

impl fmt::Display for BlindSpot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crontabs => "not every crontab can be read",
            Self::Systemd => "systemd is installed, and is not process 1 here",
        })
    }
}

/// The paths of systemd's manager in distributions.
const MANAGERS: [&str; 2] = ["usr/lib/systemd/systemd", "lib/systemd/systemd"];

impl Schedule {
    /// Whether renewals run unattended; none if that is not known.
    #[must_use]
    pub fn is_there(&self) -> Option<bool> {
        match self {
            Self::Timer(_) | Self::Cron(_) | Self::Job(_) => Some(true),
            Self::DisabledTimer(_) | Self::DisabledJob(_) | Self::Passed(_) | Self::Nothing => Some(false),
            Self::Unknown(_) => None,
        }
    }

    /// Whether Warded wrote its file. `root` stands for `/`.
    #[must_use]
    pub fn is_ours(&self, root: &Path) -> bool {
        let path = match self {
            Self::Timer(timer) => root.join(UNITS.trim_start_matches('/')).join(&timer.name),
            Self::Cron(cron) => cron.file.clone(),
            // The policy's own action made it.
            Self::Job(_) => return true,
            Self::DisabledTimer(_) | Self::DisabledJob(_) | Self::Passed(_) | Self::Nothing | Self::Unknown(_) => {
                return false;
            }
        };
        fs::read(path).is_ok_and(|text| is_ours(&text))
    }

    /// The longest time between two runs; none if that is not known.
    #[must_use]
    pub fn interval(&self, now: Timestamp) -> Option<Duration> {
        match self {
            Self::Timer(timer) => timer.interval(now),
            Self::Cron(cron) => cron.interval(now),
            // The policy's own action makes hourly jobs.
            Self::Job(_) => Some(Duration::from_secs(3600)),
            Self::DisabledTimer(_) | Self::DisabledJob(_) | Self::Passed(_) | Self::Nothing | Self::Unknown(_) => None,
        }
    }

    /// Finds the schedule of an installation.
    #[must_use]
    pub fn find(root: &Path, has_systemd: bool, installation: &Installation) -> Self {
        let mut search = Search::new(root, installation);
        let timer = if has_systemd { search.timer() } else { None };
        if let Some((timer, true)) = timer {
            return Self::Timer(timer);
        }
        match (search.cron(), timer) {
            (Some(cron), _) => Self::Cron(cron),
            (None, Some((timer, _))) => Self::DisabledTimer(timer.name),
            (None, None) if !search.is_whole => Self::Unknown(BlindSpot::Crontabs),
            (None, None) => search.passed.map_or_else(|| Self::none(root, has_systemd), Self::Passed),
        }
    }
}

impl Schedule {
    /// The result if no schedule was found.
    fn none(root: &Path, has_systemd: bool) -> Self {
        let is_installed = || MANAGERS.iter().any(|manager| root.join(manager).is_file());
        if !has_systemd && Init::detect(root) == Init::None && is_installed() {
            Self::Unknown(BlindSpot::Systemd)
        } else {
            Self::Nothing
        }
    }
}

/// A schedule that does not renew this installation's certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedSchedule {
    /// The timer, or the file of cron.
    pub by: String,
    /// Why it does not count.
    pub why: RejectionReason,
}

impl fmt::Display for RejectedSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.by, self.why)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timer(timer) => f.write_str(&timer.name),
            Self::DisabledTimer(name) => write!(f, "none: {name} is not enabled"),
            Self::Cron(cron) => write!(f, "cron, {}", cron.file.display()),
            Self::Job(action) => write!(f, "a job of the appliance's, made by {action}"),
            Self::DisabledJob(action) => write!(f, "none: the job of the appliance's, made by {action}, is disabled"),
            Self::Passed(passed) => write!(f, "none: {passed}"),
            Self::Nothing => f.write_str("none: no timer and no line of cron's runs `warded renew`"),
            Self::Unknown(unseen) => write!(f, "unknown: {unseen}"),
        }
    }
}

/// Whether a unit of that name exists outside the administrator's directory: one of a package, or a transient one until
/// the next boot.
#[must_use]
pub fn is_in_a_package(root: &Path, unit: &str) -> bool {
    let elsewhere = UNIT_DIRECTORIES.iter().filter(|directory| !UNITS.ends_with(*directory));
    elsewhere.into_iter().any(|directory| root.join(directory).join(unit).symlink_metadata().is_ok())
}

/// Whether the path is a place of the machine's own sshd configuration. Warded does not schedule renewals for any other
/// configuration, since that may belong to a test or to somebody else.
#[must_use]
pub fn is_of_machine(sshd_config: &Path) -> bool {
    ["/etc", "/usr"].iter().any(|directory| sshd_config.starts_with(directory))
}

#[cfg(test)]
mod tests;
