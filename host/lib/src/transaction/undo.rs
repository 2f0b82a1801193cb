//! Taking kept runs back, later: as a change set of its own, through the same pipeline.

use super::{
    change::{FileChange, NewFile, Order, RunIdentity, Version},
    followup::Reload,
    journal::{Entry, Journal},
    recover,
    run_directory::{Run, numbers},
    series::{Joint, Part, Series},
};
use crate::{
    digest::Digest,
    error::{Error, Result},
    machine::{
        files::{Place, Root, Snapshot},
        keys::holds_private_key,
        path::AbsolutePath,
        private::StateDir,
    },
    text,
};
use std::{
    ops::RangeInclusive,
    thread,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// How long another run may take to come to its end.
const WAIT: Duration = if cfg!(test) { Duration::from_secs(2) } else { Duration::from_secs(60) };
const PAUSE: Duration = Duration::from_millis(50);

/// The changes that take runs back.
#[derive(Debug)]
pub struct Undo {
    /// The run that is taken back; of several, the oldest. The undo's own identity says so in
    /// [`RunIdentity::undoes`].
    pub run: RunIdentity,
    /// The newest of several runs.
    pub newest: Option<RunIdentity>,
    /// The next run that an undo would take back after this.
    pub earlier: Option<u64>,
    /// What has to change.
    pub changes: Vec<FileChange>,
    /// The files that are as before the run already.
    pub as_before: Vec<AbsolutePath>,
    /// The services that the runs reloaded.
    pub reloads: Vec<Reload>,
}

impl Undo {
    /// The numbers of the runs that are taken back.
    #[must_use]
    pub fn runs(&self) -> RangeInclusive<u64> {
        self.run.run..=self.newest.as_ref().unwrap_or(&self.run).run
    }
}

/// Why runs cannot be taken back.
#[derive(Debug)]
pub enum UndoError {
    /// Somebody has changed files since.
    Edited {
        /// The run.
        run: Box<RunIdentity>,
        /// Those files.
        edited: Vec<Edited>,
    },
    /// The journal or a file cannot be read, or another run is at work.
    Failed(Error),
}

/// A file that is neither as the run left it nor as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// Its path.
    pub path: AbsolutePath,
    /// What has changed since, as a unified diff; or a word on why that is not shown.
    pub diff: String,
    /// What gives that up, so that an undo goes on.
    pub remedy: String,
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
                let (diffs, remedies): (Vec<_>, Vec<_>) =
                    edited.into_iter().map(|edited| (edited.diff, edited.remedy)).unzip();
                Self::refused(format!("{run} is not undone: {what} changed since"))
                    .seen(diffs.join("\n"))
                    .state("nothing was changed")
                    .next(format!(
                        "to give these changes up, restore each file, then run this again:\n{}",
                        remedies.join("\n")
                    ))
            }
        }
    }
}

/// The changes that take back the newest run that is neither an undo nor undone; none where there is
/// no such run. With `down_to`: that run and all since in one step, without the states in between. A run that is at
/// work is waited for.
///
/// # Errors
/// Where a file is neither what the run left nor what was there before, there is no run `down_to` to undo,
/// another run does not come to its end, or something cannot be read.
pub fn undo_changes(state: &StateDir, root: &Root, down_to: Option<u64>) -> Result<Option<Undo>, UndoError> {
    let until = Instant::now() + WAIT;
    loop {
        let known = numbers(state)?;
        let at_work = recover::at_work(state)?;
        if at_work.is_none() {
            recover::refuse_unended(state)?;
            let found = compute(state, root, down_to);
            // A run that began meanwhile may have changed what was compared.
            let is_certain = recover::at_work(state)?.is_none() && numbers(state)? == known;
            if is_certain || !matches!(found, Err(UndoError::Edited { .. })) {
                return found;
            }
        }
        if Instant::now() >= until {
            let what = at_work.map_or_else(|| "another run".to_owned(), |journal| journal.run.to_string());
            return Err(Error::refused(format!("{what} is still at work"))
                .state("nothing was undone")
                .next("wait until it has ended, then run this again")
                .into());
        }
        thread::sleep(PAUSE);
    }
}

fn compute(state: &StateDir, root: &Root, down_to: Option<u64>) -> Result<Option<Undo>, UndoError> {
    let Series { undoable, fault, .. } = Series::look(state)?;
    let count = match down_to {
        None => usize::from(!undoable.is_empty()),
        Some(number) => undoable
            .iter()
            .position(|run| run.journal().run.run == number)
            .map(|at| at + 1)
            .ok_or_else(|| fault.clone().unwrap_or_else(|| not_undoable(number, &undoable)))?,
    };
    let (runs, earlier) = undoable.split_at(count);
    let (Some(newest), Some(oldest)) = (runs.first(), runs.last()) else {
        return fault.map_or(Ok(None), |fault| Err(fault.into()));
    };
    let (mut changes, mut as_before, mut edited) = (Vec::new(), Vec::new(), Vec::new());
    for joint in Joint::all(runs) {
        match undo_one(root, &joint)? {
            Found::Change(change) => changes.push(*change),
            Found::AsBefore => as_before.push(joint.newest.entry.path.clone()),
            Found::Edited(diff) => {
                let (path, remedy) = (joint.newest.entry.path.clone(), remedy(&joint));
                edited.push(Edited { path, diff, remedy });
            }
        }
    }
    let run = oldest.journal().run.clone();
    if !edited.is_empty() {
        return Err(UndoError::Edited { run: Box::new(newest.journal().run.clone()), edited });
    }
    let newest = (runs.len() > 1).then(|| newest.journal().run.clone());
    let earlier = earlier.first().map(|run| run.journal().run.run);
    Ok(Some(Undo { run, newest, earlier, changes, as_before, reloads: reloads(runs) }))
}

