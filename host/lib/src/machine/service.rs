//! How a service is reached on each kind of machine: a policy describes it, and a journal stores it.

use crate::name::UnitName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What can be done to a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceOperation {
    /// Reload its configuration, without ending sessions.
    #[default]
    Reload,
    /// Stop and start it. Never for sshd.
    Restart,
}

impl ServiceOperation {
    /// Whether it is a reload.
    #[must_use]
    pub fn is_reload(&self) -> bool {
        *self == Self::Reload
    }
}

/// The verb.
impl fmt::Display for ServiceOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reload => "reload",
            Self::Restart => "restart",
        })
    }
}

/// What a service is called under each init system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// systemd units; the first that exists counts.
    #[serde(default)]
    pub systemd: Vec<UnitName>,
    /// How to reach it if no service manager manages it.
    pub direct: Option<SignalTarget>,
}

impl Service {
    /// Whether the description is that of sshd, whatever runs at the moment.
    #[must_use]
    pub fn is_of_sshd(&self) -> bool {
        self.direct == Some(SignalTarget::Sshd) || self.systemd.iter().any(|unit| is_of_sshd(unit.as_str()))
    }
}

/// Whether distributions use this unit name for sshd: `ssh.service`, `sshd.socket`.
pub(super) fn is_of_sshd(unit: &str) -> bool {
    let stem = unit.split('.').next().unwrap_or_default();
    matches!(stem, "ssh" | "sshd" | "sshd-unix-local" | "openssh")
}

/// What is reloaded, in words: `ssh.service or sshd.service; else SIGHUP to sshd`.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units: Vec<&str> = self.systemd.iter().map(UnitName::as_str).collect();
        f.write_str(&units.join(" or "))?;
        match (units.is_empty(), self.direct) {
            (false, Some(SignalTarget::Sshd)) => f.write_str("; else SIGHUP to sshd"),
            (true, Some(SignalTarget::Sshd)) => f.write_str("SIGHUP to sshd"),
            (true, None) => f.write_str("nobody: the policy names no unit"),
            (false, None) => Ok(()),
        }
    }
}

/// A process that reloads on a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignalTarget {
    /// The sshd whose `PidFile` names the process: SIGHUP (sshd(8)).
    Sshd,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sshds_units_are_known_by_their_names() {
        for (lines, is) in [
            ("systemd = ['ssh.service']", true),
            ("systemd = ['app.service', 'sshd.service']", true),
            ("systemd = ['ssh.socket']", true),
            ("direct = 'sshd'", true),
            ("systemd = ['app.service']", false),
            ("systemd = ['ssh-agent.service']", false),
            ("", false),
        ] {
            assert_eq!(toml::from_str::<Service>(lines).unwrap().is_of_sshd(), is, "{lines}");
        }
    }

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
