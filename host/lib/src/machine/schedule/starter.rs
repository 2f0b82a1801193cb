//! What has `warded recover` run at the start of the machine, before sshd: a file for each init, and what enables it.

use super::{
    scheduler::shares_etc,
    text::{Command, File, MARK, UNITS},
};
use crate::{
    error::Result,
    machine::{exec, facts::Init},
    name::UnitName,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The unit of systemd's.
pub const RECOVER: &str = "warded-recover.service";
/// The script of sysvinit's or OpenRC's.
pub const SCRIPT: &str = "/etc/init.d/warded-recover";
/// The name by which these two know it.
pub const SCRIPT_NAME: &str = "warded-recover";
/// runit's first stage reads the files of this directory before it starts any service; nothing has to enable them.
const STAGE_1: &str = "/etc/runit/core-services";

/// What recovers interrupted runs at the start of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starter {
    /// A unit of systemd's.
    Unit,
    /// A script in `/etc/init.d`.
    Script(ScriptInit),
    /// A file of runit's first stage.
    Stage1,
}

/// An init with scripts in `/etc/init.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptInit {
    Sysvinit,
    Openrc,
}

/// What an init starts of a schedule: it is enabled once its file is there, and disabled once that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Started {
    Unit(UnitName),
    /// The script that recovers.
    Script(ScriptInit),
}

impl Starter {
    /// Those of every init.
    pub const ALL: [Self; 4] =
        [Self::Unit, Self::Script(ScriptInit::Sysvinit), Self::Script(ScriptInit::Openrc), Self::Stage1];

    /// That of this machine's init; none: Warded knows none for it. `root` stands for `/`.
    #[must_use]
    pub fn of(root: &Path, init: Init) -> Option<Self> {
        let scripts =
            |init: ScriptInit| root.join("etc/init.d").is_dir() && exec::find_below(root, init.program()).is_some();
        let starter = match init {
            Init::Systemd => Some(Self::Unit),
            Init::Sysv => Some(Self::Script(ScriptInit::Sysvinit)).filter(|_| scripts(ScriptInit::Sysvinit)),
            Init::Openrc => Some(Self::Script(ScriptInit::Openrc)).filter(|_| scripts(ScriptInit::Openrc)),
            Init::Runit => Some(Self::Stage1).filter(|_| root.join(STAGE_1.trim_start_matches('/')).is_dir()),
            Init::None => None,
        };
        starter.filter(|_| shares_etc(root, "1") == Some(true))
    }

    /// Its file.
    #[must_use]
    pub fn path(self) -> String {
        match self {
            Self::Unit => format!("{UNITS}/{RECOVER}"),
            Self::Script(_) => SCRIPT.to_owned(),
            Self::Stage1 => format!("{STAGE_1}/97-{SCRIPT_NAME}.sh"),
        }
    }

    /// What has to be enabled.
    #[must_use]
    pub fn started(self) -> Option<Started> {
        match self {
            Self::Unit => RECOVER.to_owned().try_into().ok().map(Started::Unit),
            Self::Script(init) => Some(Started::Script(init)),
            Self::Stage1 => None,
        }
    }

    /// The file, with its text.
    ///
    /// # Errors
    /// Refused: a path that the init or a shell would not take as it is.
    pub fn file(self, command: &Command) -> Result<File> {
        let recover = command.line("recover")?;
        let (text, mode) = match self {
            Self::Unit => (unit(&recover, command), 0o644),
            Self::Script(ScriptInit::Sysvinit) => (sysvinit(&recover), 0o755),
            Self::Script(ScriptInit::Openrc) => (openrc(&recover), 0o755),
            Self::Stage1 => (format!("{MARK}\n{recover}\n"), 0o644),
        };
        Ok(File { path: self.path(), text, mode })
    }
}

impl ScriptInit {
    /// The program by which scripts are enabled and disabled.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Sysvinit => "update-rc.d",
            Self::Openrc => "rc-update",
        }
    }

    /// In a journal.
    fn word(self) -> &'static str {
        match self {
            Self::Sysvinit => "sysvinit:warded-recover",
            Self::Openrc => "openrc:warded-recover",
        }
    }
}

impl Started {
    /// The name by which its init knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Unit(unit) => unit.as_str(),
            Self::Script(_) => SCRIPT_NAME,
        }
    }

    /// What enables and disables it.
    #[must_use]
    pub fn by(&self) -> &'static str {
        match self {
            Self::Unit(_) => "systemd",
            Self::Script(init) => init.program(),
        }
    }

    /// Whether it recovers interrupted runs.
    #[must_use]
    pub fn recovers(&self) -> bool {
        match self {
            Self::Unit(unit) => unit.as_str() == RECOVER,
            Self::Script(_) => true,
        }
    }
}