fn not_undoable(number: u64, undoable: &[Run]) -> Error {
    let numbers: Vec<String> = undoable.iter().map(|run| run.journal().run.run.to_string()).collect();
    let known = if numbers.is_empty() { "none".to_owned() } else { numbers.join(", ") };
    Error::usage(format!("run {number} cannot be undone"))
        .cause(format!("runs that can be undone: {known}"))
        .state("nothing was changed")
        .next("warded undo --down-to one of those; without it, warded undo takes the newest back")
}

/// Each service that one of the runs reloaded, once.
fn reloads(runs: &[Run]) -> Vec<Reload> {
    let mut reloads: Vec<Reload> = Vec::new();
    for reload in runs.iter().map(Run::journal).flat_map(|journal: &Journal| &journal.reloads) {
        if !reloads.iter().any(|known| known.name == reload.name) {
            reloads.push(reload.clone());
        }
    }
    reloads
}

/// What there is to do about one file.
enum Found {
    Change(Box<FileChange>),
    AsBefore,
    /// The difference that speaks against it.
    Edited(String),
}

fn undo_one(root: &Root, joint: &Joint<'_>) -> Result<Found> {
    let (newest, oldest) = (joint.newest.entry, joint.oldest.entry);
    let Some((place, _)) = newest.places(root)? else {
        return Ok(match oldest.before {
            None => Found::AsBefore,
            Some(_) => Found::Edited(format!("{}: its directory is gone", newest.path)),
        });
    };
    let now = match place.snapshot() {
        Ok(now) => now,
        Err(error) if error.code == "io" => return Err(error.into()),
        Err(error) => return Ok(Found::Edited(error.message)),
    };
    let is = |version: &Option<Version>| {
        now.as_ref().map(|now| now.digest) == version.as_ref().map(|version| version.digest)
    };
    let contents = match (&oldest.before, &now) {
        (None, None) => return Ok(Found::AsBefore),
        (Some(before), Some(now)) if is(&oldest.before) && is_like(before, now, &place)? => return Ok(Found::AsBefore),
        // Somebody put it back, with another mode or owner.
        (Some(_), Some(now)) if is(&oldest.before) => Some(now.contents.clone()),
        _ if !is(&newest.after) => {
            let left = joint.newest.run.left(joint.newest.index)?;
            return Ok(Found::Edited(difference(newest, left.as_ref().map(|left| left.as_slice()), now.as_ref())));
        }
        _ => match joint.edited {
            Some(parts) => {
                let [earlier, later] = parts.map(|part| part.run.journal().run.run);
                let what = format!("{}: somebody changed it between runs {earlier} and {later}", newest.path);
                return Ok(Found::Edited(what));
            }
            None => old_copy(joint.oldest)?,
        },
    };
    let after = oldest.before.as_ref().zip(contents).map(|(before, contents)| NewFile {
        contents,
        mode: before.mode,
        metadata: before.metadata.clone(),
    });
    let order = order(newest.order, after.is_some());
    let scratch = (newest.temporary_at != newest.at).then(|| newest.temporary_at.directory.clone().into());
    Ok(Found::Change(Box::new(FileChange { path: newest.path.clone(), place, before: now, after, order, scratch })))
}

/// Whether mode, owner and attributes are those.
fn is_like(before: &Version, now: &Snapshot, place: &Place) -> Result<bool> {
    Ok(before.mode == now.mode && (before.metadata.is_none() || place.metadata()? == before.metadata))
}

/// The file as it was before; none: there was none.
fn old_copy(part: Part<'_>) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let Some(before) = &part.entry.before else { return Ok(None) };
    let copy = part.run.old(part.index)?.filter(|old| Digest::of(old) == before.digest);
    copy.map(Some).ok_or_else(|| {
        Error::failed(format!("the old copy of {} is missing or damaged", part.entry.path))
            .state("nothing was changed")
            .next("restore that file from a backup, then run this again: undo leaves a file that is as before the run")
    })
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

/// How a file becomes what it was before: a command for a person.
fn remedy(joint: &Joint<'_>) -> String {
    let Part { run, index, entry } = joint.oldest;
    match entry.before {
        None => format!("rm {}", entry.path),
        Some(_) => format!("cp {} {}", run.old_path(index).display(), entry.path),
    }
}

/// None also for a private key: no copy of the new one is kept, and neither is shown.
fn text(bytes: Option<&[u8]>) -> Option<&str> {
    bytes.filter(|bytes| !holds_private_key(bytes)).and_then(|bytes| std::str::from_utf8(bytes).ok())
}

fn difference(entry: &Entry, left: Option<&[u8]>, now: Option<&Snapshot>) -> String {
    let now = now.map(|now| now.contents.as_slice());
    match (&entry.after, now, text(left), text(now)) {
        (_, None, ..) => format!("{}: somebody removed it", entry.path),
        (None, Some(_), ..) => format!("{}: somebody made it again", entry.path),
        (_, _, Some(left), Some(now)) => {
            let name = text::neutral(entry.path.as_str());
            let diff = similar::TextDiff::from_lines(left, now);
            let shown = diff
                .unified_diff()
                .header(&format!("{name} (as the run left it)"), &format!("{name} (now)"))
                .to_string();
            text::neutral_lines(&shown)
        }
        _ => format!("{}: somebody changed it (not shown: it is not text, or a private key)", entry.path),
    }
}
