//! `when` and `unless`: the machines on which a policy is offered.

use crate::{
    machine::{
        facts::{Facts, Init},
        path::AbsolutePath,
    },
    text::neutral,
};
use serde::Deserialize;
use std::fmt;

/// The facts about a machine that conditions can test.
pub trait Machine {
    /// The machine's init system.
    fn init(&self) -> Init;
    /// `ID` of os-release(5).
    fn os(&self) -> &str;
    /// Whether anything exists at a path.
    fn exists(&self, path: &AbsolutePath) -> bool;
}

impl Machine for Facts {
    fn init(&self) -> Init {
        self.init
    }

    fn os(&self) -> &str {
        &self.os_id
    }

    fn exists(&self, path: &AbsolutePath) -> bool {
        path.as_path().symlink_metadata().is_ok()
    }
}

/// A condition: it holds if all of its fields hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The init system is this one.
    pub init: Option<Init>,
    /// The operating system is this one (`ID` of os-release(5)).
    pub os: Option<String>,
    /// Something exists at this path.
    pub path: Option<AbsolutePath>,
}

impl Condition {
    /// Whether the other condition holds whenever this one does.
    #[must_use]
    pub fn implies(&self, other: &Self) -> bool {
        other.init.is_none_or(|init| self.init == Some(init))
            && (other.os.is_none() || self.os == other.os)
            && (other.path.is_none() || self.path == other.path)
    }

    /// Whether all of its fields hold on the machine.
    pub fn holds(&self, machine: &dyn Machine) -> bool {
        self.init.is_none_or(|init| init == machine.init())
            && self.os.as_ref().is_none_or(|os| os == machine.os())
            && self.path.as_ref().is_none_or(|path| machine.exists(path))
    }

    /// Whether it has no fields, and so would always hold.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.init.is_none() && self.os.is_none() && self.path.is_none()
    }
}

/// The requirement, in words.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.init.map(|init| format!("the init system is {}", init.as_str())),
            self.os.as_ref().map(|os| format!("the operating system is {}", neutral(os))),
            self.path.as_ref().map(|path| format!("{path} exists")),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Debian;
    impl Machine for Debian {
        fn init(&self) -> Init {
            Init::Systemd
        }
        fn os(&self) -> &str {
            "debian"
        }
        fn exists(&self, path: &AbsolutePath) -> bool {
            path.as_str() == "/etc/e-smith"
        }
    }

    #[test]
    fn every_part_has_to_hold() {
        for (text, holds) in [
            ("init = 'systemd'", true),
            ("init = 'none'", false),
            ("os = 'debian'", true),
            ("init = 'systemd'\nos = 'alpine'", false),
            ("path = '/etc/e-smith'", true),
            ("path = '/usr/bin/midclt'", false),
        ] {
            assert_eq!(toml::from_str::<Condition>(text).unwrap().holds(&Debian), holds, "{text}");
        }
    }
}