impl TryFrom<String> for Started {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let scripts = [ScriptInit::Sysvinit, ScriptInit::Openrc];
        let script = scripts.into_iter().find(|init| init.word() == text);
        script.map_or_else(|| text.try_into().map(Self::Unit), |init| Ok(Self::Script(init)))
    }
}

impl From<Started> for String {
    fn from(started: Started) -> Self {
        match started {
            Started::Unit(unit) => unit.as_str().to_owned(),
            Started::Script(init) => init.word().to_owned(),
        }
    }
}

fn unit(recover: &str, command: &Command) -> String {
    format!(
        "{MARK}
[Unit]
Description=Roll back what an interrupted run of Warded left
DefaultDependencies=no
RequiresMountsFor={}
After=local-fs.target
Before=ssh.service sshd.service ssh.socket sshd.socket

[Service]
Type=oneshot
ExecStart={recover}

[Install]
WantedBy=multi-user.target
",
        command.mounts().join(" ")
    )
}

/// insserv(8) puts it before the script that has `ssh` in its `Provides`, as Debian's has.
fn sysvinit(recover: &str) -> String {
    format!(
        "#!/bin/sh
{MARK}
### BEGIN INIT INFO
# Provides:          {SCRIPT_NAME}
# Required-Start:    $local_fs
# Required-Stop:
# X-Start-Before:    ssh
# Default-Start:     2 3 4 5
# Default-Stop:
# Short-Description: Roll back what an interrupted run of Warded left
### END INIT INFO
case $1 in
    start) exec {recover} ;;
esac
"
    )
}

fn openrc(recover: &str) -> String {
    format!(
        "#!/sbin/openrc-run
{MARK}
description=\"Roll back what an interrupted run of Warded left\"

depend() {{
    after localmount
    before sshd
}}

start() {{
    ebegin \"Recovering interrupted runs of Warded\"
    {recover}
    eend $?
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::{super::text::recovers, *};
    use std::{fs, os::unix::fs::symlink};

    fn command() -> Command {
        Command {
            program: "/usr/local/bin/warded".parse().unwrap(),
            options: Vec::new(),
            state: "/var/lib/warded".parse().unwrap(),
            writes: vec!["/etc/ssh".parse().unwrap()],
            machine_id: String::new(),
        }
    }

    #[test]
    fn the_documentation_has_these_texts() {
        let page = include_str!("../../../../../docs/RECOVERY.md");
        for starter in Starter::ALL {
            let file = starter.file(&command()).unwrap();
            assert!(recovers(file.text.as_bytes()), "{}", file.text);
            let fence = if starter == Starter::Unit { "ini" } else { "sh" };
            let shown = format!("```{fence}\n{}```\n", file.text);
            assert!(page.contains(&file.path) && page.contains(&shown), "docs/RECOVERY.md lacks {shown}");
        }
    }

    #[test]
    fn a_journal_says_what_is_started() {
        for (word, name, by) in [
            ("warded-renew.timer", "warded-renew.timer", "systemd"),
            (RECOVER, RECOVER, "systemd"),
            ("sysvinit:warded-recover", "warded-recover", "update-rc.d"),
            ("openrc:warded-recover", "warded-recover", "rc-update"),
        ] {
            let started = Started::try_from(word.to_owned()).unwrap();
            assert_eq!((started.name(), started.by(), started.recovers()), (name, by, name != "warded-renew.timer"));
            assert_eq!(String::from(started), word);
        }
        assert!(Started::try_from("runit:warded-recover".to_owned()).is_err());
    }

    #[test]
    fn each_init_has_its_own_where_it_is_the_machines() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("etc/runit/core-services")).unwrap();
        fs::create_dir_all(at("proc/1")).unwrap();
        for init in [Init::Systemd, Init::Runit] {
            assert_eq!(Starter::of(root.path(), init), None, "another one's /etc");
        }
        symlink(root.path(), at("proc/1/root")).unwrap();
        assert_eq!(Starter::of(root.path(), Init::Systemd), Some(Starter::Unit));
        assert_eq!(Starter::of(root.path(), Init::Runit), Some(Starter::Stage1));
        for init in [Init::None, Init::Sysv, Init::Openrc] {
            assert_eq!(Starter::of(root.path(), init), None, "there are no scripts");
        }
        fs::remove_dir(at("etc/runit/core-services")).unwrap();
        assert_eq!(Starter::of(root.path(), Init::Runit), None);
    }
}
