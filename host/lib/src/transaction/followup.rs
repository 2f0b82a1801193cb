//! What goes with the files of a run, written down before any of them changes: whom to tell if it
//! is rolled back, what was so before, and what holds once it is kept.

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
    /// The other sshds that read what the run changes; they have to be as before as well.
    pub bystanders: Vec<SshdBefore>,
    /// Until when the operator has to confirm it; none: no confirmation is needed.
    pub confirm: Option<Confirm>,
    /// What becomes of a file of Warded's own once the run is kept.
    pub own: Option<OwnFile>,
}

impl Followup {
    /// The main configuration files of all these sshds.
    pub(super) fn configs(&self) -> impl Iterator<Item = &AbsolutePath> {
        self.sshd.iter().chain(&self.bystanders).map(|sshd| &sshd.config)
    }
}

/// A service, and how it is reached on every kind of machine: the policy may have changed by the
/// time that it is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Its name in the policy.
    pub name: Name,
    /// How the policy says it is reached.
    pub service: Service,
    /// What is done to it.
    #[serde(default, skip_serializing_if = "ServiceOperation::is_reload")]
    pub operation: ServiceOperation,
    /// Of a schedule, which is no service of the policy's: what the init is to have as its files say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<Started>,
}

impl Reload {
    #[must_use]
    pub fn service(name: Name, service: Service) -> Self {
        Self { name, service, operation: ServiceOperation::Reload, schedule: Vec::new() }
    }

    /// The same, where this is done instead.
    #[must_use]
    pub fn by(self, operation: ServiceOperation) -> Self {
        Self { operation, ..self }
    }

    /// Of the schedule of which the init starts these.
    #[must_use]
    pub fn schedule(name: Name, schedule: Vec<Started>) -> Self {
        Self { schedule, ..Self::service(name, Service { systemd: Vec::new(), direct: None }) }
    }

    /// The same without what recovers at the start of the machine; none where that was all.
    #[must_use]
    pub fn without_recovery(&self) -> Option<Self> {
        let mut other = self.clone();
        other.schedule.retain(|started| !started.recovers());
        (other.is_schedule() == self.is_schedule()).then_some(other)
    }

    /// Whether it is a schedule's.
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
    /// The fingerprints of the host keys that it offered; none: nothing listened; empty: it could not be asked.
    pub offered: Option<Vec<String>>,
    /// The serial numbers of the certificates that it served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub served: Vec<u64>,
    /// The files of its configuration, with the digest of each.
    #[serde(default)]
    pub files: BTreeMap<PathBuf, Digest>,
    /// What is another one as soon as the listener has read its configuration again; none: that cannot
    /// be told, or nothing listened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<String>,
    /// Which boot that was; none: it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// The systemd unit of the listener; none: it had none, or nothing listened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// The condition under which a run is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// The end of the time for it.
    pub until: Timestamp,
    /// Since when everything is in place and the services have been told, as `machine::login` counts:
    /// a login proves something if it was opened later. None: it is not in place yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

/// What becomes of a file in the state directory.
#[derive(Clone, Debug)]
pub enum OwnFile {
    /// It is written.
    Write {
        name: &'static str,
        /// All of it.
        contents: Vec<u8>,
    },
    /// It goes.
    Remove { name: &'static str },
}
