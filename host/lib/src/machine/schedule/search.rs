//! Searches the files by which systemd and cron daemons start programs.

use super::{
    RejectedSchedule,
    command_line::{Installation, RejectionReason, is_by_sudo},
    cron::{Cron, is_at_start},
    scheduler::{Daemon, Family, daemons},
    table::{self, SkipReason},
    timer::{Timer, assignments, last},
};
use std::{
    collections::BTreeMap,
    fs::{self, DirEntry},
    io,
    path::Path,
};

/// The directories of systemd units; for equal names the first counts (systemd.unit(5)).
pub(super) const UNIT_DIRECTORIES: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
pub(super) struct Search<'a> {
    root: &'a Path,
    /// Whether every relevant file could be read.
    pub(super) is_whole: bool,
    /// The first schedule that was found and does not count.
    pub(super) passed: Option<RejectedSchedule>,
    installation: &'a Installation,
    daemons: Vec<Daemon>,
}

impl<'a> Search<'a> {
    pub(super) fn new(root: &'a Path, installation: &'a Installation) -> Self {
        Self { root, is_whole: true, passed: None, installation, daemons: daemons(root) }
    }

    /// A timer whose service runs the renewal, and whether it is enabled.
    pub(super) fn timer(&mut self) -> Option<(Timer, bool)> {
        let mut disabled = None;
        for directory in UNIT_DIRECTORIES {
            for entry in self.entries(directory) {
                let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
                let Some(stem) = name.strip_suffix(".timer") else { continue };
                let Some(text) = self.unit(&name) else { continue };
                let unit = last(&text, "Unit").unwrap_or_else(|| format!("{stem}.service"));
                let Some(service) = self.unit(&unit) else { continue };
                let user = last(&service, "User").filter(|user| !["", "root", "0"].contains(&user.as_str()));
                let starts = starts(&service);
                let why = match self.installation.is_renewed_by(starts.iter().map(String::as_str), &service) {
                    None => continue,
                    Some(Err(why)) => Some(why),
                    Some(Ok(_)) => user.map(RejectionReason::User),
                };
                let is_started = self.wanted(&unit).is_some();
                let wanted = self.wanted(&name);
                let timer = match why {
                    None => Timer::read(wanted.clone().unwrap_or_else(|| name.clone()), &text, is_started),
                    Some(why) => Err(why),
                };
                match timer {
                    Ok(timer) if wanted.is_some() => return Some((timer, true)),
                    Ok(timer) => {
                        disabled.get_or_insert((timer, false));
                    }
                    Err(why) => {
                        self.pass_over(RejectedSchedule { by: name, why });
                    }
                }
            }
        }
        disabled
    }

