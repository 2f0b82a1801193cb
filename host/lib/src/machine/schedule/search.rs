//! A look through the files by which systemd and cron daemons start programs.

use super::{
    Passed,
    command_line::{Installation, Why},
    cron::{Cron, is_at_start},
    scheduler::{Daemon, daemons},
};
use std::{
    collections::BTreeMap,
    fs::{self, DirEntry},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Where systemd reads units, the first of a name wins (systemd.unit(5)).
pub(super) const UNIT_DIRECTORIES: [&str; 5] = [
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

pub(super) struct Search<'a> {
    root: &'a Path,
    /// Whether everything could be read that may say it.
    pub(super) is_whole: bool,
    /// The first that was found and does not count.
    pub(super) passed: Option<Passed>,
    installation: &'a Installation,
    daemons: Vec<Daemon>,
}

impl<'a> Search<'a> {
    pub(super) fn new(root: &'a Path, installation: &'a Installation) -> Self {
        Self { root, is_whole: true, passed: None, installation, daemons: daemons(root) }
    }

    /// A timer whose service renews, and whether it is enabled.
    pub(super) fn timer(&mut self) -> Option<(String, bool)> {
        let mut disabled = None;
        for directory in UNIT_DIRECTORIES {
            for entry in self.entries(directory) {
                let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
                let Some(stem) = name.strip_suffix(".timer") else { continue };
                let Some(text) = self.unit(&name) else { continue };
                let service = value(&text, "Unit").map_or_else(|| format!("{stem}.service"), str::to_owned);
                let Some(service) = self.unit(&service) else { continue };
                let user = value(&service, "User").filter(|user| !["", "root", "0"].contains(user));
                let why = match self.installation.is_renewed_by(starts(&service).into_iter(), &service) {
                    None => continue,
                    Some(Err(why)) => Some(why),
                    Some(Ok(_)) => user.map(|user| Why::User(user.to_owned())),
                };
                if let Some(why) = why {
                    self.passed.get_or_insert(Passed { by: name, why });
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

    /// A unit's text, with those of its drop-ins behind it (systemd.unit(5)); none where it is masked by an empty file or a
    /// link to /dev/null.
    fn unit(&mut self, name: &str) -> Option<String> {
        let path = UNIT_DIRECTORIES.iter().map(|directory| format!("{directory}/{name}"));
        let path = path.into_iter().find(|path| self.root.join(path).symlink_metadata().is_ok())?;
        let mut text = self.text(&path).filter(|text| !text.is_empty())?;
        let mut drop_ins = BTreeMap::new();
        for directory in UNIT_DIRECTORIES.map(|directory| format!("{directory}/{name}.d")) {
            for entry in self.entries(&directory) {
                let Some(file) = entry.file_name().to_str().map(str::to_owned) else { continue };
                if file.ends_with(".conf") {
                    drop_ins.entry(file.clone()).or_insert_with(|| format!("{directory}/{file}"));
                }
            }
        }
        for path in drop_ins.into_values() {
            text.push('\n');
            text.push_str(&self.text(&path).unwrap_or_default());
        }
        Some(text)
    }

    /// Whether something that starts with the machine wants it (`systemctl enable` makes that link).
    fn is_wanted(&mut self, name: &str) -> bool {
        UNIT_DIRECTORIES.into_iter().any(|directory| {
            let wants = self.entries(directory).into_iter().map(|entry| entry.path());
            let wants = wants.filter(|path| path.extension().is_some_and(|kind| kind == "wants" || kind == "requires"));
            wants.into_iter().any(|wants| wants.join(name).symlink_metadata().is_ok())
        })
    }

    pub(super) fn cron(&mut self) -> Option<Cron> {
        let packages = self.entries(TABLES_OF_PACKAGES).into_iter().filter(is_read_by_cron).map(|entry| entry.path());
        let tables = TABLES.iter().map(|table| self.root.join(table)).chain(packages);
        let tables: Vec<PathBuf> = tables.collect();
        let scripts = SCRIPTS.iter().flat_map(|directory| self.entries(directory));
        let is_executable =
            |entry: &DirEntry| entry.metadata().is_ok_and(|found| found.permissions().mode() & 0o111 != 0);
        let scripts: Vec<PathBuf> =
            scripts.filter(|entry| is_read_by_cron(entry) && is_executable(entry)).map(|entry| entry.path()).collect();
        for path in tables.into_iter().chain(scripts) {
            let name = path.strip_prefix(self.root).ok().and_then(Path::to_str).map(str::to_owned);
            let Some((name, text)) = name.and_then(|name| Some((name.clone(), self.text(&name)?))) else { continue };
            let has_users = name == "etc/crontab" || name.starts_with("etc/cron.d/");
            let lines = || text.lines().filter(|line| !has_users || user_of(line) == Some("root"));
            let by_the_clock = self.installation.is_renewed_by(lines().filter(|line| !is_at_start(line)), &text);
            let why = match by_the_clock.or_else(|| self.installation.is_renewed_by(lines(), &text)) {
                None => continue,
                Some(Ok(line)) if is_at_start(line) => Why::OnlyAtStart,
                Some(Ok(line)) if self.is_run(&name) => return Some(Cron::new(path, &name, line)),
                Some(Ok(_)) => Why::NoDaemon,
                Some(Err(why)) => why,
            };
            self.passed.get_or_insert(Passed { by: format!("/{name}"), why });
        }
        None
    }

    /// Whether something runs that reads this table or starts this script.
    fn is_run(&mut self, name: &str) -> bool {
        // BusyBox's daemon has no tables but the users', of which Alpine's starts the scripts.
        let is_systems = ["etc/cron", "etc/anacrontab"].iter().any(|start| name.starts_with(start))
            && !name.starts_with("etc/crontabs/");
        let reads = |daemon: &Daemon| daemon.shares_etc != Some(false) && !(is_systems && daemon.is_busybox);
        let is_anacrons =
            ["etc/anacrontab", "etc/cron.daily/", "etc/cron.weekly/"].iter().any(|start| name.starts_with(start));
        self.daemons.iter().any(reads) || is_anacrons && self.is_wanted("anacron.timer")
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

/// What a service starts: an empty assignment takes back what stands before it (systemd.service(5)).
fn starts(service: &str) -> Vec<&str> {
    let mut starts = Vec::new();
    for command in service.lines().filter_map(|line| line.trim().strip_prefix("ExecStart=")).map(str::trim) {
        if command.is_empty() {
            starts.clear();
        } else {
            starts.push(command);
        }
    }
    starts
}

/// The user of a line of the system's tables (crontab(5)).
fn user_of(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let is_named = words.clone().next()?.starts_with('@');
    words.nth(if is_named { 1 } else { 5 })
}
