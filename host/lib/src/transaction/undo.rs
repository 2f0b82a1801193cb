//! Undoes kept runs later, as a change set of its own, through the same pipeline.

mod edit_display;
mod everything;
mod lines;
mod steps;

use super::{
    change::{FileChange, NewFile, Order, RunIdentity, Version},
    followup::Reload,
    journal::{Journal, State},
    leftovers::is_removed,
    recover,
    run_directory::{Run, numbers},
    series::{JointChange, Part, Series, Step},
};
use crate::{
    digest::Digest,
    error::{Error, Result},
    machine::{
        action,
        files::{FileError, FileErrorKind, Place, Root, Snapshot},
        path::AbsolutePath,
        private::StateDir,
        schedule,
    },
    name::Name,
    text,
};
use edit_display::{difference, remedy};
use std::{
    ops::RangeInclusive,
    thread,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// How long to wait for another run to end.
const WAIT: Duration = if cfg!(test) { Duration::from_secs(2) } else { Duration::from_secs(60) };

/// The changes that undo runs.
#[derive(Debug)]
pub struct Undo {
    /// The run that is undone; of several, the oldest. The undo's own identity records it in [`RunIdentity::undoes`].
    pub run: RunIdentity,
    /// The newest of several runs.
    pub newest: Option<RunIdentity>,
    /// How many runs there are.
    pub count: usize,
    /// Whether the runs after the oldest only renewed certificates.
    pub is_one_step: bool,
    /// The next run that an undo would undo after this.
    pub earlier: Option<u64>,
    /// What has to change.
    pub changes: Vec<FileChange>,
    /// The files that are already as they were before the run.
    pub as_before: Vec<AbsolutePath>,
    /// The host keys that stay, because clients know them.
    pub keys_left: Vec<AbsolutePath>,
    /// The programs that undo what programs of the runs changed, in order.
    pub steps: Vec<action::Step>,
    /// The programs of the runs that nothing can undo.
    pub irreversible: Vec<Name>,
    /// The services that the runs reloaded.
    pub reloads: Vec<Reload>,
    /// The main configuration files of the sshds for which the runs were made, the newest run's first; none where
    /// there was no sshd.
    pub sshds: Vec<AbsolutePath>,
}

impl Undo {
    /// Whether it changes nothing but ssh's known_hosts files.
    #[must_use]
    pub fn is_of_known_hosts(&self) -> bool {
        self.steps.is_empty() && self.changes.iter().all(FileChange::is_known_hosts)
    }

    /// The numbers of the runs that are undone.
    #[must_use]
    pub fn runs(&self) -> RangeInclusive<u64> {
        self.run.run..=self.newest.as_ref().unwrap_or(&self.run).run
    }
}

/// Which runs are to be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndoScope {
    /// The newest run that changed more than the contents of certificates, with the renewals since.
    Newest,
    /// This run, with the renewals since, if no other run builds on it.
    Only(u64),
    /// This run and all since.
    DownTo(u64),
    /// All of them, so that nothing of Warded's is left.
    All(Edits),
}

/// What becomes of later edits that an undo cannot keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edits {
    /// The undo stops.
    Refuse,
    /// The edits are lost.
    Discard,
}

/// Why runs cannot be undone.
#[derive(Debug)]
pub enum UndoError {
    /// Somebody has changed files since.
    Edited {
        run: Box<RunIdentity>,
        /// Those files.
        edited: Vec<EditedFile>,
    },
    /// The journal or a file cannot be read, or another run is at work.
    Failed(Error),
}

/// A file that is neither as the run left it nor as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditedFile {
    pub path: AbsolutePath,
    /// What has changed since, as a unified diff; or a word on why that is not shown.
    pub diff: String,
    /// What discards the edit, so that an undo can continue.
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
                Self::refused(format!("{run} is not undone: {what} changed since")).seen(diffs.join("\n")).next(
                    format!(
                        "to give these changes up, restore each file, then run this again:\n{}",
                        remedies.join("\n")
                    ),
                )
            }
        }
    }
}

