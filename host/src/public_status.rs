//! What root publishes to every user of the machine about its certificates: one file outside of the private state
//! directory, written at the end of each run. Its fields are a closed list; error texts, provisioner, settings,
//! accounts, and the paths of the journal and the audit log stay private.

use crate::outcomes::Failure;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
};
use warded_lib::{
    config::Config,
    error::{Error, Result},
    machine::{durable, files, path::AbsolutePath},
    text::neutral,
};

const SCHEMA: &str = "warded.public-status/1";
const FILE: &str = "status.json";
/// The text that stands in for the address of a local CA.
pub const LOCAL: &str = "local";
/// The configuration file of root's renewals.
pub const ROOTS_CONFIG: &str = "/etc/warded/config.toml";
const ROOTS_STATE: &str = "/var/lib/warded";
/// No machine's file is larger than this.
const MAX_BYTES: u64 = 64 << 10;

/// The file's contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicStatus {
    /// The version of the format.
    pub schema: String,
    /// The address of the CA, or `local`; `None` if the machine is not enrolled.
    pub ca: Option<String>,
    /// The names that the machine is certified for.
    pub names: BTreeSet<String>,
    /// Its certificates.
    pub keys: Vec<CertifiedKey>,
    /// How the last `warded renew` ended; `None` if there was none yet.
    pub last_renewal: Option<PublicRenewal>,
    /// When the next certificate is due.
    pub due: Option<Timestamp>,
    /// Whether something runs `warded renew` by the clock; `None` if that is not known.
    pub scheduled: Option<bool>,
    /// Whether a change waits to be confirmed, and is otherwise rolled back.
    pub change_waits: bool,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedKey {
    /// The key's algorithm.
    pub algorithm: String,
    /// When the certificate expires; `None` if it does not.
    pub until: Option<Timestamp>,
    /// When the certificate is due for renewal.
    pub due: Option<Timestamp>,
    /// The certificate's file; `None` if an older version wrote this status.
    #[serde(default)]
    pub file: Option<String>,
    /// The main configuration file of the sshd that serves it.
    #[serde(default)]
    pub sshd_config: Option<PathBuf>,
}

/// How a renewal ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicRenewal {
    pub at: Timestamp,
    /// Its exit code.
    pub exit: u8,
    /// The exit code as a word; `None` if the renewal succeeded.
    pub error: Option<Failure>,
}

/// The status file that belongs to a state directory: `/var/lib/warded-status/status.json` for `/var/lib/warded`.
#[must_use]
pub fn file_of(state: &Path) -> PathBuf {
    directory_of(state).join(FILE)
}

/// The directory of that file.
#[must_use]
pub fn directory_of(state: &Path) -> PathBuf {
    let mut name: OsString = state.file_name().unwrap_or_default().to_owned();
    name.push("-status");
    state.with_file_name(name)
}

/// This machine's status file, as a user finds it: where root's configuration says, or in the default place.
#[must_use]
pub fn file_of_machine() -> PathBuf {
    file_of(&state_of_machine())
}

/// The state directory of this machine, as a user finds it.
#[must_use]
pub fn state_of_machine() -> PathBuf {
    let configured = Config::load(Some(Path::new(ROOTS_CONFIG))).ok().and_then(|config| config.state);
    configured.as_ref().map_or(Path::new(ROOTS_STATE), AbsolutePath::as_path).to_owned()
}

impl PublicStatus {
    /// The status of a machine that is not enrolled, with nothing known yet.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            ca: None,
            names: BTreeSet::new(),
            keys: Vec::new(),
            last_renewal: None,
            due: None,
            scheduled: None,
            change_waits: false,
        }
    }

    /// Writes the file that belongs to a state directory. Only its owner can write it, and everybody can read it. It is
    /// not synced to disk: every run writes it anew, and one run takes place at boot.
    ///
    /// # Errors
    /// It cannot be written; the old file stays.
    pub fn write(&self, state: &Path) -> Result<()> {
        let (directory, file) = (directory_of(state), file_of(state));
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::failed("could not write the public status").cause(error))?;
        durable::public_directory(&directory)
            .and_then(|()| durable::replace_unsynced(&file, &text, 0o644))
            .map_err(|error| Error::failed(format!("could not write {}", file.display())).cause(error))
    }

    /// Removes the file when there is nothing more to publish. If it cannot be removed, the next run overwrites it.
    pub fn remove(state: &Path) {
        drop(durable::remove(&file_of(state)));
    }

    /// Reads a file that only root, or this user, can have written; `None` if there is no file.
    ///
    /// # Errors
    /// It cannot be read, or another user could have written it.
    pub fn read(file: &Path) -> Result<Option<Self>> {
        let unreadable = |why: &dyn std::fmt::Display| {
            Error::failed(format!("cannot read {}", file.display())).cause(neutral(&why.to_string()))
        };
        let Some(bytes) = files::read_ours(file, MAX_BYTES, unreadable)? else { return Ok(None) };
        let status: Self = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
        if status.schema != SCHEMA {
            return Err(unreadable(&format!("its schema is {}, and this version knows {SCHEMA}", status.schema)));
        }
        Ok(Some(status.neutralised()))
    }

    /// The CA as a text for people; `None` if the machine is not enrolled.
    #[must_use]
    pub fn ca_in_words(&self) -> Option<String> {
        self.ca.as_ref().map(|ca| if ca == LOCAL { "a local CA".to_owned() } else { ca.clone() })
    }

    fn neutralised(self) -> Self {
        let names = self.names.iter().map(|name| neutral(name)).collect();
        let keys = self.keys.into_iter();
        let keys = keys.map(|key| CertifiedKey { algorithm: neutral(&key.algorithm), ..key }).collect();
        Self { ca: self.ca.map(|ca| neutral(&ca)), names, keys, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_file_lies_beside_the_state_directory() {
        for (state, file) in [
            ("/var/lib/warded", "/var/lib/warded-status/status.json"),
            ("/srv/w/state", "/srv/w/state-status/status.json"),
        ] {
            assert_eq!(file_of(Path::new(state)), Path::new(file));
        }
    }

    #[test]
    fn what_is_read_is_bounded_and_harmless() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().canonicalize().unwrap().join(FILE);
        assert_eq!(PublicStatus::read(&file).unwrap(), None);
        let text = r#"{"schema":"warded.public-status/1","ca":"https://ca\u001b[2J","names":["a\nb"],"keys":[
            {"algorithm":"ssh\u202e","until":null}],"last_renewal":null,"due":null,"scheduled":null,
            "change_waits":false,"later":1}"#;
        fs::write(&file, text).unwrap();
        let read = PublicStatus::read(&file).unwrap().unwrap();
        assert_eq!(read.ca.as_deref(), Some(r"https://ca\u{1b}[2J"));
        assert!(read.names.contains(r"a\nb") && read.keys[0].algorithm == r"ssh\u{202e}", "{read:?}");
        for text in [String::new(), "{}".to_owned(), text.replace("status/1", "status/2"), " ".repeat(70_000)] {
            fs::write(&file, text).unwrap();
            PublicStatus::read(&file).unwrap_err();
        }
    }
}
