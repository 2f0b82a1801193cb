//! Checks that everything is still as it was when the changes were computed: once under the lock, and for each file
//! again right before it changes.

use super::{
    change::{FileChange, ReadSet},
    temporary::PreparedChange,
};
use crate::{
    error::{Error, Result},
    machine::{
        files::{FileError, FileErrorKind, Place, Root, Snapshot},
        path::AbsolutePath,
    },
    text,
};
use std::fmt;

/// Checks that the file itself is as it was when it was read.
pub(super) fn check(change: &PreparedChange) -> Result<()> {
    let as_read = match read(&change.change.place)? {
        CurrentFile::File(found) => change.change.before.as_ref().is_some_and(|before| is_same(before, &found)),
        CurrentFile::Nothing => change.change.before.is_none(),
        CurrentFile::Other => false,
    };
    if as_read { Ok(()) } else { Err(changed(change.path())) }
}

/// Checks that everything else that was read is as it was.
pub(super) fn check_reads(reads: &ReadSet) -> Result<()> {
    for (place, expected) in reads {
        let as_read = match read(place)? {
            CurrentFile::File(found) => *expected == Some((found.digest, found.inode)),
            CurrentFile::Nothing => expected.is_none(),
            CurrentFile::Other => false,
        };
        if !as_read {
            return Err(changed(text::neutral(&place.resolved().to_string_lossy())));
        }
    }
    Ok(())
}

/// Checks that the paths still lead to the same directories.
pub(super) fn check_directories(root: &Root, changes: &[PreparedChange]) -> Result<()> {
    for change in changes {
        for place in change.places() {
            let again = root.find_to_be(&place.whereabouts(), place.name())?;
            if again.is_none_or(|again| again.key() != place.key()) {
                return Err(changed(text::neutral(&place.whereabouts().directory)));
            }
        }
    }
    Ok(())
}

/// A file that is to be made, replaced or removed.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The path as the caller gave it; messages show this one.
    pub path: &'a AbsolutePath,
    /// Where the file is, or will be.
    pub place: &'a Place,
    /// The length of the new file; none: the file is removed.
    pub bytes: Option<usize>,
}

impl<'a> From<&'a FileChange> for Target<'a> {
    fn from(change: &'a FileChange) -> Self {
        let bytes = change.after.as_ref().map(|after| after.contents.len());
        Self { path: &change.path, place: &change.place, bytes }
    }
}

/// Checks that the file system allows these files to be exchanged, as far as that can be seen beforehand.
///
/// # Errors
/// Refused: a file cannot be exchanged; with the reason and what to do. Failed: a directory cannot be examined.
pub fn refuse_irreplaceable(targets: &[Target<'_>]) -> Result<()> {
    for target in targets {
        let beside = targets.iter().filter(|other| other.place.key().is_beside(&target.place.key()));
        let room: Vec<usize> = beside.filter_map(|other| other.bytes).collect();
        if let Some(obstacle) = target.place.obstacle(&room)? {
            let file = target.place.resolved();
            let error = irreplaceable(target.path);
            let error = if file == target.path.as_path() {
                error
            } else {
                error.seen(format!("it leads to {}", file.display()))
            };
            return Err(error.cause(obstacle).next(obstacle.next(&file.to_string_lossy())));
        }
    }
    Ok(())
}

/// The same for one change, under the lock. Its temporary file must be on the same file system.
pub(super) fn check_replaceable(change: &PreparedChange) -> Result<()> {
    let FileChange { path, place, .. } = &change.change;
    refuse_irreplaceable(&[Target { path, place, bytes: None }])?;
    if change.temporary.key().device != place.key().device {
        return Err(irreplaceable(path)
            .cause("the directory for its temporary file is on another file system")
            .next("give it a directory on the same file system, then run this again"));
    }
    Ok(())
}

fn irreplaceable(path: &AbsolutePath) -> Error {
    Error::refused(format!("{path} cannot be replaced"))
}

/// The refusal where another program has changed the file meanwhile.
pub(super) fn changed(what: impl fmt::Display) -> Error {
    Error::refused(format!("{what} changed since it was read"))
        .cause("another program or person wrote, replaced or removed it in the meantime")
        .next("look at it, then run this again: it starts from what is there then")
}

enum CurrentFile {
    Nothing,
    File(Snapshot),
    /// There is something other than a regular file.
    Other,
}

fn read(place: &Place) -> Result<CurrentFile> {
    match place.snapshot() {
        Ok(Some(found)) => Ok(CurrentFile::File(found)),
        Ok(None) => Ok(CurrentFile::Nothing),
        Err(error @ FileError { kind: FileErrorKind::Io, .. }) => Err(error.into()),
        Err(_) => Ok(CurrentFile::Other),
    }
}

/// Permissions count as well: a new file with the old permissions would revert a `chmod`.
fn is_same(before: &Snapshot, found: &Snapshot) -> bool {
    let parts = |file: &Snapshot| (file.digest, file.inode, file.mode, file.uid, file.gid);
    parts(before) == parts(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was done to a file meanwhile.
    type Change = fn(&mut Snapshot);

    #[test]
    fn nothing_of_a_file_may_differ() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().canonicalize().unwrap().join("file");
        std::fs::write(&path, "text").unwrap();
        let place = Root::ambient().unwrap().place(&path.as_path().try_into().unwrap(), usize::MAX).unwrap().unwrap();
        let before = place.snapshot().unwrap().unwrap();
        assert!(is_same(&before, &place.snapshot().unwrap().unwrap()));
        let changes: [(&str, Change); 5] = [
            ("contents", |file| file.digest = crate::digest::Digest::of(b"other")),
            ("inode", |file| file.inode += 1),
            ("mode", |file| file.mode ^= 0o040),
            ("owner", |file| file.uid += 1),
            ("group", |file| file.gid += 1),
        ];
        for (what, change) in changes {
            let mut found = before.clone();
            change(&mut found);
            assert!(!is_same(&before, &found), "{what}");
        }
    }
}
