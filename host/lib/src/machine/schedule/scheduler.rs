//! The scheduler of this machine: systemd, or a running cron daemon.

use crate::{
    machine::facts::Init,
    name::{Name, UnitName},
};
use serde::Deserialize;
use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The names that a policy gives to Warded's schedule under each scheduler.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedulers {
    /// The timer; its service has the same name.
    pub systemd: Option<UnitName>,
    /// The table in `/etc/cron.d`.
    pub cron: Option<Cron>,
    /// The script in `/etc/periodic/hourly` (Alpine).
    pub periodic: Option<Name>,
}

/// `cron.d = "NAME"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cron {
    /// The name of the table.
    pub d: Name,
}

/// A scheduler, with the name of Warded's schedule there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// systemd is process 1: the timer's name without its suffix.
    Systemd(String),
    /// A cron daemon that reads `/etc/cron.d`.
    CronD(String),
    /// BusyBox's crond, whose table runs the scripts of `/etc/periodic/hourly`.
    Periodic(String),
}

/// The prefix of schedule names. Under another name, a policy could name a unit that exists for something else.
const OURS: &str = "warded-";
const TIMER: &str = ".timer";

impl Schedulers {
    /// What is wrong with the names: the text to point at, and the reason.
    ///
    /// # Errors
    /// A name that a schedule of Warded's must not have, or no name at all.
    pub fn check(&self) -> Result<(), (String, String)> {
        let timer = self.systemd.as_ref().map(UnitName::as_str);
        let others = [self.cron.as_ref().map(|cron| cron.d.as_str()), self.periodic.as_ref().map(Name::as_str)];
        let names: Vec<&str> = timer.into_iter().chain(others.into_iter().flatten()).collect();
        if names.is_empty() {
            return Err(("[schedule]".to_owned(), "[schedule] names no scheduler".to_owned()));
        }
        let is_taken = |name: &&str| !name.starts_with(OURS) || name.starts_with("warded-recover.");
        if let Some(name) = names.into_iter().find(is_taken) {
            return Err((name.to_owned(), format!("{name}: the name of a schedule begins with {OURS}")));
        }
        match timer.filter(|name| !name.ends_with(TIMER)) {
            Some(name) => Err((name.to_owned(), format!("{name} is no timer"))),
            None => Ok(()),
        }
    }

    /// The schedulers that have a name, in the order in which they are tried.
    pub fn all(&self) -> impl Iterator<Item = Scheduler> + '_ {
        let timer = self.systemd.as_ref().and_then(|timer| timer.as_str().strip_suffix(TIMER));
        let table = self.cron.as_ref().map(|cron| Scheduler::CronD(cron.d.to_string()));
        let script = self.periodic.as_ref().map(|name| Scheduler::Periodic(name.to_string()));
        timer.map(|stem| Scheduler::Systemd(stem.to_owned())).into_iter().chain(table).chain(script)
    }

    /// The scheduler that runs on this machine; `root` stands for `/`.
    #[must_use]
    pub fn running(&self, root: &Path, init: Init) -> Option<Scheduler> {
        let daemons = daemons(root);
        self.all().find(|scheduler| match scheduler {
            Scheduler::Systemd(_) => init == Init::Systemd && shares_etc(root, "1") == Some(true),
            Scheduler::CronD(_) => {
                let reads = |daemon: &Daemon| daemon.family != Family::Busybox && daemon.shares_etc == Some(true);
                root.join("etc/cron.d").is_dir() && daemons.iter().any(reads)
            }
            Scheduler::Periodic(_) => {
                let table = fs::read_to_string(root.join("etc/crontabs/root")).unwrap_or_default();
                let is_run = |line: &str| !line.trim_start().starts_with('#') && line.contains("/etc/periodic/hourly");
                table.lines().any(is_run)
                    && root.join("etc/periodic/hourly").is_dir()
                    && daemons.iter().any(|daemon| daemon.shares_etc == Some(true))
            }
        })
    }
}

/// A running cron daemon.
#[derive(Debug)]
pub(super) struct Daemon {
    /// Whether it has the same `/etc` as this process; none if that cannot be seen.
    pub(super) shares_etc: Option<bool>,
    pub(super) family: Family,
}

/// The kind of cron daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Debian's cron, and others that descend from Vixie's.
    Debian,
    Cronie,
    /// BusyBox's crond, which does not read `/etc/cron.d`.
    Busybox,
}

/// The cron daemons among the processes: `cron` (Debian), `crond` (cronie, dcron, BusyBox).
pub(super) fn daemons(root: &Path) -> Vec<Daemon> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join("proc")).into_iter().flatten().filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().filter(|name| name.parse::<u32>().is_ok()).map(str::to_owned) else {
            continue;
        };
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = command.split(|byte| *byte == 0);
        let applet = words.nth(1).unwrap_or_default();
        let program = fs::read_link(entry.path().join("exe")).unwrap_or_default();
        let is_busybox = program.file_name().is_some_and(|name| name == "busybox");
        let family = match name.trim() {
            "cron" | "crond" if is_busybox => Family::Busybox,
            // On openSUSE `cron` is cronie.
            "cron" if root.join("var/spool/cron/tabs").is_dir() => Family::Cronie,
            "cron" => Family::Debian,
            "crond" => Family::Cronie,
            "busybox" if applet == b"crond" => Family::Busybox,
            _ => continue,
        };
        found.push(Daemon { shares_etc: shares_etc(root, &pid), family });
    }
    found
}

