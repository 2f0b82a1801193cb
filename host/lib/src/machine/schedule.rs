//! What runs `warded renew` unattended: a timer of systemd, or a line of cron's. Every function takes the
//! directory that stands for `/`, and only reads.

mod scheduler;
mod text;

pub use scheduler::{Scheduler, Schedulers};
pub use text::{Command, File, MARK, RECOVER, UNITS, is_ours};

use std::{
    fmt,
    fs::{self, DirEntry},
    io,
    os::unix::fs::PermissionsExt as _,
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
    /// Nothing that this process knows to look for.
    Nothing,
    /// Nothing was seen, and not every place could be read: a user sees no other user's table.
    Unknown,
}

impl Schedule {
    /// Whether renewals run by themselves; none: that is not known.
    #[must_use]
    pub fn is_there(&self) -> Option<bool> {
        match self {
            Self::Timer(_) | Self::Cron(_) => Some(true),
            Self::DisabledTimer(_) | Self::Nothing => Some(false),
            Self::Unknown => None,
        }
    }

    /// Whether Warded wrote it, so that it runs every hour.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let path = match self {
            Self::Timer(name) => Path::new(UNITS).join(name),
            Self::Cron(path) => path.clone(),
            Self::DisabledTimer(_) | Self::Nothing | Self::Unknown => return false,
        };
        fs::read(path).is_ok_and(|text| is_ours(&text))
    }

    /// Looks for it.
    #[must_use]
    pub fn find(root: &Path, has_systemd: bool) -> Self {
        let mut search = Search { root, is_whole: true };
        let timer = if has_systemd { search.timer() } else { None };
        if let Some((name, true)) = timer {
            return Self::Timer(name);
        }
        match (search.cron(), timer) {
            (Some(file), _) => Self::Cron(file),
            (None, Some((name, _))) => Self::DisabledTimer(name),
            (None, None) if search.is_whole => Self::Nothing,
            (None, None) => Self::Unknown,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timer(name) => write!(f, "{name}"),
            Self::DisabledTimer(name) => write!(f, "none: {name} is not enabled"),
            Self::Cron(file) => write!(f, "cron, {}", file.display()),
            Self::Nothing => f.write_str("none: no timer and no line of cron's runs `warded renew`"),
            Self::Unknown => f.write_str("unknown: not every crontab can be read"),
        }
    }
}

/// Where systemd reads units, the first of a name wins (systemd.unit(5)).
const UNIT_DIRECTORIES: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
/// Tables of cron daemons: cronie's and Debian's, BusyBox's, anacron's.
const TABLES: [&str; 5] =
    ["etc/crontab", "etc/anacrontab", "var/spool/cron/crontabs/root", "var/spool/cron/root", "etc/crontabs/root"];
/// A directory of such tables.
const TABLES_OF_PACKAGES: &str = "etc/cron.d";
/// Directories of scripts: Debian's and cronie's, Alpine's.
const SCRIPTS: [&str; 6] = [
    "etc/cron.hourly",
    "etc/cron.daily",
    "etc/cron.weekly",
    "etc/periodic/15min",
    "etc/periodic/hourly",
    "etc/periodic/daily",
];

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

struct Search<'a> {
    root: &'a Path,
    /// Whether everything could be read that may say it.
    is_whole: bool,
}

