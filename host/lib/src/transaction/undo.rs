//! Taking back a run that was kept, later: as a change set of its own, through the same pipeline.

use super::{
    FileChange, NewFile, Order, Reload, RunIdentity,
    journal::{Entry, State},
    run_directory::{Run, numbers},
};
use crate::{
    digest::Digest,
    error::{Error, Result},
    machine::{
        files::{Root, Snapshot},
        path::AbsolutePath,
        private::StateDir,
    },
    text,
};
use std::collections::BTreeSet;

/// The changes that take a run back.
#[derive(Debug)]
pub struct Undo {
    /// The run that is taken back. The undo's own identity says so in [`RunIdentity::undoes`].
    pub run: RunIdentity,
    /// What has to change.
    pub changes: Vec<FileChange>,
    /// The services that the run reloaded.
    pub reloads: Vec<Reload>,
}

/// Why a run cannot be taken back.
#[derive(Debug)]
pub enum UndoError {
    /// Somebody has changed files since.
    Edited {
        /// The run.
        run: Box<RunIdentity>,
        /// Those files.
        edited: Vec<Edited>,
    },
    /// The journal or a file cannot be read.
    Failed(Error),
}

/// A file that is not as the run left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// Its path.
    pub path: AbsolutePath,
    /// What has changed since, as a unified diff; or a word on why that is not shown.
    pub diff: String,
}

impl From<Error> for UndoError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<UndoError> for Error {
    fn from(error: UndoError) -> Self {
        match error {
            UndoError::Failed(error) => error,
            UndoError::Edited { run, edited } => {
                let what = text::count(edited.len(), "file");
                let diffs: Vec<_> = edited.into_iter().map(|edited| edited.diff).collect();
                Self::refused(format!("{run} is not undone: {what} changed since"))
                    .seen(diffs.join("\n"))
                    .state("nothing was changed")
                    .next("take those changes back by hand if you do not need them, then run this again")
            }
        }
    }
}

/// The changes that take back the newest run that is neither an undo nor undone; none where
/// there is no such run.
///
/// # Errors
/// Where a file is no longer what the run left, or something cannot be read.
pub fn undo_changes(state: &StateDir, root: &Root) -> Result<Option<Undo>, UndoError> {
    let Some(run) = newest(state)? else { return Ok(None) };
    let journal = run.journal();
    let mut changes = Vec::new();
    let mut edited = Vec::new();
    for (index, entry) in journal.entries.iter().enumerate() {
        match undo_one(root, &run, index, entry)? {
            Ok(change) => changes.push(change),
            Err(diff) => edited.push(Edited { path: entry.path.clone(), diff }),
        }
    }
    if edited.is_empty() {
        Ok(Some(Undo { run: journal.run.clone(), changes, reloads: journal.reloads.clone() }))
    } else {
        Err(UndoError::Edited { run: Box::new(journal.run.clone()), edited })
    }
}

fn newest(state: &StateDir) -> Result<Option<Run>> {
    let mut undone = BTreeSet::new();
    for number in numbers(state)? {
        let Some(run) = Run::look(state, number)? else { continue };
        let journal = run.journal();
        if journal.state != State::Kept {
            continue;
        }
        if let Some(other) = journal.run.undoes {
            undone.insert(other);
        } else if !undone.contains(&number) && !journal.entries.is_empty() {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

/// The change that takes one entry back, or the difference that speaks against it.
fn undo_one(root: &Root, run: &Run, index: usize, entry: &Entry) -> Result<Result<FileChange, String>> {
    let Some((place, _)) = entry.places(root)? else {
        return Ok(Err(format!("{}: its directory is gone", entry.path)));
    };
    let now = match place.snapshot() {
        Ok(now) => now,
        Err(error) if error.code == "io" => return Err(error.into()),
        Err(error) => return Ok(Err(error.message)),
    };
    if now.as_ref().map(|now| now.digest) != entry.after.as_ref().map(|after| after.digest) {
        let left = run.left(index)?;
        return Ok(Err(difference(entry, left.as_ref().map(|left| left.as_slice()), now.as_ref())));
    }
    let after = match &entry.before {
        None => None,
        Some(before) => {
            let contents = run.old(index)?.filter(|old| Digest::of(old) == before.digest).ok_or_else(|| {
                Error::failed(format!("the old copy of {} is missing or damaged", entry.path))
                    .state("nothing was changed")
            })?;
            Some(NewFile { contents, mode: before.mode, metadata: before.metadata.clone() })
        }
    };
    let order = order(entry.order, after.is_some());
    let scratch = (entry.temporary_at != entry.at).then(|| entry.temporary_at.directory.clone().into());
    Ok(Ok(FileChange { path: entry.path.clone(), place, before: now, after, order, scratch }))
}

/// A key is a key whether it is written or removed.
fn order(done: Order, writes: bool) -> Order {
    let (write, remove) = match done {
        Order::WriteKey | Order::RemoveKey => (Order::WriteKey, Order::RemoveKey),
        Order::WriteCertificate | Order::RemoveCertificate => (Order::WriteCertificate, Order::RemoveCertificate),
        Order::WriteOther | Order::RemoveOther => (Order::WriteOther, Order::RemoveOther),
    };
    if writes { write } else { remove }
}

fn difference(entry: &Entry, left: Option<&[u8]>, now: Option<&Snapshot>) -> String {
    let now = now.map(|now| now.contents.as_slice());
    // Of a private key no copy is kept.
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes?.to_vec()).ok();
    match (&entry.after, now, text(left), text(now)) {
        (_, None, ..) => format!("{}: somebody removed it", entry.path),
        (None, Some(_), ..) => format!("{}: somebody made it again", entry.path),
        (_, _, Some(left), Some(now)) if !is_secret(&left) && !is_secret(&now) => {
            let name = text::neutral(entry.path.as_str());
            let diff = similar::TextDiff::from_lines(&left, &now);
            let shown = diff
                .unified_diff()
                .header(&format!("{name} (as the run left it)"), &format!("{name} (now)"))
                .to_string();
            text::neutral_lines(&shown)
        }
        _ => format!("{}: somebody changed it (not shown: it is not text, or a private key)", entry.path),
    }
}

fn is_secret(text: &str) -> bool {
    text.contains("PRIVATE KEY")
}
