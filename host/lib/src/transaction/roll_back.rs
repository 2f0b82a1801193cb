//! Rolls a run back, from its journal alone: in the process that made the changes, in a watchdog, or at the next
//! boot. It touches a file only if the bytes are those in the journal.

use super::{
    change::{RollbackReport, UntouchedFile},
    journal::{Entry, Journal, State},
    restore::{Outcome, PlaceState, look, restore},
    run_directory::Run,
    still_named::{self, Settlement, StillNamed},
    tidy::tidy,
};
use crate::{
    error::{Error, Result},
    machine::{
        files::{Place, Root},
        interruption,
        private::StateDir,
    },
};
use std::collections::BTreeMap;

/// Undoes what the run has changed, in reverse order. `settle` then undoes the programs of the run, tells the
/// services, and says what sshd uses. At the end this removes the files that sshd does not use, and the temporary
/// files. If stopped anywhere, it can be repeated, and tells the services then.
pub(super) fn roll_back<S: Into<Settlement>>(
    root: &Root,
    run: &mut Run,
    settle: impl FnOnce(&Journal, &RollbackReport) -> S,
) -> Result<RollbackReport> {
    let is_first_attempt = run.journal().state != State::RollingBack;
    match run.journal().state {
        State::Prepared => {
            // After a power cut the state may be missing, but then nothing had changed yet. Otherwise the state was
            // lost, as in a copy of the state directory without symbolic links, and the run may have been kept.
            if let Some(error) = run.without_state()?
                && !(is_untouched(root, run) && run.steps_begun()?.is_empty())
            {
                return Err(error);
            }
        }
        State::RollingBack => {}
        State::Committing | State::Unconfirmed => {
            // Recorded before the first file is restored, so that a later recovery reloads the services all the same.
            if has_changed(root, run) || !run.steps_begun()?.is_empty() {
                run.advance(State::RollingBack)?;
            }
        }
        State::RolledBack => return Ok(RollbackReport::default()),
        State::Kept => return Err(Error::failed(format!("{} was kept already", run.journal().run)).next("warded undo")),
    }
    let mut done = RollbackReport {
        was_told: run.was_told()?,
        steps: run.steps_begun()?,
        is_again: !is_first_attempt,
        ..RollbackReport::default()
    };
    let entries = run.journal().entries.iter().enumerate().rev();
    let (brought_in, others): (Vec<_>, Vec<_>) = entries.partition(|(_, entry)| still_named::after_reload(entry));
    let failures = restore_all(root, run, &others, &mut done);
    // Services are reloaded for the restored files even if one file could not be restored, but not again with every
    // attempt.
    let mut settled = Settlement::from(StillNamed::nothing());
    if run.journal().state == State::RollingBack && (is_first_attempt || failures.is_empty()) {
        done.reloads.clone_from(&run.journal().reloads);
        settled = settle(run.journal(), &done).into();
        interruption::point("settled");
    }
    // Only the first failure is reported; the next attempt meets all of them again.
    if let Some(first) = failures.into_iter().next().or(settled.open) {
        return Err(first.next("run `warded recover`"));
    }
    still_named::remove_added(root, run, &brought_in, &settled.named, &mut done);
    run.advance(State::RolledBack)?;
    interruption::point("rolled back");
    done.left_alone.extend(tidy(root, run));
    Ok(done)
}

/// Restores the files of a run again while it is being rolled back, after its programs have been undone: such a
/// program may have written the run's version again. To be called by what settles the roll back, before services are
/// told.
///
/// # Errors
/// A file could not be put back.
pub fn restore_again(state: &StateDir, root: &Root, number: u64) -> Result<RollbackReport> {
    let mut done = RollbackReport::default();
    let Some(run) = Run::look(state, number)?.filter(|run| run.journal().state == State::RollingBack) else {
        return Ok(done);
    };
    let entries = run.journal().entries.iter().enumerate().rev();
    let again: Vec<_> = entries.filter(|(_, entry)| !still_named::after_reload(entry)).collect();
    match restore_all(root, &run, &again, &mut done).into_iter().next() {
        None => Ok(done),
        Some(failure) => Err(failure),
    }
}

/// Restores each of these files, even if another one fails. Returns the failures.
fn restore_all(root: &Root, run: &Run, entries: &[(usize, &Entry)], done: &mut RollbackReport) -> Vec<Error> {
    let mut failures = Vec::new();
    for group in entries.chunk_by(|a, b| a.1.order == b.1.order) {
        let mut directories = BTreeMap::new();
        for (index, entry) in group {
            match restore(root, run, *index, entry, &mut directories) {
                Ok(Outcome::AsBefore) => {}
                Ok(Outcome::Restored) => done.restored.push(entry.path.clone()),
                Ok(Outcome::LeftAlone(why)) => done.left_alone.push(UntouchedFile { path: entry.path.clone(), why }),
                Err(error) => failures.push(error),
            }
            interruption::point("restored");
        }
        let synced = directories.into_values().try_for_each(|place: Place| place.sync_directory());
        failures.extend(synced.err().map(|error| Error::failed("could not sync a directory").cause(error)));
    }
    failures
}

/// Whether every file is as before the run. A file that cannot be examined counts as changed.
fn is_untouched(root: &Root, run: &Run) -> bool {
    let is_as_before = |entry: &Entry| -> Result<bool> {
        let Some((target, _)) = entry.places(root)? else { return Ok(entry.before.is_none()) };
        let found = look(&target, entry)?;
        Ok(matches!((&entry.before, found), (Some(_), PlaceState::Old) | (None, PlaceState::Nothing)))
    };
    run.journal().entries.iter().all(|entry| is_as_before(entry).unwrap_or(false))
}

/// Whether any of the changes is in place. A change that cannot be examined counts as in place.
fn has_changed(root: &Root, run: &Run) -> bool {
    let is_in_place = |entry: &Entry| -> Result<bool> {
        let Some((target, _)) = entry.places(root)? else { return Ok(false) };
        let found = look(&target, entry)?;
        Ok(matches!((&entry.after, found), (Some(_), PlaceState::New) | (None, PlaceState::Nothing)))
    };
    run.journal().entries.iter().any(|entry| is_in_place(entry).unwrap_or(true))
}
