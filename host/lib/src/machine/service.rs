//! How a service is reached on each kind of machine: what a policy says of it, and a journal keeps.

use crate::name::UnitName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a service is called under each init system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Units, the first that is there counts.
    #[serde(default)]
    pub systemd: Vec<UnitName>,
    /// How to reach it where nothing manages it.
    pub direct: Option<Direct>,
}

/// Who is told, in words: `ssh.service or sshd.service; else SIGHUP to sshd`.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units: Vec<&str> = self.systemd.iter().map(UnitName::as_str).collect();
        f.write_str(&units.join(" or "))?;
        match (units.is_empty(), self.direct) {
            (false, Some(Direct::Sshd)) => f.write_str("; else SIGHUP to sshd"),
            (true, Some(Direct::Sshd)) => f.write_str("SIGHUP to sshd"),
            (true, None) => f.write_str("nobody: the policy names no unit"),
            (false, None) => Ok(()),
        }
    }
}

/// A process that is told to reload by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direct {
    /// The sshd whose `PidFile` names the process: SIGHUP (sshd(8)).
    Sshd,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_says_who_is_told() {
        for (lines, words) in [
            (
                "systemd = ['ssh.service', 'sshd.service']\ndirect = 'sshd'",
                "ssh.service or sshd.service; else SIGHUP to sshd",
            ),
            ("systemd = ['nginx.service']", "nginx.service"),
            ("direct = 'sshd'", "SIGHUP to sshd"),
            ("", "nobody: the policy names no unit"),
        ] {
            assert_eq!(toml::from_str::<Service>(lines).unwrap().to_string(), words);
        }
    }
}
