//! The enrolment record: what `warded renew` runs on this machine, with which names. Written by
//! the host when a procedure that names its renewal has been applied; no grant covers it.

use crate::{
    components,
    sandbox::granting::{Granting, Origin},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};
use warded_lib::{
    digest::Digest,
    error::{Error, Result},
    machine::{path::AbsolutePath, private::StateDir},
    name::Name,
    policy::{file::Policy, setting::Setting, widening},
    transaction::OwnFile,
};

const SCHEMA: &str = "warded.enrolment/1";
const FILE: &str = "enrolment.json";
/// As many earlier records are kept as runs can be undone.
const HISTORY: usize = 20;

/// What holds for this machine, as the operator accepted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    schema: String,
    /// The policy.
    pub policy: Name,
    /// The component that was accepted.
    pub component: Digest,
    /// The digest of the policy's text: the grants that were accepted.
    pub grants: Digest,
    /// The procedure to run.
    pub procedure: Name,
    /// Its settings.
    pub settings: Vec<Setting>,
    /// The names that the operator confirmed.
    pub principals: BTreeSet<String>,
    /// sshd's main configuration file.
    pub sshd_config: AbsolutePath,
    /// The CA, as it describes itself.
    pub authority: String,
    /// When.
    pub enrolled: Timestamp,
    /// The run that made this record.
    pub run: u64,
    /// What it took the place of, for an undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Box<Self>>,
}

/// How a procedure of a policy that is there now stands to the one that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is that one.
    Accepted,
    /// It came with a newer binary, or was added in its place, and is granted no more.
    Successor,
    /// It came with a newer binary, or was added in its place, and is granted these as well.
    Wider(Vec<String>),
    /// Another component.
    OtherComponent,
    /// The same component with other grants.
    OtherGrants,
}

impl Standing {
    /// Whether what was accepted covers it.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        matches!(self, Self::Accepted | Self::Successor)
    }
}

/// Its terms, in a line.
impl fmt::Display for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.principals.iter().map(String::as_str).collect();
        write!(f, "{} by {}, policy {}", names.join(" "), self.authority, self.policy)
    }
}

impl Enrolment {
    /// A record made now.
    #[must_use]
    pub fn new(
        granting: &Granting,
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

    /// How a procedure stands to the policy that was accepted.
    #[must_use]
    pub fn standing(&self, granting: &Granting, procedure: &Name) -> Standing {
        if (self.component, self.grants) == (granting.digest, granting.grants) {
            return Standing::Accepted;
        }
        let earlier: Vec<(Digest, Policy)> = match &granting.origin {
            _ if granting.policy.name != self.policy => Vec::new(),
            Origin::Bundled => components::earlier_policies().collect(),
            Origin::File(file) => components::accepted::earlier(file, &self.policy),
        };
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

    /// This record in the place of another.
    #[must_use]
    pub fn replacing(mut self, previous: Option<Self>) -> Self {
        self.previous = previous.map(|previous| Box::new(previous.shortened(HISTORY)));
        self
    }

    /// The newest record that is older than a run, if there is one.
    #[must_use]
    pub fn before(&self, run: u64) -> Option<&Self> {
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

    /// Whether the other record says the same, whenever it was made.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        Self { enrolled: self.enrolled, run: self.run, previous: self.previous.clone(), ..other.clone() } == *self
    }

    /// The record of this machine, if it is enrolled.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(state: &StateDir) -> Result<Option<Self>> {
        let Some(bytes) = state.read(FILE)? else { return Ok(None) };
        let unreadable = |why: String| {
            Error::failed(format!("cannot read the enrolment record {}", state.path().join(FILE).display()))
                .cause(warded_lib::text::neutral(&why))
                .next("apply certify-host again: it writes a new one")
        };
        let record: Self = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        if record.schema != SCHEMA {
            return Err(unreadable(format!("its schema is {}, and this version knows {SCHEMA}", record.schema)));
        }
        Ok(Some(record))
    }

    /// Writes the record.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, state: &StateDir) -> Result<()> {
        state.write(FILE, &self.text()?, 0o600)
    }

    /// The record that a run leaves once it is kept.
    ///
    /// # Errors
    /// It cannot be put into words.
    pub fn with_run(&self) -> Result<OwnFile> {
        Ok(OwnFile::Write { name: FILE, contents: self.text()? })
    }

    /// The record goes once a run is kept.
    #[must_use]
    pub fn gone_with_run() -> OwnFile {
        OwnFile::Remove { name: FILE }
    }

    fn text(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|error| Error::failed("cannot write the enrolment record").cause(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RENEWAL: &str = "renew-host";

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// A record of an earlier binary, and the policy that is in this one.
    fn earlier() -> (Enrolment, Granting) {
        let granting = components::find("/nonexistent".as_ref(), &name("unix")).unwrap();
        let (grants, accepted) = components::earlier_policies().next().unwrap();
        let config = "/etc/ssh/sshd_config".parse().unwrap();
        let mut record =
            Enrolment::new(&granting, (name(RENEWAL), 1), Vec::new(), BTreeSet::new(), config, String::new());
        (record.component, record.grants) = (accepted.component.unwrap(), grants);
        (record, granting)
    }

    #[test]
    fn only_a_bundled_successor_that_is_granted_no_more_is_covered() {
        let (record, bundled) = earlier();
        let wider = |procedure: &str| {
            let mut wider = bundled.clone();
            let granted = wider.policy.procedures.get_mut(&name(procedure)).unwrap();
            granted.files.write.push("/etc/cron.d/*".parse().unwrap());
            wider
        };
        let from_a_file = Granting { origin: Origin::File("/etc/warded/policies/unix.toml".into()), ..bundled.clone() };
        let other_grants = Enrolment { grants: Digest::of(b""), ..record.clone() };
        let other_component = Enrolment { component: Digest::of(b""), ..record.clone() };
        let same_component = Enrolment { component: bundled.digest, ..other_grants.clone() };
        let accepted = Enrolment { grants: bundled.grants, ..same_component.clone() };
        let beyond = || Standing::Wider(vec!["files.write /etc/cron.d/*".to_owned()]);
        for (record, granting, procedure, standing) in [
            (&accepted, &bundled, RENEWAL, Standing::Accepted),
            (&record, &bundled, RENEWAL, Standing::Successor),
            (&record, &bundled, "rekey-host", Standing::Successor),
            (&record, &wider(RENEWAL), RENEWAL, beyond()),
            // What another procedure is granted does not matter to the renewal, and the reverse.
            (&record, &wider("rekey-host"), RENEWAL, Standing::Successor),
            (&record, &wider("rekey-host"), "rekey-host", beyond()),
            (&record, &from_a_file, RENEWAL, Standing::OtherComponent),
            (&other_grants, &bundled, RENEWAL, Standing::OtherComponent),
            (&other_component, &bundled, RENEWAL, Standing::OtherComponent),
            (&same_component, &bundled, RENEWAL, Standing::OtherGrants),
        ] {
            assert_eq!(record.standing(granting, &name(procedure)), standing);
            assert_eq!(standing.is_covered(), matches!(standing, Standing::Accepted | Standing::Successor));
        }
    }
}
