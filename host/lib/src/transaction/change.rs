//! The terms of a transaction: what is to change, in which order and in which run, and what became of it.

use super::followup::Reload;
use crate::{
    digest::Digest,
    error::{Error, Label},
    machine::{
        files::{Metadata, Place, Snapshot, Whereabouts},
        keys::{holds_private_key, is_certificate},
        path::AbsolutePath,
    },
    moment, text,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sshd_config::known_hosts::is_file_name;
use std::{
    fmt,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

#[derive(Clone, Debug)]
pub struct FileChange {
    /// The path as the caller gave it; messages show this one.
    pub path: AbsolutePath,
    /// Where the file is, or will be.
    pub place: Place,
    /// The file from which the change was computed; none: there was no file.
    pub before: Option<Snapshot>,
    /// The file that is to be there; none: the file is removed.
    pub after: Option<NewFile>,
    /// Its position among the other changes.
    pub order: Order,
    /// Another directory of the same file system for the temporary file, for directories in which every file is used
    /// by some program.
    pub scratch: Option<PathBuf>,
}

impl FileChange {
    /// Whether the file is one of ssh's known_hosts files, by the given name or by the resolved one. A key or a
    /// certificate never is, whatever its name.
    #[must_use]
    pub fn is_known_hosts(&self) -> bool {
        let contents = [
            self.before.as_ref().map(|before| before.contents.as_slice()),
            self.after.as_ref().map(|after| after.contents.as_slice()),
        ];
        if contents.into_iter().flatten().any(|contents| holds_private_key(contents) || is_certificate(contents)) {
            return false;
        }
        let named = self.path.as_path().file_name().and_then(|name| name.to_str());
        named.is_some_and(is_file_name) || is_file_name(self.place.name())
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct NewFile {
    /// The whole contents; wiped from memory afterwards, because they may be a private key.
    pub contents: Zeroizing<Vec<u8>>,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner and attributes; none: those of the file that it replaces, otherwise those of its creator.
    pub metadata: Option<Metadata>,
}

impl NewFile {
    /// A file with the owner and attributes of the one that it replaces.
    #[must_use]
    pub fn new(contents: Vec<u8>, mode: u32) -> Self {
        Self { contents: Zeroizing::new(contents), mode, metadata: None }
    }
}

impl fmt::Debug for NewFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewFile({} mode {:o})", Digest::of(&self.contents), self.mode)
    }
}

/// The order of a commit, such that sshd can start after every prefix of it. What a configuration names is written
/// before the configuration, and removed after it and after sshd's reload: sshd reads a list of revoked keys at each
/// login. The directories are synced between the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// A private or public key.
    WriteKey,
    /// A certificate, which belongs to a key; or a list of revoked keys.
    WriteCertificate,
    /// A configuration file, which may name both, or any other file.
    WriteOther,
    /// Removal of a configuration file, or of any other file.
    RemoveOther,
    /// Removal of a certificate.
    RemoveCertificate,
    /// Removal of a key.
    RemoveKey,
    /// Removal of the unit that recovers interrupted runs when the machine starts: until this run is kept, that unit
    /// may be what rolls this run back.
    RemoveRecovery,
}

impl Order {
    /// Whether the file is removed only when nothing names it any more.
    pub(super) fn goes_after_reload(self) -> bool {
        matches!(self, Self::RemoveCertificate | Self::RemoveKey)
    }
}

/// Identifies a run, for the journal and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIdentity {
    /// Its number in this state directory.
    pub run: u64,
    pub policy: String,
    /// The component that ran.
    pub component: Digest,
    /// The procedure that ran.
    pub procedure: String,
    /// When it started.
    pub started: Timestamp,
    /// The user who ran it; none: the version that wrote the journal did not note that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The run that this one undoes, if it is an undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
    /// The oldest undone run, if this run undoes several; `undoes` is the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_to: Option<u64>,
    /// Whether it also changes the terms of the renewal.
    #[serde(default, skip_serializing_if = "is_false")]
    pub enrols: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}

impl RunIdentity {
    /// The numbers of the runs that this one undoes, if it is an undo.
    #[must_use]
    pub fn undone(&self) -> Option<RangeInclusive<u64>> {
        let newest = self.undoes?;
        Some(self.down_to.unwrap_or(newest)..=newest)
    }

    /// The same run, as an undo of those runs.
    #[must_use]
    pub fn undoing(self, runs: &RangeInclusive<u64>) -> Self {
        let (oldest, newest) = (*runs.start(), *runs.end());
        Self { undoes: Some(newest), down_to: (oldest != newest).then_some(oldest), ..self }
    }
}

impl fmt::Display for RunIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {} ({} {}", self.run, self.policy, self.procedure)?;
        if let Some(by) = &self.by {
            write!(f, " by {}", text::neutral(by))?;
        }
        write!(f, ", {})", moment::when(self.started, Timestamp::now()))
    }
}

/// What else the changes were computed from: digest and inode of each file that was read; none where there was no
/// file.
pub type ReadSet = Vec<(Place, Option<(Digest, u64)>)>;

/// A file as it was, or as it is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// The digest of its contents.
    pub digest: Digest,
    /// Its permission bits.
    pub mode: u32,
    /// Which file it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// Its owner and attributes; none: those of its creator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// The result of a roll back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RollbackReport {
    /// The files that are as before again, in the order in which they were restored.
    pub restored: Vec<AbsolutePath>,
    /// What is not as before, because another program has changed it.
    pub left_alone: Vec<UntouchedFile>,
    /// The services to reload: those of the run, unless none of its changes had been made.
    pub reloads: Vec<Reload>,
    /// The programs of the run that may have run, by their indices in its journal.
    pub steps: Vec<usize>,
    /// Whether there was an earlier attempt to roll back.
    pub is_again: bool,
    /// Whether the run may have told sshd to read what it had changed.
    pub was_told: bool,
}

impl fmt::Display for RollbackReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} restored", text::count(self.restored.len(), "file"))?;
        self.left_alone.iter().try_for_each(|left| write!(f, "; {left}"))
    }
}

/// A file that was left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntouchedFile {
    /// The path as the caller gave it; for a temporary file, its own path.
    pub path: AbsolutePath,
    /// The reason.
    pub why: String,
}

impl UntouchedFile {
    /// None where the path cannot be represented.
    pub(super) fn at(path: &Path, why: String) -> Option<Self> {
        AbsolutePath::try_from(path).ok().map(|path| Self { path, why })
    }
}

impl fmt::Display for UntouchedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} left alone: {}", self.path, self.why)
    }
}

/// A directory of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryChange {
    /// Where it is.
    pub at: Whereabouts,
    pub name: String,
    /// Whether the directory is removed once the run is kept, because its last file is gone; otherwise the run makes
    /// it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes: bool,
}

impl DirectoryChange {
    /// The path that it had when the run began.
    pub(super) fn path(&self) -> PathBuf {
        Path::new(&self.at.directory).join(&self.name)
    }
}

/// Why something was left behind, and what becomes of it.
pub(super) fn untidy(what: &str, error: &Error) -> String {
    let causes: String = error.notes_of(Label::Cause).map(|cause| format!(": {cause}")).collect();
    format!("{what} could not be tidied away, the next command tries again ({}{causes})", error.message())
}
