//! Directories that a run makes for its files. They are removed with the files: when the run is rolled back, or when
//! a later run has removed the files.

use super::{
    change::{DirectoryChange, UntouchedFile, untidy},
    journal::{Journal, State},
    precondition::changed,
    run_directory::Run,
    series::Series,
    temporary::PreparedChange,
};
use crate::{
    error::{Error, Result},
    machine::{files::Root, interruption, private::StateDir},
    text,
};
use rustix::io::Errno;
use std::path::PathBuf;

/// The directories of a run with these changes: those that it makes, the outermost first; and those that earlier runs
/// made for the files which this one removes.
pub(super) fn of(state: &StateDir, changes: &[PreparedChange]) -> Result<Vec<DirectoryChange>> {
    let mut directories: Vec<DirectoryChange> = Vec::new();
    for (at, name) in changes.iter().flat_map(|change| change.change.place.directories_to_make()) {
        let directory = DirectoryChange { at, name: name.to_owned(), goes: false };
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    let removed: Vec<PathBuf> = changes
        .iter()
        .filter(|change| change.change.after.is_none())
        .map(|change| change.change.place.resolved())
        .collect();
    if removed.is_empty() {
        return Ok(directories);
    }
    for run in Series::look(state)?.undoable {
        for made in run.journal().directories.iter().filter(|directory| !directory.goes) {
            let path = made.path();
            let gone = DirectoryChange { goes: true, ..made.clone() };
            if removed.iter().any(|file| file.starts_with(&path)) && !directories.contains(&gone) {
                directories.push(gone);
            }
        }
    }
    Ok(directories)
}

/// Makes those that are missing, and resolves the places in them.
pub(super) fn make(root: &Root, journal: &Journal, changes: &mut [PreparedChange]) -> Result<()> {
    for directory in journal.directories.iter().filter(|directory| !directory.goes) {
        let path = text::neutral(&directory.path().to_string_lossy());
        let place = root.find(&directory.at, &directory.name)?.ok_or_else(|| changed(&path))?;
        place.make_directory().map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::EXIST) => changed(&path),
            _ => Error::failed(format!("could not make the directory {path}")).cause(error),
        })?;
        interruption::point("directory made");
    }
    for change in changes.iter_mut() {
        for place in [&mut change.change.place, &mut change.temporary] {
            if place.is_to_be() {
                let found = root.find(&place.whereabouts(), place.name())?;
                *place = found.ok_or_else(|| changed(text::neutral(&place.whereabouts().directory)))?;
            }
        }
    }
    Ok(())
}

/// Removes the directories that an ended run no longer needs, if they are empty. Returns those that are left, each
/// with the reason, and whether to try again.
pub(super) fn tidy(root: &Root, run: &Run) -> (Vec<UntouchedFile>, bool) {
    let (mut left, mut again) = (Vec::new(), false);
    let was_kept = run.journal().state == State::Kept;
    let mut useless: Vec<_> = run.journal().directories.iter().filter(|one| one.goes == was_kept).collect();
    useless.sort_by_key(|directory| std::cmp::Reverse(directory.path()));
    for directory in useless {
        let removed = root.find(&directory.at, &directory.name).map_err(Error::from).and_then(|place| {
            place.map_or(Ok(true), |place| {
                place.remove_directory().map_err(|error| Error::failed("could not remove it").cause(error))
            })
        });
        let why = match removed {
            Ok(true) => None,
            // Others use the directory: they know about it, and it is up to them.
            Ok(false) if was_kept => None,
            Ok(false) => Some("something is in this directory, which the run had made".to_owned()),
            Err(error) => {
                again = true;
                Some(untidy("the directory", &error))
            }
        };
        left.extend(why.and_then(|why| UntouchedFile::at(&directory.path(), why)));
        interruption::point("directory removed");
    }
    (left, again)
}