impl Search<'_> {
    /// A timer whose service renews, and whether it is enabled.
    fn timer(&mut self) -> Option<(String, bool)> {
        let mut disabled = None;
        for directory in UNIT_DIRECTORIES {
            for entry in self.entries(directory) {
                let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
                let Some(stem) = name.strip_suffix(".timer") else { continue };
                let Some(text) = self.unit(&name) else { continue };
                let service = value(&text, "Unit").map_or_else(|| format!("{stem}.service"), str::to_owned);
                let Some(service) = self.unit(&service) else { continue };
                if !service.lines().filter_map(|line| line.trim().strip_prefix("ExecStart=")).any(renews) {
                    continue;
                }
                if self.is_wanted(&name) {
                    return Some((name, true));
                }
                disabled.get_or_insert((name, false));
            }
        }
        disabled
    }

    /// A unit's text; none where it is masked by an empty file or a link to /dev/null.
    fn unit(&mut self, name: &str) -> Option<String> {
        let path = UNIT_DIRECTORIES.iter().map(|directory| format!("{directory}/{name}"));
        let path = path.into_iter().find(|path| self.root.join(path).symlink_metadata().is_ok())?;
        self.text(&path).filter(|text| !text.is_empty())
    }

    /// Whether something that starts with the machine wants it (`systemctl enable` makes that link).
    fn is_wanted(&mut self, name: &str) -> bool {
        UNIT_DIRECTORIES.into_iter().any(|directory| {
            let wants = self.entries(directory).into_iter().map(|entry| entry.path());
            let wants = wants.filter(|path| path.extension().is_some_and(|kind| kind == "wants" || kind == "requires"));
            wants.into_iter().any(|wants| wants.join(name).symlink_metadata().is_ok())
        })
    }

    fn cron(&mut self) -> Option<PathBuf> {
        let packages = self.entries(TABLES_OF_PACKAGES).into_iter().filter(is_read_by_cron).map(|entry| entry.path());
        let tables = TABLES.iter().map(|table| self.root.join(table)).chain(packages);
        let tables: Vec<PathBuf> = tables.collect();
        let scripts = SCRIPTS.iter().flat_map(|directory| self.entries(directory));
        let is_executable =
            |entry: &DirEntry| entry.metadata().is_ok_and(|found| found.permissions().mode() & 0o111 != 0);
        let scripts: Vec<PathBuf> =
            scripts.filter(|entry| is_read_by_cron(entry) && is_executable(entry)).map(|entry| entry.path()).collect();
        tables.into_iter().chain(scripts).find(|path| {
            let text = path.strip_prefix(self.root).ok().and_then(Path::to_str).and_then(|path| self.text(path));
            let has_users =
                path.ends_with("etc/crontab") || path.parent().is_some_and(|table| table.ends_with("etc/cron.d"));
            let is_roots = |line: &str| !has_users || user_of(line) == Some("root");
            text.is_some_and(|text| text.lines().any(|line| renews(line) && is_roots(line)))
        })
    }

    fn text(&mut self, path: &str) -> Option<String> {
        /// More than any unit or table has.
        const MAX: u64 = 1 << 20;
        let path = self.root.join(path);
        let is_file = |path: &Path| path.metadata().map(|found| found.is_file() && found.len() <= MAX);
        match is_file(&path).and_then(|is_file| if is_file { fs::read(&path) } else { Ok(Vec::new()) }) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => {
                self.note(&error);
                None
            }
        }
    }

    fn entries(&mut self, directory: &str) -> Vec<DirEntry> {
        match fs::read_dir(self.root.join(directory)) {
            Ok(entries) => entries.filter_map(Result::ok).collect(),
            Err(error) => {
                self.note(&error);
                Vec::new()
            }
        }
    }

    fn note(&mut self, error: &io::Error) {
        if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            self.is_whole = false;
        }
    }
}

/// cron passes over what editors and packages leave beside its files: names with dots or tildes.
fn is_read_by_cron(entry: &DirEntry) -> bool {
    entry.file_name().to_str().is_some_and(|name| !name.contains(['.', '~']))
}

/// The last assignment of a key in a unit.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut assignments = text.lines().rev().filter_map(|line| line.trim().split_once('='));
    assignments.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// The user of a line of the system's tables (crontab(5)).
fn user_of(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let is_named = words.clone().next()?.starts_with('@');
    words.nth(if is_named { 1 } else { 5 })
}

/// Whether a line runs `warded renew`, whatever stands around it.
fn renews(line: &str) -> bool {
    if line.trim_start().starts_with('#') {
        return false;
    }
    let mut words = line.split(|sign: char| sign.is_whitespace() || "\"';&|(){}".contains(sign));
    let is_warded =
        |word: &str| word.trim_start_matches(['-', '@', ':', '+', '!']).rsplit('/').next() == Some("warded");
    words.any(is_warded) && words.any(|word| word == "renew")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "[Service]\nExecStart=/usr/local/bin/warded renew\n";
    const TIMER: &str = "[Timer]\nOnCalendar=daily\n";

    fn timer(name: &str) -> Schedule {
        Schedule::Timer(name.to_owned())
    }

    #[test]
    fn timers_and_crontabs_are_found() {
        for (case, files, has_systemd, expected) in [
            ("nothing", &[][..], true, Schedule::Nothing),
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
                "a line of cron's beside a timer that is not enabled",
                &[
                    ("etc/systemd/system/r.service", SERVICE),
                    ("etc/systemd/system/r.timer", TIMER),
                    ("etc/cron.d/warded", "# renew\n17 4 * * * root warded renew\n"),
                ],
                true,
                Schedule::Cron("etc/cron.d/warded".into()),
            ),
            ("a comment", &[("etc/crontab", "#17 4 * * * root warded renew\n")], false, Schedule::Nothing),
            (
                "root's table",
                &[("var/spool/cron/crontabs/root", "@daily /opt/warded --state /s renew >/dev/null\n")],
                false,
                Schedule::Cron("var/spool/cron/crontabs/root".into()),
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
            let root = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let mut found = Schedule::find(root.path(), has_systemd);
            if let Schedule::Cron(file) = &mut found {
                *file = file.strip_prefix(root.path()).unwrap().to_owned();
            }
            assert_eq!(found, expected, "{case}");
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
            assert_eq!(Schedule::find(root.path(), false) == Schedule::Cron(path), expected, "{file}: {line}");
        }
    }

    #[test]
    fn lines_that_renew() {
        for (line, expected) in [
            ("17 4 * * * root warded renew", true),
            ("@reboot sleep 60; /usr/local/bin/warded --json renew --force", true),
            ("-/usr/bin/warded renew", true),
            ("/bin/sh -c 'warded renew'", true),
            ("warded status", false),
            ("warded-agent renew", false),
            ("renew warded", false),
            ("  # warded renew", false),
        ] {
            assert_eq!(renews(line), expected, "{line}");
        }
    }
}