    /// A unit's text, followed by the texts of its drop-ins in the order of their names (systemd.unit(5)). None if the
    /// unit is masked by an empty file or a link to /dev/null.
    fn unit(&mut self, name: &str) -> Option<String> {
        let path = UNIT_DIRECTORIES.iter().map(|directory| format!("{directory}/{name}"));
        let path = path.into_iter().find(|path| self.root.join(path).symlink_metadata().is_ok())?;
        let mut text = self.text(&path).filter(|text| !text.is_empty())?;
        let mut drop_ins = BTreeMap::new();
        for directory in drop_in_directories(name) {
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

    /// The name under which a unit is wanted by another one (`systemctl enable` makes that link): the unit itself, or
    /// the first instance of a template.
    fn wanted(&mut self, name: &str) -> Option<String> {
        let template = name.split_once("@.");
        UNIT_DIRECTORIES.into_iter().find_map(|directory| {
            let wants = self.entries(directory).into_iter().map(|entry| entry.path());
            let wants = wants.filter(|path| path.extension().is_some_and(|kind| kind == "wants" || kind == "requires"));
            wants.into_iter().find_map(|wants| match template {
                None => wants.join(name).symlink_metadata().is_ok().then(|| name.to_owned()),
                Some((stem, kind)) => {
                    let links = fs::read_dir(wants).ok()?.filter_map(|link| link.ok()?.file_name().into_string().ok());
                    let is_instance =
                        |link: &String| link.starts_with(&format!("{stem}@")) && link.ends_with(&format!(".{kind}"));
                    links.filter(is_instance).min()
                }
            })
        })
    }

    pub(super) fn cron(&mut self) -> Option<Cron> {
        for (name, kind) in table::all(|directory| self.names(directory)) {
            let Some(text) = self.text(&name) else { continue };
            let found = |lines: &[&'_ str]| {
                let found = self.installation.is_renewed_by(lines.iter().copied(), &text);
                found.map(|found| found.map(str::to_owned))
            };
            let (roots, others): (Vec<&str>, Vec<&str>) = text
                .lines()
                .partition(|line| kind.user(&name, line).is_none_or(|user| user == "root") || is_by_sudo(line));
            let by_the_clock: Vec<&str> = roots.iter().filter(|line| !is_at_start(line)).copied().collect();
            let why = match found(&by_the_clock).or_else(|| found(&roots)) {
                None => match others.iter().find(|line| found(&[line]).is_some()) {
                    None => continue,
                    Some(line) => match kind.user(&name, line).unwrap_or_default() {
                        word if table::is_user_name(word) => RejectionReason::User(word.to_owned()),
                        _ => RejectionReason::Ignored(SkipReason::NoUser),
                    },
                },
                Some(Err(why)) => why,
                Some(Ok(line)) if is_at_start(&line) => RejectionReason::OnlyAtStart,
                Some(Ok(line)) => {
                    let path = self.root.join(&name);
                    let ignored = self.reader(&name).map(|daemon| table::ignored(&path, kind, daemon, (&text, &line)));
                    match ignored {
                        None => RejectionReason::NoDaemon,
                        Some(None) => return Some(Cron::new(path, &name, &line)),
                        Some(Some(why)) => RejectionReason::Ignored(why),
                    }
                }
            };
            self.pass_over(RejectedSchedule { by: format!("/{name}"), why });
        }
        None
    }

    /// Keeps the first schedule that does not count. One for this installation replaces one that is not.
    fn pass_over(&mut self, passed: RejectedSchedule) {
        let is_ours =
            |passed: &RejectedSchedule| !matches!(passed.why, RejectionReason::State(_) | RejectionReason::Config(_));
        match &self.passed {
            Some(kept) if is_ours(kept) || !is_ours(&passed) => {}
            _ => self.passed = Some(passed),
        }
    }

    /// The running cron daemon that reads this table or starts this script.
    pub(super) fn reader(&mut self, name: &str) -> Option<Family> {
        let reads = |daemon: &&Daemon| daemon.shares_etc != Some(false) && table::is_read_by(name, daemon.family);
        let is_anacrons = ["etc/anacrontab", "etc/cron.daily/", "etc/cron.weekly/", "etc/cron.monthly/"];
        let is_anacrons = is_anacrons.iter().any(|start| name.starts_with(start));
        let daemon = self.daemons.iter().find(reads).map(|daemon| daemon.family);
        daemon.or_else(|| (is_anacrons && self.wanted("anacron.timer").is_some()).then_some(Family::Debian))
    }

    pub(super) fn text(&mut self, path: &str) -> Option<String> {
        /// Larger than any unit or table.
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

    pub(super) fn names(&mut self, directory: &str) -> Vec<String> {
        let entries = self.entries(directory).into_iter();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
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

/// The directories in which systemd reads drop-ins of a unit; for equal file names the first counts. Besides the unit's
/// own directory there is one for each prefix of its name that ends in a dash (`warded-.timer.d`), and, after all of
/// these, one for its type (`timer.d`).
fn drop_in_directories(name: &str) -> Vec<String> {
    let mut names = vec![name];
    let (stem, kind) = name.rsplit_once('.').unwrap_or((name, ""));
    let (prefix, instance) = stem.find('@').map_or((stem, ""), |at| stem.split_at(at));
    let dashes = prefix.trim_end_matches('-').rmatch_indices('-');
    let beginnings: Vec<String> =
        dashes.filter_map(|(at, _)| Some(format!("{}{instance}.{kind}", prefix.get(..=at)?))).collect();
    names.extend(beginnings.iter().map(String::as_str));
    let own =
        UNIT_DIRECTORIES.iter().flat_map(|directory| names.iter().map(move |name| format!("{directory}/{name}.d")));
    own.chain(UNIT_DIRECTORIES.iter().map(|directory| format!("{directory}/{kind}.d"))).collect()
}

/// The commands that a service starts; an empty assignment clears the earlier ones (systemd.service(5)).
fn starts(service: &str) -> Vec<String> {
    let mut starts = Vec::new();
    for (_, command) in assignments(service).filter(|(key, _)| *key == "ExecStart") {
        if command.is_empty() {
            starts.clear();
        } else {
            starts.push(command);
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_are_in_these_directories() {
        for (name, expected) in [
            ("w.timer", &["w.timer.d", "timer.d"][..]),
            ("warded-renew.timer", &["warded-renew.timer.d", "warded-.timer.d", "timer.d"]),
            ("a-b-c@x.service", &["a-b-c@x.service.d", "a-b-@x.service.d", "a-@x.service.d", "service.d"]),
        ] {
            let found = drop_in_directories(name);
            let first: Vec<&str> = found.iter().filter_map(|path| path.strip_prefix("etc/systemd/system/")).collect();
            assert_eq!(first, expected);
            assert_eq!(found.len(), expected.len() * UNIT_DIRECTORIES.len());
            assert!(found.last().unwrap().starts_with("lib/"), "{found:?}");
        }
    }
}
