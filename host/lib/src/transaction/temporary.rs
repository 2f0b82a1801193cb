//! New files beside those that they will replace: complete with owner, mode and attributes, and synced, so that only
//! a rename remains to be done.

use super::change::{FileChange, Version};
use crate::{
    error::{Error, Result},
    machine::files::{Metadata, Place, Root},
    machine::interruption,
};
use std::{collections::BTreeSet, fmt, io};

/// Linux's NAME_MAX.
const MAX_NAME: usize = 255;

/// A change, and the place where its new file waits. After the exchange, the old file is there.
#[derive(Debug)]
pub(super) struct PreparedChange {
    pub(super) change: FileChange,
    pub(super) temporary: Place,
    /// Owner and attributes of the file that is there now, read under the lock.
    pub(super) metadata: Option<Metadata>,
}

impl PreparedChange {
    /// The path as the caller gave it.
    pub(super) fn path(&self) -> impl fmt::Display + '_ {
        &self.change.path
    }

    /// Both places: the file's and the temporary file's.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        [&self.change.place, &self.temporary].into_iter()
    }

    /// What was there, for the journal.
    pub(super) fn old_version(&self) -> Option<Version> {
        self.change.before.as_ref().map(|before| Version {
            digest: before.digest,
            mode: before.mode,
            inode: Some(before.inode),
            metadata: self.metadata.clone(),
        })
    }

    /// What will be there, for the journal.
    pub(super) fn new_version(&self) -> Option<Version> {
        self.change.after.as_ref().map(|after| Version {
            digest: crate::digest::Digest::of(&after.contents),
            mode: after.mode,
            inode: None,
            metadata: after.metadata.clone().or_else(|| self.metadata.clone()),
        })
    }
}

/// Sorts the changes, and gives each a name for its temporary file. The name begins with a dot, because sshd's
/// `Include …/*.conf` and most other patterns do not match such names. It ends in a tilde, because template engines
/// skip such names.
pub(super) fn plan(root: &Root, run: u64, changes: Vec<FileChange>) -> Result<Vec<PreparedChange>> {
    let mut changes: Vec<FileChange> =
        changes.into_iter().filter(|change| change.before.is_some() || change.after.is_some()).collect();
    changes.sort_by_key(|change| change.order);
    let mut seen = BTreeSet::new();
    let mut planned = Vec::new();
    for (index, change) in changes.into_iter().enumerate() {
        if !seen.insert(change.place.key()) {
            return Err(Error::failed(format!("{} is changed twice in one run", change.path)));
        }
        let beside = match &change.scratch {
            None => change.place.clone(),
            Some(directory) => root.within(directory, change.place.name())?.ok_or_else(|| {
                Error::failed(format!("the directory for temporary files {} does not exist", directory.display()))
            })?,
        };
        let temporary = free_name(&beside, run, index)?;
        planned.push(PreparedChange { change, temporary, metadata: None });
    }
    Ok(planned)
}

/// Writes every new file and syncs it. Its name is synced with the exchange; nothing needs the name before that.
pub(super) fn write_all(changes: &[PreparedChange]) -> Result<()> {
    for change in changes {
        let Some(after) = &change.change.after else { continue };
        let metadata = after.metadata.as_ref().or(change.metadata.as_ref());
        let written = change.temporary.create(&after.contents, after.mode, metadata, &change.change.place);
        written.map_err(|error| failed(change, &error))?;
        interruption::point("temporary written");
    }
    interruption::point("prepared");
    Ok(())
}

fn free_name(beside: &Place, run: u64, index: usize) -> Result<Place> {
    for attempt in 0_u32..100 {
        let suffix = match attempt {
            0 => format!(".warded-{run}-{index}~"),
            _ => format!(".warded-{run}-{index}-{attempt}~"),
        };
        let mut name = format!(".{}", beside.name());
        while name.len() + suffix.len() > MAX_NAME {
            name.pop();
        }
        let place = beside.sibling(&format!("{name}{suffix}"));
        // It belongs to a run with another state directory, and is that run's business.
        if place.inode()?.is_none() {
            return Ok(place);
        }
    }
    Err(Error::failed(format!("{}: too many temporary files of earlier runs", beside.resolved().display()))
        .next("recover or remove what earlier runs have left (.NAME.warded-…)"))
}

fn failed(change: &PreparedChange, error: &io::Error) -> Error {
    let failed = Error::failed(format!("could not write the new {}", change.path())).cause(error);
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        failed.next("make room on that disk")
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        failed.next("run it as a user who may write there")
    } else {
        failed
    }
}