/// Whether a process has the same `/etc` as this one. In a container, or with a private `/etc`, process 1 or a cron
/// daemon may belong to another machine. None if this process may not look.
pub(super) fn shares_etc(root: &Path, pid: &str) -> Option<bool> {
    let which = |path: PathBuf| path.metadata().map(|found| (found.dev(), found.ino()));
    match which(root.join("proc").join(pid).join("root/etc")) {
        Ok(theirs) => Some(which(root.join("etc")).is_ok_and(|own| own == theirs)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(_) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn schedulers(lines: &str) -> Schedulers {
        toml::from_str(lines).unwrap()
    }

    const ALL: &str = "systemd = 'warded-renew.timer'\ncron.d = 'warded-renew'\nperiodic = 'warded-renew'";

    #[test]
    fn only_names_of_wardeds_own_are_taken() {
        for (lines, why) in [
            (ALL, None),
            ("periodic = 'warded-x'", None),
            ("", Some("[schedule] names no scheduler")),
            ("systemd = 'ssh.timer'", Some("ssh.timer: the name of a schedule begins with warded-")),
            (
                "systemd = 'warded-recover.timer'",
                Some("warded-recover.timer: the name of a schedule begins with warded-"),
            ),
            ("systemd = 'warded-renew.service'", Some("warded-renew.service is no timer")),
            ("cron.d = 'anacron'", Some("anacron: the name of a schedule begins with warded-")),
        ] {
            assert_eq!(schedulers(lines).check().err().map(|(_, why)| why).as_deref(), why, "{lines}");
        }
        for wrong in
            ["cron.d = 'warded.renew'", "cron = 'warded-renew'", "at = 'warded-renew'", "systemd = '../x.timer'"]
        {
            assert!(toml::from_str::<Schedulers>(wrong).is_err(), "{wrong}");
        }
    }

    /// A directory for a machine with these processes (pid, name, program, second word) and files. The processes in
    /// `others` have another `/etc`.
    fn machine(processes: &[(&str, &str, &str, &str)], files: &[(&str, &str)], others: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for directory in ["etc", "other/etc"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        for (pid, name, program, word) in processes {
            let process = root.path().join("proc").join(pid);
            fs::create_dir_all(&process).unwrap();
            fs::write(process.join("comm"), format!("{name}\n")).unwrap();
            fs::write(process.join("cmdline"), format!("{program}\0{word}\0")).unwrap();
            symlink(program, process.join("exe")).unwrap();
            let sees = if others.contains(pid) { "other" } else { "." };
            symlink(root.path().join(sees), process.join("root")).unwrap();
        }
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_scheduler_is_the_one_that_runs_here() {
        let name = || "warded-renew".to_owned();
        const SYSTEMD: (&str, &str, &str, &str) = ("1", "systemd", "/usr/lib/systemd/systemd", "");
        const CRON: (&str, &str, &str, &str) = ("20", "cron", "/usr/sbin/cron", "-f");
        const BUSYBOX: (&str, &str, &str, &str) = ("20", "crond", "/bin/busybox", "-c");
        const TABLE: (&str, &str) = ("etc/cron.d/e2scrub_all", "");
        const ALPINE: &[(&str, &str)] = &[
            ("etc/crontabs/root", "# do not edit\n0 * * * * run-parts /etc/periodic/hourly\n"),
            ("etc/periodic/hourly/.keep", ""),
        ];
        for (case, processes, files, init, others, expected) in [
            ("systemd", &[SYSTEMD, CRON][..], &[TABLE][..], Init::Systemd, &[][..], Some(Scheduler::Systemd(name()))),
            ("systemd of another /etc", &[SYSTEMD], &[TABLE], Init::Systemd, &["1"], None),
            ("systemd that is not process 1", &[("7", "systemd", "/x", "--user")], &[], Init::None, &[], None),
            ("cron", &[CRON], &[TABLE], Init::Sysv, &[], Some(Scheduler::CronD(name()))),
            (
                "cronie",
                &[("9", "crond", "/usr/sbin/crond", "-n")],
                &[TABLE],
                Init::None,
                &[],
                Some(Scheduler::CronD(name())),
            ),
            ("another machine's cron", &[CRON], &[TABLE], Init::None, &["20"], None),
            ("no cron daemon", &[], &[TABLE], Init::Sysv, &[], None),
            ("a cron without cron.d", &[CRON], &[], Init::Sysv, &[], None),
            ("Alpine", &[BUSYBOX], ALPINE, Init::Openrc, &[], Some(Scheduler::Periodic(name()))),
            (
                "BusyBox by its own name",
                &[("20", "busybox", "/bin/busybox", "crond")],
                ALPINE,
                Init::Openrc,
                &[],
                Some(Scheduler::Periodic(name())),
            ),
            ("BusyBox with a cron.d that it does not read", &[BUSYBOX], &[TABLE], Init::Openrc, &[], None),
            ("Alpine without crond", &[], ALPINE, Init::Openrc, &[], None),
            (
                "a table that does not run the scripts",
                &[BUSYBOX],
                &[
                    ("etc/crontabs/root", "# 0 * * * * run-parts /etc/periodic/hourly\n"),
                    ("etc/periodic/hourly/.k", ""),
                ],
                Init::Openrc,
                &[],
                None,
            ),
        ] {
            let root = machine(processes, files, others);
            assert_eq!(schedulers(ALL).running(root.path(), init), expected, "{case}");
        }
        let root = machine(&[SYSTEMD], &[], &[]);
        assert_eq!(schedulers("cron.d = 'warded-renew'").running(root.path(), Init::Systemd), None);
    }
}
