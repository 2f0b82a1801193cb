//! Restores one file of a run to what it was before, from the journal alone. It touches the file only if the bytes
//! are those in the journal.

use super::{change::Version, commit, journal::Entry, run_directory::Run};
use crate::{
    digest::Digest,
    error::{Error, Result},
    machine::files::{FileError, FileErrorKind, Place, Root, Snapshot, Step},
    machine::interruption,
    text,
};
use std::{collections::BTreeMap, io};

/// What became of one file.
pub(super) enum Outcome {
    /// It had not been changed.
    AsBefore,
    Restored,
    LeftAlone(String),
}

/// Which file is now in the place of an entry.
pub(super) enum PlaceState {
    Nothing,
    Old,
    New,
    Other,
}

pub(super) fn restore(
    root: &Root,
    run: &Run,
    index: usize,
    entry: &Entry,
    directories: &mut BTreeMap<(u64, u64), Place>,
) -> Result<Outcome> {
    let Some((target, temporary)) = entry.places(root)? else {
        return Ok(Outcome::LeftAlone("its directory is gone".to_owned()));
    };
    let outcome = match (&entry.before, &entry.after, look(&target, entry)?) {
        (Some(_), _, PlaceState::Old) | (None, _, PlaceState::Nothing) => return Ok(Outcome::AsBefore),
        (Some(before), Some(after), PlaceState::New) => {
            make_old(run, index, before, &target, &temporary)?;
            exchange_back(after, &target, &temporary)
        }
        (Some(before), None, PlaceState::Nothing) => {
            make_old(run, index, before, &target, &temporary)?;
            commit::move_to_free(&temporary, &target).map(|()| Outcome::Restored)
        }
        (None, Some(after), PlaceState::New) => {
            dispose(run, index, &temporary)?;
            withdraw(after, &target, &temporary)
        }
        (_, _, PlaceState::Nothing) => return Ok(Outcome::LeftAlone("somebody else removed it".to_owned())),
        (_, _, PlaceState::Old | PlaceState::New | PlaceState::Other) => {
            return Ok(Outcome::LeftAlone("somebody else changed it".to_owned()));
        }
    };
    for place in [target, temporary] {
        directories.insert((place.key().device, place.key().inode), place);
    }
    outcome.map_err(|error| Error::failed(format!("could not put {} back", entry.path)).cause(error))
}

pub(super) fn look(target: &Place, entry: &Entry) -> Result<PlaceState> {
    let found = match target.snapshot() {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(PlaceState::Nothing),
        Err(error @ FileError { kind: FileErrorKind::Io, .. }) => return Err(error.into()),
        Err(_) => return Ok(PlaceState::Other),
    };
    let is = |version: &Option<Version>| version.as_ref().is_some_and(|version| version.digest == found.digest);
    let is_old_inode = entry.before.as_ref().is_some_and(|before| before.inode == Some(found.inode));
    Ok(match (is(&entry.before), is(&entry.after)) {
        // Only mode or owner differ, so the inode tells which of the two it is.
        (true, true) if is_old_inode => PlaceState::Old,
        (_, true) => PlaceState::New,
        (true, false) => PlaceState::Old,
        (false, false) => PlaceState::Other,
    })
}

/// Makes sure that the old file is in the temporary place. After an exchange it is there; otherwise it is written
/// from its copy.
fn make_old(run: &Run, index: usize, before: &Version, target: &Place, temporary: &Place) -> Result<()> {
    if is_complete(before, temporary)? {
        return Ok(());
    }
    let inode = temporary.inode()?;
    if inode.is_some() {
        if is_disposable(run, index, temporary)? {
            dispose(run, index, temporary)?;
        } else if inode == before.inode {
            // A process wrote to the old file while it was set aside: the file is restored with that change.
            return Ok(());
        } else {
            return Err(in_the_way(temporary));
        }
    }
    let copy = run.old(index)?.filter(|copy| Digest::of(copy) == before.digest);
    let contents = copy.ok_or_else(|| {
        let path = text::neutral(&target.resolved().to_string_lossy());
        Error::failed(format!("the copy of the old {path} is missing or damaged"))
            .next("restore the file from a backup: Warded leaves a file that is as before the run")
    })?;
    temporary
        .create(&contents, before.mode, before.metadata.as_ref(), target)
        .map_err(|error| Error::failed(format!("could not write {}", temporary.resolved().display())).cause(error))?;
    interruption::point("old file written");
    Ok(())
}

fn is_complete(before: &Version, temporary: &Place) -> Result<bool> {
    let Ok(Some(found)) = temporary.snapshot() else { return Ok(false) };
    let same = before.inode == Some(found.inode) && before.digest == found.digest && before.mode == found.mode;
    Ok(same && temporary.metadata()? == before.metadata)
}

fn exchange_back(after: &Version, target: &Place, temporary: &Place) -> io::Result<Outcome> {
    let old = temporary.inode().map_err(io::Error::other)?;
    match temporary.exchange(target)? {
        Step::Unsupported => temporary.move_over(target).map(|()| Outcome::Restored),
        Step::Taken if is_version(after, temporary) => Ok(Outcome::Restored),
        Step::Taken => {
            commit::put_back(temporary, target, old)?;
            Ok(Outcome::LeftAlone("somebody else changed it at this very moment".to_owned()))
        }
    }
}

fn withdraw(after: &Version, target: &Place, temporary: &Place) -> io::Result<Outcome> {
    commit::move_to_free(target, temporary)?;
    if is_version(after, temporary) {
        return Ok(Outcome::Restored);
    }
    commit::move_to_free(temporary, target)?;
    Ok(Outcome::LeftAlone("somebody else changed it at this very moment".to_owned()))
}

fn is_version(version: &Version, place: &Place) -> bool {
    place.snapshot().is_ok_and(|found| found.is_some_and(|found| found.digest == version.digest))
}

/// Removes what an interrupted run has left in the temporary place.
fn dispose(run: &Run, index: usize, temporary: &Place) -> Result<()> {
    if temporary.inode()?.is_none() {
        return Ok(());
    }
    if !is_disposable(run, index, temporary)? {
        return Err(in_the_way(temporary));
    }
    temporary
        .remove()
        .map_err(|error| Error::failed(format!("could not remove {}", temporary.resolved().display())).cause(error))
}

/// Whether the temporary file is the journal's old or new file, or the beginning of one that was being written: then
/// removing it loses nothing of anybody else's.
pub(super) fn is_disposable(run: &Run, index: usize, temporary: &Place) -> Result<bool> {
    let found: Snapshot = match temporary.snapshot() {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(true),
        Err(error @ FileError { kind: FileErrorKind::Io, .. }) => return Err(error.into()),
        Err(_) => return Ok(false),
    };
    let begins = |copy: Option<zeroize::Zeroizing<Vec<u8>>>| copy.is_some_and(|copy| copy.starts_with(&found.contents));
    Ok(begins(run.old(index)?) || begins(run.left(index)?))
}

fn in_the_way(temporary: &Place) -> Error {
    Error::failed(format!(
        "{} is in the way, and does not belong to this run",
        text::neutral(&temporary.resolved().to_string_lossy())
    ))
    .next("move it away, then run `warded recover`")
}
