//! What `warded renew` runs for an sshd of this machine, and with which names. The host writes an enrolment when the
//! operator has applied a procedure that names its renewal; no grant covers the file.

mod all;

pub use all::Enrolments;

use crate::{
    components,
    sandbox::granting::{BoundPolicy, Origin},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};
use warded_lib::{
    digest::Digest,
    machine::path::AbsolutePath,
    name::Name,
    policy::{file::Policy, setting::Setting, widening},
};

/// The schema of one enrolment, and of a whole file by older versions, which knew only one sshd.
const SCHEMA: &str = "warded.enrolment/1";
/// How many earlier records are kept: as many as runs can be undone.
const HISTORY: usize = 20;

/// The terms of one sshd's renewals, as the operator accepted them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    schema: String,
    pub policy: Name,
    /// The component that was accepted.
    pub component: Digest,
    /// The digest of the policy's text: the grants that were accepted.
    pub grants: Digest,
    /// The procedure to run.
    pub procedure: Name,
    pub settings: Vec<Setting>,
    /// The names that the operator confirmed.
    pub principals: BTreeSet<String>,
    /// sshd's main configuration file.
    pub sshd_config: AbsolutePath,
    /// The CA, as it describes itself.
    pub authority: String,
    pub enrolled: Timestamp,
    /// The run that made this record.
    pub run: u64,
    /// The record that this one replaced, for an undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Box<Self>>,
}

/// How the present policy's procedure relates to the one that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the accepted one.
    Accepted,
    /// It came with a newer binary, or was added in place of the accepted one, and is granted nothing more.
    Successor,
    /// It came with a newer binary, or was added in place of the accepted one, and has these grants in addition.
    Wider(Vec<String>),
    /// It is another component.
    OtherComponent,
    /// It is the same component with other grants.
    OtherGrants,
}

impl Standing {
    /// Whether the operator's acceptance covers it.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        matches!(self, Self::Accepted | Self::Successor)
    }
}

/// The terms of the enrolment, in one line.
impl fmt::Display for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.principals.iter().map(String::as_str).collect();
        write!(f, "{} by {}, policy {}", names.join(" "), self.authority, self.policy)
    }
}

impl Enrolment {
    /// What the enrolment means from the next renewal on.
    #[must_use]
    pub fn announced(&self) -> String {
        let names: Vec<&str> = self.principals.iter().map(String::as_str).collect();
        let what = if names.is_empty() { &self.procedure.to_string() } else { &names.join(", ") };
        format!("renew from now on: {what} from {}", self.authority)
    }

    /// A record made now.
    #[must_use]
    pub fn new(
        granting: &BoundPolicy,
        (procedure, run): (Name, u64),
        settings: Vec<Setting>,
        principals: BTreeSet<String>,
        sshd_config: AbsolutePath,
        authority: String,
    ) -> Self {
        let schema = SCHEMA.to_owned();
        Self {
            schema,
            policy: granting.policy.name.clone(),
            component: granting.digest,
            grants: granting.grants,
            procedure,
            settings,
            principals,
            sshd_config,
            authority,
            enrolled: Timestamp::now(),
            run,
            previous: None,
        }
    }

    /// How a procedure relates to the policy that was accepted.
    #[must_use]
    pub fn standing(&self, granting: &BoundPolicy, procedure: &Name) -> Standing {
        self.standing_after(granting, procedure, None)
    }

    /// The same, for a policy that is about to replace another version of itself.
    #[must_use]
    pub fn standing_after(&self, granting: &BoundPolicy, procedure: &Name, replaced: Option<&BoundPolicy>) -> Standing {
        if (self.component, self.grants) == (granting.digest, granting.grants) {
            return Standing::Accepted;
        }
        let replaced = replaced.filter(|replaced| replaced.policy.name == self.policy);
        let mut earlier: Vec<(Digest, Policy)> = match &granting.origin {
            _ if granting.policy.name != self.policy => Vec::new(),
            Origin::Bundled => components::earlier_policies().collect(),
            Origin::File(file) => components::accepted::earlier(file, &self.policy),
        };
        earlier.extend(replaced.map(|replaced| (replaced.grants, replaced.policy.clone())));
        let is_accepted =
            |(grants, policy): &(Digest, Policy)| *grants == self.grants && policy.component == Some(self.component);
        match earlier.into_iter().find(is_accepted) {
            Some((_, accepted)) => match widening::beyond(&accepted, &granting.policy, procedure) {
                beyond if beyond.is_empty() => Standing::Successor,
                beyond => Standing::Wider(beyond),
            },
            None if self.component != granting.digest => Standing::OtherComponent,
            None => Standing::OtherGrants,
        }
    }

    fn replacing(mut self, previous: Option<Self>) -> Self {
        self.previous = previous.map(|previous| Box::new(previous.shortened(HISTORY)));
        self
    }

    /// The newest record that is older than the run, if there is one.
    fn before(&self, run: u64) -> Option<&Self> {
        let mut record = Some(self);
        while let Some(candidate) = record.filter(|candidate| candidate.run >= run) {
            record = candidate.previous.as_deref();
        }
        record
    }

    fn shortened(mut self, left: usize) -> Self {
        self.previous =
            self.previous.filter(|_| left > 0).map(|previous| Box::new(previous.shortened(left.saturating_sub(1))));
        self
    }

    /// Whether the other record has the same terms, whenever it was made.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        Self { enrolled: self.enrolled, run: self.run, previous: self.previous.clone(), ..other.clone() } == *self
    }
}

#[cfg(test)]
mod tests;
