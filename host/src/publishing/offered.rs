//! Components that packages put on this machine. They are only offers: nothing runs from there, and a higher version is
//! merely reported until `warded policy update` accepts it.

use crate::{
    components::accepted,
    sandbox::granting::{BoundPolicy, Origin},
};
use serde::Serialize;
use std::{
    fmt,
    path::{Path, PathBuf},
};
use warded_artifact::lock;
use warded_artifact::{imports, read};
use warded_lib::{
    error::Error,
    machine::files,
    policy::file::Policy,
    text::{neutral, neutral_path, shell_word},
};

/// A higher version than the accepted one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewerVersion {
    pub name: String,
    /// The version that is offered.
    pub version: String,
    /// The version that is accepted.
    pub accepted: String,
    /// The component's path, made safe to print.
    pub file: String,
    /// The component's path.
    #[serde(skip)]
    pub path: PathBuf,
}

impl NewerVersion {
    /// The command that accepts it.
    #[must_use]
    pub fn next(&self) -> String {
        format!("warded policy update {}", shell_word(&self.file))
    }
}

impl fmt::Display for NewerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, accepted, .. } = self;
        write!(f, "{name} {version} is offered, and {accepted} is accepted: {}", self.next())
    }
}

/// The higher version of an accepted policy that `directory` offers: in a file with the name that the accepted
/// component came from, or in NAME.wasm. A file that cannot be read, or that others could have written, is not an
/// offer.
#[must_use]
pub fn newer(directory: &Path, granting: &BoundPolicy) -> Option<NewerVersion> {
    let Origin::File(accepted_file) = &granting.origin else { return None };
    let source = accepted::provenance(accepted_file, &granting.digest).and_then(|provenance| provenance.source);
    let names = [source.filter(|name| lock::is_file_name(name)), Some(format!("{}.wasm", granting.policy.name))];
    names.into_iter().flatten().find_map(|name| offer(&directory.join(name), &granting.policy))
}

fn offer(file: &Path, accepted: &Policy) -> Option<NewerVersion> {
    let component =
        files::read_ours(file, read::MAX_COMPONENT_BYTES, |why| Error::failed(why.to_string())).ok().flatten()?;
    let offered = Policy::parse(&imports::request(&component).ok()??, "the component's request").ok()?;
    (offered.name == accepted.name && is_higher(&offered.version, &accepted.version)).then(|| NewerVersion {
        name: offered.name.to_string(),
        version: neutral(&offered.version),
        accepted: neutral(&accepted.version),
        file: neutral_path(file),
        path: file.to_owned(),
    })
}

/// Whether a version is higher than another one. The versions are compared number by number; if one has parts that are
/// not numbers, neither is higher.
#[must_use]
pub fn is_higher(version: &str, other: &str) -> bool {
    let numbers = |text: &str| -> Option<Vec<u64>> { text.split('.').map(|part| part.parse().ok()).collect() };
    numbers(version).zip(numbers(other)).is_some_and(|(version, other)| version > other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (older, newer) in [("1.9", "1.10"), ("1.2.3", "1.2.4"), ("0.9.9", "1"), ("1.2", "1.2.1")] {
            assert!(is_higher(newer, older) && !is_higher(older, newer), "{older} {newer}");
        }
        for (one, other) in [("1.2-rc", "1.2-rc"), ("1.2", "1.2"), ("", ""), ("2.0-rc", "1.0"), ("", "0")] {
            assert!(!is_higher(one, other) && !is_higher(other, one), "{one} {other}");
        }
    }
}
