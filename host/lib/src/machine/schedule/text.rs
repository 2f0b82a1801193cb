//! The files of a schedule. This program alone determines their text, since root runs them unattended.

use super::Scheduler;
use crate::{
    digest::Digest,
    error::{Error, Result},
    machine::path::AbsolutePath,
};
use std::{collections::BTreeSet, fmt::Write as _, iter::once};

/// The line that marks a file as Warded's.
pub const MARK: &str = "# Managed by Warded. `warded undo` takes it out.";
/// The directory of the administrator's units.
pub const UNITS: &str = "/etc/systemd/system";

/// The command that a schedule runs, and the paths that it needs.
#[derive(Clone, Debug)]
pub struct Command {
    pub program: AbsolutePath,
    /// Options that point it to the files of this run, each with its value.
    pub options: Vec<(&'static str, AbsolutePath)>,
    pub state: AbsolutePath,
    /// The directories besides `state` in which a renewal writes.
    pub writes: Vec<AbsolutePath>,
    /// Identifies this machine, so that not all machines ask the CA at once.
    pub machine_id: String,
}

/// A file of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: String,
    /// Its contents.
    pub text: String,
    /// Permission bits.
    pub mode: u32,
}

/// Whether Warded wrote this file of a schedule.
#[must_use]
pub fn is_ours(contents: &[u8]) -> bool {
    contents.split(|byte| *byte == b'\n').take(2).any(|line| line == MARK.as_bytes())
}

/// Whether Warded wrote this file, and it recovers interrupted runs at boot.
#[must_use]
pub fn recovers(contents: &[u8]) -> bool {
    let text = String::from_utf8_lossy(contents);
    let runs = |line: &str| line.split_ascii_whitespace().any(|word| word == "recover");
    is_ours(contents) && text.lines().filter(|line| !line.starts_with('#')).any(runs)
}

impl Scheduler {
    /// The paths of the files, the timer first.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        match self {
            Self::Systemd(stem) => ["timer", "service"].iter().map(|kind| format!("{UNITS}/{stem}.{kind}")).collect(),
            Self::CronD(name) => vec![format!("/etc/cron.d/{name}")],
            Self::Periodic(name) => vec![format!("/etc/periodic/hourly/{name}")],
        }
    }

    /// The files, in the order of [`Scheduler::paths`]. `recovers`: whether the init system recovers runs before sshd
    /// starts; otherwise cron does it if it can.
    ///
    /// # Errors
    /// Refused: a path that systemd, cron or a shell would not take literally.
    pub fn files(&self, command: &Command, recovers: bool) -> Result<Vec<File>> {
        let renew = command.line("renew")?;
        let recover = command.line("recover")?;
        let texts = match self {
            Self::Systemd(_) => vec![(timer(), 0o644), (service(&renew, &command.writes), 0o644)],
            Self::CronD(_) => {
                let recover = Some(recover).filter(|_| !recovers);
                vec![(table(&renew, recover.as_deref(), &command.machine_id), 0o644)]
            }
            Self::Periodic(_) => vec![(script(&renew, &command.machine_id), 0o755)],
        };
        let file = |(path, (text, mode))| File { path, text, mode };
        Ok(self.paths().into_iter().zip(texts).map(file).collect())
    }
}

impl Command {
    /// A command line that systemd, cron and sh(1) parse alike.
    pub(super) fn line(&self, command: &str) -> Result<String> {
        let mut line = self.program.to_string();
        for (option, value) in &self.options {
            write!(line, " {option} {value}").map_err(|error| Error::failed("cannot write a line").cause(error))?;
        }
        let paths = self.options.iter().map(|(_, value)| value).chain([&self.program, &self.state]).chain(&self.writes);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,@".contains(&byte);
        match paths.into_iter().find(|path| !path.as_str().bytes().all(is_plain)) {
            None => Ok(format!("{line} {command}")),
            Some(path) => Err(Error::refused(format!("{path} cannot stand in a schedule"))
                .cause("systemd, cron or a shell would read a character of it in another way")),
        }
    }

