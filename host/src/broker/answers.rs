//! Prepared answers for a trial of a policy, where no sshd is asked.

use std::collections::BTreeMap;
use warded_lib::machine::sshd::{Effective, HostKey};

#[derive(Clone, Debug)]
pub struct SshdAnswers {
    /// Its version; `None` if there is no sshd.
    pub(super) version: Option<String>,
    /// The effective configuration by connection; only the one outside of every `Match` is known.
    pub(super) effective: BTreeMap<Vec<(String, String)>, Effective>,
    pub(super) host_keys: Vec<HostKey>,
}

impl SshdAnswers {
    /// The answers where there is no sshd.
    #[must_use]
    pub fn none() -> Self {
        Self { version: None, effective: BTreeMap::new(), host_keys: Vec::new() }
    }

    /// The answers of an sshd with this version, configuration and host keys.
    #[must_use]
    pub fn of(version: String, effective: Effective, host_keys: Vec<HostKey>) -> Self {
        Self { version: Some(version), effective: [(Vec::new(), effective)].into(), host_keys }
    }
}