/// The changes that undo runs; none where there is no run to undo. Waits for a run that is at work.
///
/// # Errors
/// A file is neither what the run left nor what was there before, there is no such run to undo, other runs build on
/// it, another run does not end, or something cannot be read.
pub fn undo_changes(state: &StateDir, root: &Root, which: UndoScope) -> Result<Option<Undo>, UndoError> {
    let until = Instant::now() + WAIT;
    loop {
        let known = numbers(state)?;
        let at_work = recover::at_work(state)?;
        if at_work.is_none() {
            recover::refuse_unended(state)?;
            let found = compute(state, root, which);
            // A run that began meanwhile may have changed the files that were compared.
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
        thread::sleep(Duration::from_millis(50));
    }
}

fn compute(state: &StateDir, root: &Root, which: UndoScope) -> Result<Option<Undo>, UndoError> {
    let mut series = Series::look(state)?;
    let fault = series.fault.take();
    // Only all journals together tell what all runs did.
    if let (UndoScope::All(_), Some(fault)) = (which, &fault) {
        return Err(fault.clone().into());
    }
    let count = match count(&series, which) {
        Err(error) => return Err(fault.unwrap_or(error).into()),
        Ok(None) => return fault.map_or(Ok(None), |fault| Err(fault.into())),
        Ok(Some(count)) => count,
    };
    let (runs, earlier) = series.undoable.split_at(count);
    let (Some(newest), Some((oldest, later))) = (runs.first(), runs.split_last()) else { return Ok(None) };
    let (mut changes, mut as_before, mut keys_left, mut edited) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for joint in JointChange::all(runs) {
        let found = match which {
            UndoScope::All(edits) => everything::undo(root, &joint, (runs, edits))?,
            UndoScope::Newest | UndoScope::Only(_) | UndoScope::DownTo(_) => undo_one(root, &joint)?,
        };
        match found {
            FileUndo::Change(change) => changes.push(*change),
            FileUndo::AsBefore => as_before.push(joint.newest.entry.path.clone()),
            FileUndo::KeyLeft => keys_left.push(joint.newest.entry.path.clone()),
            FileUndo::Edited(diff) => {
                let (path, remedy) = (joint.newest.entry.path.clone(), remedy(&joint));
                edited.push(EditedFile { path, diff, remedy });
            }
        }
    }
    let run = oldest.journal().run.clone();
    if !edited.is_empty() {
        return Err(UndoError::Edited { run: Box::new(newest.journal().run.clone()), edited });
    }
    let newest = (count > 1).then(|| newest.journal().run.clone());
    let is_one_step = later.iter().all(Run::only_renews);
    let earlier = earlier.iter().find(|run| !run.only_renews()).map(|run| run.journal().run.run);
    let mut sshds: Vec<AbsolutePath> = Vec::new();
    for sshd in runs.iter().map(Run::journal).flat_map(Journal::sshds) {
        if !sshds.contains(sshd) {
            sshds.push(sshd.clone());
        }
    }
    // If a file was edited meanwhile, what a policy's own `remove` restored is not the state from before the runs.
    let is_left = |run: &&Run| !matches!(which, UndoScope::All(_)) || !is_removed(runs, &run.journal().run.policy);
    let (steps, irreversible) = steps::back(runs.iter().filter(is_left));
    Ok(Some(Undo {
        run,
        newest,
        count,
        is_one_step,
        earlier,
        changes,
        as_before,
        keys_left,
        steps,
        irreversible,
        reloads: reloads(runs),
        sshds,
    }))
}

/// How many of the runs that can be undone this scope covers; none: no run can be undone.
fn count(series: &Series, which: UndoScope) -> Result<Option<usize>> {
    let number = |run: &Run| run.journal().run.run;
    let steps = series.steps();
    let asked = match which {
        UndoScope::Newest => return Ok(steps.first().map(Step::len)),
        UndoScope::All(_) => return Ok(Some(series.undoable.len()).filter(|count| *count > 0)),
        UndoScope::DownTo(asked) => {
            let at = series.undoable.iter().position(|run| number(run) == asked);
            return at.map(|at| Some(at + 1)).ok_or_else(|| not_undoable(asked, series));
        }
        UndoScope::Only(asked) => asked,
    };
    if let Some(step) = steps.iter().find(|step| step.renewals.iter().any(|run| number(run) == asked)) {
        let base = number(step.base);
        return Err(Error::usage(format!("run {asked} only renewed certificates"))
            .cause("alone, its undo would restore certificates that are nearer to their end")
            .next(format!("warded undo {base} undoes run {base} with its renewals")));
    }
    let at = steps.iter().position(|step| number(step.base) == asked).ok_or_else(|| not_undoable(asked, series))?;
    match steps.split_at(at) {
        ([], [step, ..]) => Ok(Some(step.len())),
        (later, _) => {
            let later: Vec<String> = later.iter().map(|step| step.base.journal().run.to_string()).collect();
            Err(Error::refused(format!("run {asked} is not undone alone: later runs build on it"))
                .cause(later.join("\n"))
                .next(format!("to undo run {asked} and all of these in one step: warded undo --down-to {asked}")))
        }
    }
}

fn not_undoable(number: u64, series: &Series) -> Error {
    let spent = series.spent.iter().map(Run::journal).find(|journal| journal.run.run == number);
    let undo = |journal: &&Journal| journal.run.undone().is_some_and(|runs| runs.contains(&number));
    let undone_by = series.spent.iter().map(Run::journal).filter(|journal| journal.state == State::Kept).find(undo);
    let cause = match (spent, undone_by) {
        (Some(journal), _) if journal.state == State::RolledBack => "it was rolled back".to_owned(),
        (Some(journal), _) if journal.run.undoes.is_some() => "it is an undo itself".to_owned(),
        (Some(_), Some(undo)) => format!("{} undid it", undo.run),
        (Some(_), None) => "it changed nothing".to_owned(),
        (None, _) => "there is no such run, or it was folded into an earlier run".to_owned(),
    };
    Error::usage(format!("run {number} cannot be undone"))
        .cause(cause)
        .next("warded history shows which runs can be undone")
}

/// Each service that one of the runs reloaded, once.
fn reloads(runs: &[Run]) -> Vec<Reload> {
    let mut reloads: Vec<Reload> = Vec::new();
    for reload in runs.iter().map(Run::journal).flat_map(|journal: &Journal| &journal.reloads) {
        let is_same = |known: &Reload| {
            known.name == reload.name && known.operation == reload.operation && known.schedule == reload.schedule
        };
        if !reloads.iter().any(is_same) {
            reloads.push(reload.clone());
        }
    }
    reloads
}

/// How one file is undone.
enum FileUndo {
    Change(Box<FileChange>),
    AsBefore,
    /// A host key that is not put back.
    KeyLeft,
    /// The difference that prevents the undo.
    Edited(String),
}

fn undo_one(root: &Root, joint: &JointChange<'_>) -> Result<FileUndo> {
    let (newest, oldest) = (joint.newest.entry, joint.oldest.entry);
    let Some(place) = joint.place(root)? else {
        return Ok(match oldest.before {
            None => FileUndo::AsBefore,
            Some(_) => FileUndo::Edited(format!("{}: its directory is gone", newest.path)),
        });
    };
    let now = match place.snapshot() {
        Ok(now) => now,
        Err(error @ FileError { kind: FileErrorKind::Io, .. }) => return Err(error.into()),
        Err(error) => return Ok(FileUndo::Edited(error.message)),
    };
    let is = |version: &Option<Version>| {
        now.as_ref().map(|now| now.digest) == version.as_ref().map(|version| version.digest)
    };
    let contents = match (&oldest.before, &now) {
        (None, None) => return Ok(FileUndo::AsBefore),
        (Some(before), Some(now)) if is(&oldest.before) && is_like(before, now, &place)? => {
            return Ok(FileUndo::AsBefore);
        }
        // Somebody put the old contents back, with another mode or owner.
        (Some(_), Some(now)) if is(&oldest.before) => Some(now.contents.clone()),
        _ if !is(&newest.after) || joint.edited.is_some() && lines::is_undone_by_lines(joint, &place) => {
            if lines::is_undone_by_lines(joint, &place)
                && let Some(found) = lines::undo(joint, &place, now.as_ref())?
            {
                return Ok(found);
            }
            let left = joint.newest.run.left(joint.newest.index)?;
            return Ok(FileUndo::Edited(difference(newest, left.as_ref().map(|left| left.as_slice()), now.as_ref())));
        }
        _ => match joint.edited {
            Some(parts) => {
                let [earlier, later] = parts.map(|part| part.run.journal().run.run);
                let what = format!("{}: somebody changed it between runs {earlier} and {later}", newest.path);
                return Ok(FileUndo::Edited(what));
            }
            None => old_copy(joint.oldest)?,
        },
    };
    let after = oldest.before.as_ref().zip(contents).map(|(before, contents)| NewFile {
        contents,
        mode: before.mode,
        metadata: before.metadata.clone(),
    });
    let order = order(newest.order, now.as_ref(), after.is_some());
    let scratch = (newest.temporary_at != newest.at).then(|| newest.temporary_at.directory.clone().into());
    Ok(FileUndo::Change(Box::new(FileChange { path: newest.path.clone(), place, before: now, after, order, scratch })))
}

/// Whether mode, owner and attributes are as in this version.
fn is_like(before: &Version, now: &Snapshot, place: &Place) -> Result<bool> {
    Ok(before.mode == now.mode && (before.metadata.is_none() || place.metadata()? == before.metadata))
}

/// The file as it was before; none: there was none.
fn old_copy(part: Part<'_>) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let Some(before) = &part.entry.before else { return Ok(None) };
    let copy = part.run.old(part.index)?.filter(|old| Digest::of(old) == before.digest);
    copy.map(Some).ok_or_else(|| {
        Error::failed(format!("the old copy of {} is missing or damaged", part.entry.path))
            .next("restore that file from a backup, then run this again: undo leaves a file that is as before the run")
    })
}

/// The order for undoing a change. A key stays a key, whether it is written or removed.
fn order(done: Order, now: Option<&Snapshot>, writes: bool) -> Order {
    let (write, remove) = match done {
        _ if now.is_some_and(|now| schedule::recovers(&now.contents)) => (Order::WriteOther, Order::RemoveRecovery),
        Order::WriteKey | Order::RemoveKey => (Order::WriteKey, Order::RemoveKey),
        Order::WriteCertificate | Order::RemoveCertificate => (Order::WriteCertificate, Order::RemoveCertificate),
        Order::WriteOther | Order::RemoveOther | Order::RemoveRecovery => (Order::WriteOther, Order::RemoveOther),
    };
    if writes { write } else { remove }
}
