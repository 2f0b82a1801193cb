//! What runs `warded recover` at boot, before sshd: a file for each init system, and how it is enabled.

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

/// The systemd unit.
pub const RECOVER: &str = "warded-recover.service";
/// The script for sysvinit or OpenRC.
pub const SCRIPT: &str = "/etc/init.d/warded-recover";
/// Its name there.
pub const SCRIPT_NAME: &str = "warded-recover";
/// runit's first stage runs the files of this directory before it starts any service; they need not be enabled.
const STAGE_1: &str = "/etc/runit/core-services";

/// What recovers interrupted runs at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starter {
    /// A systemd unit.
    Unit,
    /// A script in `/etc/init.d`.
    Script(ScriptInit),
    /// A file for runit's first stage.
    Stage1,
}

/// An init system with scripts in `/etc/init.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptInit {
    Sysvinit,
    Openrc,
}

/// What the init system starts for a schedule. It is enabled while its file exists, and disabled when the file is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Started {
    Unit(UnitName),
    /// The recovery script.
    Script(ScriptInit),
}

impl Starter {
    /// The starters of all init systems.
    pub const ALL: [Self; 4] =
        [Self::Unit, Self::Script(ScriptInit::Sysvinit), Self::Script(ScriptInit::Openrc), Self::Stage1];

    /// The starter for this machine's init system; none if Warded has none for it. `root` stands for `/`.
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

    /// The path of its file.
    #[must_use]
    pub fn path(self) -> String {
        match self {
            Self::Unit => format!("{UNITS}/{RECOVER}"),
            Self::Script(_) => SCRIPT.to_owned(),
            Self::Stage1 => format!("{STAGE_1}/97-{SCRIPT_NAME}.sh"),
        }
    }

    /// What has to be enabled; none if nothing has to.
    #[must_use]
    pub fn started(self) -> Option<Started> {
        match self {
            Self::Unit => RECOVER.to_owned().try_into().ok().map(Started::Unit),
            Self::Script(init) => Some(Started::Script(init)),
            Self::Stage1 => None,
        }
    }

    /// Its file, with the contents.
    ///
    /// # Errors
    /// Refused: a path that the init system or a shell would not take literally.
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
    /// The program that enables and disables scripts.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Sysvinit => "update-rc.d",
            Self::Openrc => "rc-update",
        }
    }

    /// Its word in a journal.
    fn word(self) -> &'static str {
        match self {
            Self::Sysvinit => "sysvinit:warded-recover",
            Self::Openrc => "openrc:warded-recover",
        }
    }
}

impl Started {
    /// Its name in the init system.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Unit(unit) => unit.as_str(),
            Self::Script(_) => SCRIPT_NAME,
        }
    }

    /// The program that enables and disables it.
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

/// insserv(8) orders it before the script that has `ssh` in its `Provides`, as Debian's has.
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
