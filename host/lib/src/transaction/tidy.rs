//! Removes what a run that has ended leaves behind: its temporary files, and copies that are of no more use.

use super::{
    change::{Order, UntouchedFile, untidy},
    commit::move_to_free,
    directories,
    journal::{Entry, State},
    restore::{PlaceState, is_disposable, look},
    run_directory::Run,
};
use crate::{
    error::{Error, Result},
    machine::{
        files::{Place, Root},
        interruption,
    },
};
use std::collections::BTreeMap;

/// Removes the temporary files of a run that has ended, and copies that are of no more use. Returns what it could not
/// remove. That is no failure: the run has ended, and the next command tries again.
pub(super) fn tidy(root: &Root, run: &Run) -> Vec<UntouchedFile> {
    let mut left = Vec::new();
    let mut again = false;
    let mut directories = BTreeMap::new();
    let mut untidied = |left: &mut Vec<UntouchedFile>, entry: &Entry, error: &Error| {
        again = true;
        let what = if entry.order == Order::RemoveRecovery { "it" } else { "its temporary file" };
        left.push(UntouchedFile { path: entry.path.clone(), why: untidy(what, error) });
    };
    for (index, entry) in run.journal().entries.iter().enumerate() {
        match tidy_one(root, run, index, entry) {
            Ok(TidyOutcome::Nothing) => {}
            Ok(TidyOutcome::Removed(place)) => {
                directories.insert((place.key().device, place.key().inode), (place, entry));
            }
            Ok(TidyOutcome::Theirs(theirs)) => left.extend(theirs),
            Err(error) => untidied(&mut left, entry, &error),
        }
        interruption::point("tidied");
    }
    // Synced, so that a removed private key does not come back with a power cut.
    for (place, entry) in directories.into_values() {
        if let Err(error) = place.sync_directory() {
            untidied(&mut left, entry, &Error::failed("could not sync its directory").cause(error));
        }
    }
    let (directories, directories_again) = directories::tidy(root, run);
    left.extend(directories);
    again |= directories_again;
    let ended = if run.journal().state == State::Kept {
        run.settle_own().and(run.remove_new_keys())
    } else {
        run.forget_own().and(run.remove_copies())
    };
    // The sign that something is left to tidy is removed last.
    let ended = if again { ended } else { ended.and_then(|()| run.remove_pending()) };
    if let Err(error) = ended {
        left.extend(UntouchedFile::at(run.path(), untidy("what is in it", &error)));
    }
    left
}

/// What became of a temporary file.
enum TidyOutcome {
    Nothing,
    Removed(Place),
    /// Somebody else's file. None where its path cannot be represented.
    Theirs(Option<UntouchedFile>),
}

fn tidy_one(root: &Root, run: &Run, index: usize, entry: &Entry) -> Result<TidyOutcome> {
    let Some(temporary) = root.find(&entry.temporary_at, &entry.temporary)? else { return Ok(TidyOutcome::Nothing) };
    if entry.order == Order::RemoveRecovery
        && run.journal().state == State::Kept
        && let Some(left) = retire(root, entry, &temporary)?
    {
        return Ok(TidyOutcome::Theirs(Some(left)));
    }
    if temporary.inode()?.is_none() {
        return Ok(TidyOutcome::Nothing);
    }
    if is_disposable(run, index, &temporary)? {
        temporary.remove().map_err(|error| {
            Error::failed(format!("could not remove {}", temporary.resolved().display())).cause(error)
        })?;
        return Ok(TidyOutcome::Removed(temporary));
    }
    let why = format!("somebody wrote to {} while it was replaced; this is what they wrote", entry.path);
    Ok(TidyOutcome::Theirs(UntouchedFile::at(&temporary.resolved(), why)))
}

/// Removes the unit that recovers interrupted runs when the machine starts. It stays if somebody has edited it.
fn retire(root: &Root, entry: &Entry, temporary: &Place) -> Result<Option<UntouchedFile>> {
    let Some((target, _)) = entry.places(root)? else { return Ok(None) };
    match look(&target, entry)? {
        PlaceState::Nothing => Ok(None),
        PlaceState::Old => move_to_free(&target, temporary)
            .map(|()| None)
            .map_err(|error| Error::failed(format!("could not remove {}", entry.path)).cause(error)),
        PlaceState::New | PlaceState::Other => {
            Ok(Some(UntouchedFile { path: entry.path.clone(), why: "somebody else changed it".to_owned() }))
        }
    }
}
