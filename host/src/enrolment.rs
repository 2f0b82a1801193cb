//! The enrolment record: what `warded renew` runs on this machine, with which names. Written by
//! the host when a procedure that names its renewal has been applied; no grant covers it.

use crate::{
    digest::Digest,
    error::{Error, Result},
    machine::{path::AbsolutePath, private::StateDir},
    policy::{name::Name, setting::Setting},
    transaction::OwnFile,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const SCHEMA: &str = "warded.enrolment/1";
const FILE: &str = "enrolment.json";

/// What holds for this machine, as the operator accepted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    schema: String,
    /// The policy.
    pub policy: Name,
    /// The component that was accepted.
    pub component: Digest,
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
}

impl Enrolment {
    /// A record made now.
    #[must_use]
    pub fn new(
        (policy, component, procedure): (Name, Digest, Name),
        settings: Vec<Setting>,
        principals: BTreeSet<String>,
        sshd_config: AbsolutePath,
        authority: String,
    ) -> Self {
        let schema = SCHEMA.to_owned();
        Self {
            schema,
            policy,
            component,
            procedure,
            settings,
            principals,
            sshd_config,
            authority,
            enrolled: Timestamp::now(),
        }
    }

    /// Whether the other record says the same, whenever it was made.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        Self { enrolled: self.enrolled, ..other.clone() } == *self
    }

    /// The record of this machine, if it is enrolled.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(state: &StateDir) -> Result<Option<Self>> {
        let Some(bytes) = state.read(FILE)? else { return Ok(None) };
        let unreadable = |why: String| {
            Error::failed(format!("cannot read the enrolment record {}", state.path().join(FILE).display()))
                .cause(why)
                .next("apply certify-host again: it writes a new one")
        };
        let record: Self = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        if record.schema != SCHEMA {
            return Err(unreadable(format!(
                "its schema is {}, and this version knows {SCHEMA}",
                crate::text::neutral(&record.schema)
            )));
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
