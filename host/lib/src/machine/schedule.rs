//! What runs `warded renew` unattended: a timer of systemd, or a line of cron's. Every function takes the
//! directory that stands for `/`, and only reads.

mod command_line;
mod scheduler;
mod search;
mod text;

pub use command_line::{Installation, Why};
pub use scheduler::{Scheduler, Schedulers};
pub use text::{Command, File, MARK, RECOVER, UNITS, is_ours, recovers};

use super::facts::Init;
use search::{Search, UNIT_DIRECTORIES};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// What stands in the place of a service's name where systemd takes up a schedule.
pub const SCHEDULE: &str = "schedule";

/// What runs `warded renew` on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// A timer that starts with the machine.
    Timer(String),
    /// A timer that is installed, and not enabled.
    DisabledTimer(String),
    /// A table or a script of cron's.
    Cron(PathBuf),
    /// A job that an appliance keeps in a store of its own, by the name of the action that made it.
    Job(String),
    /// Something renews, and not this installation's certificates, or nothing runs it.
    Passed(Passed),
    /// Nothing that this process knows to look for.
    Nothing,
    /// Nothing was seen, and not everything can be seen from here.
    Unknown(Unseen),
}

/// What cannot be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// A user sees no other user's table.
    Crontabs,
    /// systemd is installed, and is not process 1 here, as in a namespace or a chroot of a machine: what its timers run
    /// there is out of sight.
    Systemd,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crontabs => "not every crontab can be read",
            Self::Systemd => "systemd is installed, and is not process 1 here",
        })
    }
}

/// systemd's manager, where distributions have it.
const MANAGERS: [&str; 2] = ["usr/lib/systemd/systemd", "lib/systemd/systemd"];

impl Schedule {
    /// Whether renewals run by themselves; none: that is not known.
    #[must_use]
    pub fn is_there(&self) -> Option<bool> {
        match self {
            Self::Timer(_) | Self::Cron(_) | Self::Job(_) => Some(true),
            Self::DisabledTimer(_) | Self::Passed(_) | Self::Nothing => Some(false),
            Self::Unknown(_) => None,
        }
    }

    /// Whether Warded wrote it, so that it runs every hour.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let path = match self {
            Self::Timer(name) => Path::new(UNITS).join(name),
            Self::Cron(path) => path.clone(),
            // Made by the policy's own words.
            Self::Job(_) => return true,
            Self::DisabledTimer(_) | Self::Passed(_) | Self::Nothing | Self::Unknown(_) => return false,
        };
        fs::read(path).is_ok_and(|text| is_ours(&text))
    }

    /// Looks for that of an installation.
    #[must_use]
    pub fn find(root: &Path, has_systemd: bool, installation: &Installation) -> Self {
        let mut search = Search::new(root, installation);
        let timer = if has_systemd { search.timer() } else { None };
        if let Some((name, true)) = timer {
            return Self::Timer(name);
        }
        match (search.cron(), timer) {
            (Some(file), _) => Self::Cron(file),
            (None, Some((name, _))) => Self::DisabledTimer(name),
            (None, None) if !search.is_whole => Self::Unknown(Unseen::Crontabs),
            (None, None) => search.passed.map_or_else(|| Self::none(root, has_systemd), Self::Passed),
        }
    }
}

impl Schedule {
    /// Nothing was found.
    fn none(root: &Path, has_systemd: bool) -> Self {
        let is_installed = || MANAGERS.iter().any(|manager| root.join(manager).is_file());
        if !has_systemd && Init::detect(root) == Init::None && is_installed() {
            Self::Unknown(Unseen::Systemd)
        } else {
            Self::Nothing
        }
    }
}

/// What was found, and does not renew this installation's certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The timer, or the file of cron's.
    pub by: String,
    /// Why it does not count.
    pub why: Why,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.by, self.why)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timer(name) => write!(f, "{name}"),
            Self::DisabledTimer(name) => write!(f, "none: {name} is not enabled"),
            Self::Cron(file) => write!(f, "cron, {}", file.display()),
            Self::Job(action) => write!(f, "a job of the appliance's, made by {action}"),
            Self::Passed(passed) => write!(f, "none: {passed}"),
            Self::Nothing => f.write_str("none: no timer and no line of cron's runs `warded renew`"),
            Self::Unknown(unseen) => write!(f, "unknown: {unseen}"),
        }
    }
}

