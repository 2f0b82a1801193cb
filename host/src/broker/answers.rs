//! What sshd answers where none is asked: in a trial of a policy.

use std::collections::BTreeMap;
use warded_lib::machine::sshd::{Effective, HostKey};

#[derive(Clone, Debug)]
pub struct SshdAnswers {
    /// Its version; none: there is no sshd.
    pub(super) version: Option<String>,
    /// For connections: outside of every `Match` alone.
    pub(super) effective: BTreeMap<Vec<(String, String)>, Effective>,
    pub(super) host_keys: Vec<HostKey>,
}

impl SshdAnswers {
    /// There is no sshd.
    #[must_use]
    pub fn none() -> Self {
        Self { version: None, effective: BTreeMap::new(), host_keys: Vec::new() }
    }

    /// There is one.
    #[must_use]
    pub fn of(version: String, effective: Effective, host_keys: Vec<HostKey>) -> Self {
        Self { version: Some(version), effective: [(Vec::new(), effective)].into(), host_keys }
    }
}
