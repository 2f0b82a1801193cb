//! Undoes everything that runs did. Unlike an undo of some of them, this one leaves no marked block. It keeps the
//! host keys: clients know those that are served now, and former ones may have been given up for a reason.

use super::{Edits, FileUndo, old_copy, order, undo_one};
use crate::{
    error::Result,
    machine::files::{Place, Root, Snapshot},
    transaction::{
        change::{FileChange, NewFile, Order},
        leftovers::{is_removal, is_removed},
        run_directory::Run,
        series::JointChange,
    },
};
use sshd_config::block::{self, Marks};
use zeroize::Zeroizing;

/// How to undo what these runs did to one file.
pub(super) fn undo(root: &Root, joint: &JointChange<'_>, (runs, edits): (&[Run], Edits)) -> Result<FileUndo> {
    if matches!(joint.newest.entry.order, Order::WriteKey | Order::RemoveKey) {
        return Ok(FileUndo::KeyLeft);
    }
    let found = undo_one(root, joint)?;
    let Some(place) = joint.place(root)? else { return Ok(found) };
    let own = OwnBlocks::of(joint)?;
    // The records from before a policy's own `remove` are lost: what it took out was Warded's, and stays out.
    let begins_with_removal = is_removal(joint.oldest.run.journal())
        && is_removed(runs, &joint.newest.run.journal().run.policy)
        && only_takes_out(joint)?;
    match found {
        FileUndo::Change(_) | FileUndo::Edited(_) if begins_with_removal => Ok(FileUndo::AsBefore),
        FileUndo::Change(mut change) => {
            if let Some(after) = &mut change.after {
                after.contents = Zeroizing::new(own.outside(&after.contents));
            }
            Ok(FileUndo::Change(change))
        }
        FileUndo::Edited(difference) => match place.snapshot() {
            Ok(Some(now)) if own.is_whole_in(&now) => Ok(cut(joint, &own, place, now)),
            // What the policy's own `remove` left of an edited file is not Warded's.
            _ if is_removal(joint.newest.run.journal()) && is_removed(runs, &joint.newest.run.journal().run.policy) => {
                Ok(FileUndo::AsBefore)
            }
            Ok(now) if edits == Edits::Discard => discard(joint, &own, place, now),
            Ok(_) | Err(_) => Ok(FileUndo::Edited(difference)),
        },
        FileUndo::AsBefore | FileUndo::KeyLeft => Ok(found),
    }
}

/// Whether these runs removed the file, or left only lines that it had before, in their order.
fn only_takes_out(joint: &JointChange<'_>) -> Result<bool> {
    let Some(left) = joint.newest.run.left(joint.newest.index)? else { return Ok(true) };
    let old = joint.oldest.run.old(joint.oldest.index)?;
    Ok(old.is_some_and(|old| has_lines_of(&left, &old)))
}

fn has_lines_of(left: &[u8], old: &[u8]) -> bool {
    let mut before = old.split(|byte| *byte == b'\n');
    left.split(|byte| *byte == b'\n').all(|line| before.any(|one| one == line))
}

/// The blocks that these runs wrote. A block that was there before them belongs to another state directory or to a
/// person.
struct OwnBlocks(Vec<(Marks, Vec<u8>)>);

impl OwnBlocks {
    fn of(joint: &JointChange<'_>) -> Result<Self> {
        let left = joint.newest.run.left(joint.newest.index)?;
        let old = joint.oldest.run.old(joint.oldest.index)?;
        // If a file was edited between two runs that have been folded into one, the version "before" has the block of
        // the first run.
        let is_folded = joint.oldest.run.journal().folded.is_some();
        let mut own = left.as_ref().map(|left| blocks_of(left)).unwrap_or_default();
        let before = old.as_ref().filter(|_| !is_folded).map(|old| blocks_of(old)).unwrap_or_default();
        own.retain(|(marks, _)| !before.iter().any(|(known, _)| known == marks));
        Ok(Self(own))
    }

    /// The text without these blocks. If marks do not pair up, the text stays as it is.
    fn outside(&self, contents: &[u8]) -> Vec<u8> {
        let without = |text: Vec<u8>, (marks, _): &(Marks, Vec<u8>)| marks.remove(&text).unwrap_or(text);
        self.0.iter().fold(contents.to_vec(), without)
    }

    /// Whether each of these blocks is there as the last run wrote it, whatever was edited around it.
    fn is_whole_in(&self, now: &Snapshot) -> bool {
        let there = blocks_of(&now.contents);
        !self.0.is_empty() && self.0.iter().all(|block| there.contains(block))
    }
}

fn blocks_of(contents: &[u8]) -> Vec<(Marks, Vec<u8>)> {
    let blocks = block::all(contents).unwrap_or_default().into_iter();
    blocks.filter_map(|(marks, range)| Some((marks, contents.get(range)?.to_vec()))).collect()
}

/// The file as it is now, without the blocks.
fn cut(joint: &JointChange<'_>, own: &OwnBlocks, place: Place, now: Snapshot) -> FileUndo {
    let contents = own.outside(&now.contents);
    let is_left = !contents.is_empty() || joint.oldest.entry.before.is_some();
    let after = is_left.then(|| NewFile::new(contents, now.mode));
    change(joint, place, Some(now), after)
}

/// The file as it was before all runs, whatever was edited since.
fn discard(joint: &JointChange<'_>, own: &OwnBlocks, place: Place, now: Option<Snapshot>) -> Result<FileUndo> {
    let contents = old_copy(joint.oldest)?;
    let after = joint.oldest.entry.before.as_ref().zip(contents).map(|(before, contents)| NewFile {
        contents: Zeroizing::new(own.outside(&contents)),
        mode: before.mode,
        metadata: before.metadata.clone(),
    });
    Ok(change(joint, place, now, after))
}

fn change(joint: &JointChange<'_>, place: Place, before: Option<Snapshot>, after: Option<NewFile>) -> FileUndo {
    if before.is_none() && after.is_none() {
        return FileUndo::AsBefore;
    }
    let entry = joint.newest.entry;
    let scratch = (entry.temporary_at != entry.at).then(|| entry.temporary_at.directory.clone().into());
    let order = order(entry.order, before.as_ref(), after.is_some());
    FileUndo::Change(Box::new(FileChange { path: entry.path.clone(), place, before, after, order, scratch }))
}