    /// The paths that have to be mounted before it runs.
    pub(super) fn mounts(&self) -> Vec<String> {
        let options = self.options.iter().map(|(_, path)| path);
        let paths =
            self.program.parent().into_iter().chain(once(&self.state).chain(&self.writes).chain(options).cloned());
        paths.map(|path| path.to_string()).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn timer() -> String {
    format!(
        "{MARK}
[Unit]
Description=Renew the SSH host certificates of this machine, hourly

[Timer]
OnCalendar=hourly
RandomizedDelaySec=1h
FixedRandomDelay=yes
Persistent=yes

[Install]
WantedBy=timers.target
"
    )
}

fn service(renew: &str, writes: &[AbsolutePath]) -> String {
    // Without the dash the service would not start once one of the directories is gone.
    let writes: String = writes.iter().map(|path| format!("ReadWritePaths=-{path}\n")).collect();
    format!(
        "{MARK}
[Unit]
Description=Renew the SSH host certificates of this machine
Wants=network-online.target
After=network-online.target ssh.service sshd.service ssh.socket sshd.socket

[Service]
Type=oneshot
ExecStart={renew}
StandardOutput=null
ProtectSystem=full
{writes}ProtectHome=read-only
PrivateTmp=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictRealtime=yes
LockPersonality=yes
"
    )
}

/// cron uses its own PATH and shell, and ignores a line without a newline. It starts all lines of a minute in its first
/// second, on all machines; so this one sleeps until the machine's own second.
fn table(renew: &str, recover: Option<&str>, machine_id: &str) -> String {
    let at_start = recover.map(|recover| format!("@reboot root {recover} >/dev/null\n")).unwrap_or_default();
    let second = spread(machine_id);
    let (minute, second) = (second / 60, second % 60);
    format!(
        "{MARK}
SHELL=/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
{minute} * * * * root sleep {second}; exec {renew} >/dev/null
{at_start}"
    )
}

/// All hourly scripts are started in the same minute, one after another. This one waits in the background.
fn script(renew: &str, machine_id: &str) -> String {
    format!("#!/bin/sh\n{MARK}\n(sleep {}; exec {renew} >/dev/null) &\n", spread(machine_id))
}

/// This machine's second of each hour.
fn spread(machine_id: &str) -> u32 {
    let digest = Digest::of(machine_id.as_bytes());
    let [first, second, third, fourth, ..] = *digest.bytes();
    u32::from_be_bytes([first, second, third, fourth]) % 3600
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(options: &[(&'static str, &str)]) -> Command {
        Command {
            program: "/usr/local/bin/warded".parse().unwrap(),
            options: options.iter().map(|(option, value)| (*option, value.parse().unwrap())).collect(),
            state: "/var/lib/warded".parse().unwrap(),
            writes: vec!["/etc/ssh".parse().unwrap()],
            machine_id: "0123456789abcdef0123456789abcdef".to_owned(),
        }
    }

    #[test]
    fn the_documentation_has_these_texts() {
        let page = include_str!("../../../../../docs/RENEWAL.md");
        let files = |scheduler: Scheduler| scheduler.files(&command(&[]), true).unwrap();
        for file in files(Scheduler::Systemd("warded-renew".to_owned())) {
            let shown = format!("`{}`:\n\n```ini\n{}```\n", file.path, file.text);
            assert!(page.contains(&shown), "docs/RENEWAL.md lacks {shown}");
        }
        let cron = files(Scheduler::CronD("warded-renew".to_owned()));
        assert!(page.contains(&format!("```\n{}```\n", cron[0].text)), "docs/RENEWAL.md lacks {}", cron[0].text);
        let script = files(Scheduler::Periodic("warded-renew".to_owned()));
        assert!(page.contains(&format!("```sh\n{}```\n", script[0].text)), "docs/RENEWAL.md lacks {}", script[0].text);
    }

    #[test]
    fn each_file_is_one_that_its_scheduler_surely_reads() {
        let options = [("--state", "/srv/warded"), ("--config", "/etc/w.toml")];
        let line = "/usr/local/bin/warded --state /srv/warded --config /etc/w.toml renew";
        for (scheduler, path, mode, wanted) in [
            (
                Scheduler::Systemd("warded-x".to_owned()),
                "/etc/systemd/system/warded-x.timer",
                0o644,
                "OnCalendar=hourly\n",
            ),
            (Scheduler::CronD("warded-x".to_owned()), "/etc/cron.d/warded-x", 0o644, "; exec /usr/local/bin/warded "),
            (
                Scheduler::Periodic("warded-x".to_owned()),
                "/etc/periodic/hourly/warded-x",
                0o755,
                "; exec /usr/local/bin/",
            ),
        ] {
            let files = scheduler.files(&command(&options), false).unwrap();
            assert_eq!((files[0].path.as_str(), files[0].mode), (path, mode));
            assert!(files[0].text.contains(wanted), "{}", files[0].text);
            assert!(files.iter().any(|file| file.text.contains(line)), "{files:?}");
            assert!(files.iter().all(|file| file.text.ends_with('\n') && is_ours(file.text.as_bytes())), "{files:?}");
            assert_eq!(files.len(), scheduler.paths().len());
        }
        let recovering = |scheduler: Scheduler| -> Vec<String> {
            let files = scheduler.files(&command(&options), false).unwrap();
            files.into_iter().filter(|file| recovers(file.text.as_bytes())).map(|file| file.path).collect()
        };
        assert!(recovering(Scheduler::Systemd("w".into())).is_empty());
        assert_eq!(recovering(Scheduler::CronD("w".into())), ["/etc/cron.d/w"]);
        assert!(recovering(Scheduler::Periodic("w".into())).is_empty());
        assert!(!recovers(b"[Service]\nExecStart=/usr/local/bin/warded recover\n"));
        for foreign in ["", "[Timer]\n", "#\n#\n# Managed by Warded. `warded undo` takes it out.\n"] {
            assert!(!is_ours(foreign.as_bytes()), "{foreign}");
        }
    }

    #[test]
    fn a_path_that_could_be_read_in_another_way_is_refused() {
        for path in ["/srv/a b", "/srv/100%", "/srv/$HOME", "/srv/a;b", "/srv/a\"b", "/srv/ü", "/srv/a\\b", "/srv/~"] {
            for scheduler in
                [Scheduler::Systemd("w".into()), Scheduler::CronD("w".into()), Scheduler::Periodic("w".into())]
            {
                assert!(scheduler.files(&command(&[("--state", path)]), true).is_err(), "{path}");
            }
        }
    }

    #[test]
    fn machines_are_spread_over_the_hour() {
        let seconds = (0..2000).map(|number| spread(&format!("{number:032x}")));
        let minutes: BTreeSet<u32> = seconds.map(|second| second / 60).collect();
        assert_eq!(minutes.len(), 60);
    }
}
