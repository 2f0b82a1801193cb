//! What belongs to a run besides its files, written down before any of them changes: which services to tell if it is
//! rolled back, the state before, and what takes effect once it is kept.

use crate::{
    digest::Digest,
    machine::{
        action::Step,
        path::AbsolutePath,
        schedule::Started,
        service::{Service, ServiceOperation},
    },
    name::Name,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// The actions after a commit or a roll back: reloads, programs, the confirmation.
#[derive(Clone, Debug, Default)]
pub struct Followup {
    /// The services to tell, in order.
    pub reloads: Vec<Reload>,
    /// The programs to run, in order.
    pub steps: Vec<Step>,
    /// The sshd that has to be as before if the run is rolled back; none where no sshd is concerned.
    pub sshd: Option<SshdBefore>,
    /// The other sshds that read what the run changes. They have to be as before, too.
    pub bystanders: Vec<SshdBefore>,
    /// Until when the operator has to confirm it; none: no confirmation is needed.
    pub confirm: Option<Confirm>,
    /// What happens to a file of Warded's own once the run is kept.
    pub own: Option<OwnFile>,
}

impl Followup {
    /// The main configuration files of all these sshds.
    pub(super) fn configs(&self) -> impl Iterator<Item = &AbsolutePath> {
        self.sshd.iter().chain(&self.bystanders).map(|sshd| &sshd.config)
    }
}

/// A service, and how to reach it on every kind of machine. The policy may have changed by the time this is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Its name in the policy.
    pub name: Name,
    /// How the policy says it is reached.
    pub service: Service,
    /// The operation on it.
    #[serde(default, skip_serializing_if = "ServiceOperation::is_reload")]
    pub operation: ServiceOperation,
    /// For a schedule, which is no service of the policy's: the parts that the init system takes up from their files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<Started>,
}

impl Reload {
    #[must_use]
    pub fn service(name: Name, service: Service) -> Self {
        Self { name, service, operation: ServiceOperation::Reload, schedule: Vec::new() }
    }

    /// The same service with another operation.
    #[must_use]
    pub fn by(self, operation: ServiceOperation) -> Self {
        Self { operation, ..self }
    }

    /// The reload of a schedule, of which the init system takes up these parts.
    #[must_use]
    pub fn schedule(name: Name, schedule: Vec<Started>) -> Self {
        Self { schedule, ..Self::service(name, Service { systemd: Vec::new(), direct: None }) }
    }

    /// The same without the unit that recovers interrupted runs when the machine starts; none if that was all.
    #[must_use]
    pub fn without_recovery(&self) -> Option<Self> {
        let mut other = self.clone();
        other.schedule.retain(|started| !started.recovers());
        (other.is_schedule() == self.is_schedule()).then_some(other)
    }

    /// Whether it is the reload of a schedule.
    #[must_use]
    pub fn is_schedule(&self) -> bool {
        !self.schedule.is_empty()
    }
}

/// An sshd before a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshdBefore {
    /// Its main configuration file.
    pub config: AbsolutePath,
    /// The program, where the operator named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<PathBuf>,
    /// The fingerprints of the host keys that it offered; none: nothing listened; empty: it did not answer.
    pub offered: Option<Vec<String>>,
    /// The serial numbers of the certificates that it served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub served: Vec<u64>,
    /// The files of its configuration, with the digest of each.
    #[serde(default)]
    pub files: BTreeMap<PathBuf, Digest>,
    /// A value that changes as soon as the listener has read its configuration again; none: that cannot be seen, or
    /// nothing listened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<String>,
    /// Identifies the boot at that time; none: it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// The systemd unit of the listener; none: it had no unit, or nothing listened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// The condition under which a run is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// The end of the time in which to confirm.
    pub until: Timestamp,
    /// When everything was in place and the services had been told, as `machine::login` counts time: a login proves
    /// something only if it was opened later. None: not everything is in place yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

/// What happens to a file in the state directory.
#[derive(Clone, Debug)]
pub enum OwnFile {
    /// The file is written.
    Write {
        name: &'static str,
        /// The whole contents.
        contents: Vec<u8>,
    },
    /// The file is removed.
    Remove { name: &'static str },
}