/// Whether a unit of that name is there elsewhere than among the administrator's: a package's, or one made until the
/// next start.
#[must_use]
pub fn is_in_a_package(root: &Path, unit: &str) -> bool {
    let elsewhere = UNIT_DIRECTORIES.iter().filter(|directory| !UNITS.ends_with(*directory));
    elsewhere.into_iter().any(|directory| root.join(directory).join(unit).symlink_metadata().is_ok())
}

/// Whether this is where the machine's own sshd has its configuration: another one's is nothing that Warded schedules
/// renewals for, since it may be a test's, or somebody else's.
#[must_use]
pub fn is_of_machine(sshd_config: &Path) -> bool {
    ["/etc", "/usr"].iter().any(|directory| sshd_config.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "[Service]\nExecStart=/usr/local/bin/warded renew\n";
    const TIMER: &str = "[Timer]\nOnCalendar=daily\n";

    /// Debian's own, with a cron daemon among the processes of the machine.
    fn installation(root: &Path) -> Installation {
        let process = root.join("proc/20");
        fs::create_dir_all(&process).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(process.join("comm"), "cron\n").unwrap();
        std::os::unix::fs::symlink(root, process.join("root")).unwrap();
        Installation {
            state: "/var/lib/warded".into(),
            config: "/etc/warded/config.toml".into(),
            default_state: "/var/lib/warded".into(),
            default_config: "/etc/warded/config.toml".into(),
        }
    }

    fn passed(by: &str, why: Why) -> Schedule {
        Schedule::Passed(Passed { by: by.to_owned(), why })
    }

    const MANAGER: (&str, &str) = ("usr/lib/systemd/systemd", "");

    fn timer(name: &str) -> Schedule {
        Schedule::Timer(name.to_owned())
    }

    /// What is found on a machine with these files, below its root.
    fn found(files: &[(&str, &str)], has_systemd: bool) -> Schedule {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        match Schedule::find(root.path(), has_systemd, &installation(root.path())) {
            Schedule::Cron(file) => Schedule::Cron(file.strip_prefix(root.path()).unwrap().to_owned()),
            other @ (Schedule::Timer(_)
            | Schedule::DisabledTimer(_)
            | Schedule::Job(_)
            | Schedule::Passed(_)
            | Schedule::Nothing
            | Schedule::Unknown(_)) => other,
        }
    }

    #[test]
    fn timers_are_found() {
        for (case, files, has_systemd, expected) in [
            ("nothing", &[][..], true, Schedule::Nothing),
            ("no systemd", &[][..], false, Schedule::Nothing),
            ("OpenRC beside it", &[MANAGER, ("run/openrc/x", "")][..], false, Schedule::Nothing),
            ("systemd out of sight", &[MANAGER][..], false, Schedule::Unknown(Unseen::Systemd)),
            (
                "an enabled timer",
                &[
                    ("etc/systemd/system/r.service", SERVICE),
                    ("etc/systemd/system/r.timer", TIMER),
                    ("etc/systemd/system/timers.target.wants/r.timer", TIMER),
                ],
                true,
                timer("r.timer"),
            ),
            (
                "a timer of a package, for a service of another name",
                &[
                    ("usr/lib/systemd/system/w.service", SERVICE),
                    ("usr/lib/systemd/system/t.timer", "[Timer]\nUnit=w.service\n"),
                    ("etc/systemd/system/timers.target.wants/t.timer", ""),
                ],
                true,
                timer("t.timer"),
            ),
            (
                "no systemd",
                &[
                    ("etc/systemd/system/r.service", SERVICE),
                    ("etc/systemd/system/r.timer", TIMER),
                    ("etc/systemd/system/timers.target.wants/r.timer", TIMER),
                ],
                false,
                Schedule::Nothing,
            ),
            (
                "a timer that is not enabled",
                &[("etc/systemd/system/r.service", SERVICE), ("etc/systemd/system/r.timer", TIMER)],
                true,
                Schedule::DisabledTimer("r.timer".to_owned()),
            ),
            (
                "a masked service",
                &[
                    ("etc/systemd/system/r.service", ""),
                    ("usr/lib/systemd/system/r.service", SERVICE),
                    ("usr/lib/systemd/system/r.timer", TIMER),
                ],
                true,
                Schedule::Nothing,
            ),
            (
                "another timer",
                &[
                    ("etc/systemd/system/r.service", "[Service]\nExecStart=/usr/bin/certbot renew\n"),
                    ("etc/systemd/system/r.timer", TIMER),
                ],
                true,
                Schedule::Nothing,
            ),
            (
                "a timer of another installation",
                &[
                    ("etc/systemd/system/r.service", "[Service]\nExecStart=/usr/local/bin/warded --state /s renew\n"),
                    ("etc/systemd/system/r.timer", TIMER),
                    ("etc/systemd/system/timers.target.wants/r.timer", TIMER),
                ],
                true,
                passed("r.timer", Why::State("/s".into())),
            ),
        ] {
            assert_eq!(found(files, has_systemd), expected, "{case}");
        }
    }

    #[test]
    fn tables_and_scripts_of_crons_are_found() {
        for (case, files, has_systemd, expected) in [
            (
                "a line of cron's beside a timer that is not enabled",
                &[
                    ("etc/systemd/system/r.service", SERVICE),
                    ("etc/systemd/system/r.timer", TIMER),
                    ("etc/cron.d/warded", "# renew\n17 4 * * * root warded renew\n"),
                ][..],
                true,
                Schedule::Cron("etc/cron.d/warded".into()),
            ),
            ("a comment", &[("etc/crontab", "#17 4 * * * root warded renew\n")], false, Schedule::Nothing),
            (
                "root's table",
                &[("var/spool/cron/crontabs/root", "@daily /opt/warded --json renew >/dev/null\n")],
                false,
                Schedule::Cron("var/spool/cron/crontabs/root".into()),
            ),
            (
                "a line for one sshd",
                &[("etc/cron.d/w", "7 * * * * root warded --sshd-config /s renew\n")],
                false,
                passed("/etc/cron.d/w", Why::OneSshd("/s".into())),
            ),
            (
                "what an editor left",
                &[("etc/cron.d/warded~", "17 4 * * * root warded renew\n")],
                false,
                Schedule::Nothing,
            ),
            (
                "a script that nothing runs",
                &[("etc/cron.daily/warded", "#!/bin/sh\nexec warded renew\n")],
                false,
                Schedule::Nothing,
            ),
        ] {
            assert_eq!(found(files, has_systemd), expected, "{case}");
        }
    }

    #[test]
    fn only_a_line_of_roots_in_the_systems_tables_counts() {
        for (file, line, expected) in [
            ("etc/cron.d/w", "7 * * * * jane warded renew", false),
            ("etc/crontab", "@daily jane warded renew", false),
            ("etc/crontab", "@daily root warded renew", true),
            ("etc/cron.d/w", "7 * * * * root warded renew", true),
            ("var/spool/cron/root", "7 * * * * warded renew", true),
        ] {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, line).unwrap();
            let found = Schedule::find(root.path(), false, &installation(root.path()));
            assert_eq!(found == Schedule::Cron(path), expected, "{file}: {line}");
        }
    }

    #[test]
    fn a_line_of_crons_counts_where_a_daemon_reads_it() {
        let by_hand = [
            ("etc/cron.d/w", "7 * * * * root warded renew\n"),
            ("var/spool/cron/crontabs/root", "7 * * * * warded renew\n"),
            ("etc/anacrontab", "1 5 w warded renew\n"),
        ];
        for (case, name, program, wants, counts) in [
            ("Debian's", "cron", "/usr/sbin/cron", false, [true, true, true]),
            ("BusyBox's", "crond", "/bin/busybox", false, [false, true, false]),
            ("none", "", "", false, [false, false, false]),
            ("anacron by a timer", "", "", true, [false, false, true]),
        ] {
            for ((file, line), counts) in by_hand.into_iter().zip(counts) {
                let root = tempfile::tempdir().unwrap();
                let at = |path: &str| root.path().join(path);
                let installation = installation(root.path());
                fs::write(at("proc/20/comm"), name).unwrap();
                std::os::unix::fs::symlink(program, at("proc/20/exe")).unwrap_or_default();
                if wants {
                    fs::create_dir_all(at("etc/systemd/system/timers.target.wants")).unwrap();
                    fs::write(at("etc/systemd/system/timers.target.wants/anacron.timer"), "").unwrap();
                }
                fs::create_dir_all(at(file).parent().unwrap()).unwrap();
                fs::write(at(file), line).unwrap();
                let expected =
                    if counts { Schedule::Cron(at(file)) } else { passed(&format!("/{file}"), Why::NoDaemon) };
                assert_eq!(Schedule::find(root.path(), false, &installation), expected, "{case}: {file}");
            }
        }
    }
}
