//! Taking back everything that runs did. Unlike the undo of some of them, this one leaves no marked block, and keeps
//! host keys: clients know those that are served now, and former ones may have been given up for a reason.

use super::{Edits, Found, old_copy, order, undo_one};
use crate::{
    error::Result,
    machine::files::{Place, Root, Snapshot},
    transaction::{
        change::{FileChange, NewFile, Order},
        series::Joint,
    },
};
use sshd_config::block;
use zeroize::Zeroizing;

/// What there is to do about one file.
pub(super) fn undo(root: &Root, joint: &Joint<'_>, edits: Edits) -> Result<Found> {
    if matches!(joint.newest.entry.order, Order::WriteKey | Order::RemoveKey) {
        return Ok(Found::KeyLeft);
    }
    let found = undo_one(root, joint)?;
    let Some((place, _)) = joint.newest.entry.places(root)? else { return Ok(found) };
    match found {
        // What is restored may be what was there between two runs: with the block of the earlier one.
        Found::Change(mut change) => {
            if let Some(after) = &mut change.after {
                after.contents = Zeroizing::new(without_block(&after.contents));
            }
            Ok(Found::Change(change))
        }
        Found::Edited(difference) => match place.snapshot() {
            Ok(Some(now)) if has_block_of(joint, &now)? => Ok(cut(joint, place, now)),
            Ok(now) if edits == Edits::Discard => discard(joint, place, now),
            Ok(_) | Err(_) => Ok(Found::Edited(difference)),
        },
        Found::AsBefore | Found::KeyLeft => Ok(found),
    }
}

/// Where the marks are no pair, all of it stays.
fn without_block(contents: &[u8]) -> Vec<u8> {
    block::outside(contents).map_or_else(|_| contents.to_vec(), |lines| lines.concat())
}

fn blocks_of(contents: &[u8]) -> Vec<&[u8]> {
    let blocks = block::all(contents).unwrap_or_default();
    blocks.into_iter().filter_map(|(_, range)| contents.get(range)).collect()
}

/// Whether the block that the last run wrote is there, whatever was edited around it.
fn has_block_of(joint: &Joint<'_>, now: &Snapshot) -> Result<bool> {
    let left = joint.newest.run.left(joint.newest.index)?;
    let written = left.as_ref().map(|left| blocks_of(left)).unwrap_or_default();
    Ok(!written.is_empty() && written == blocks_of(&now.contents))
}

/// The file as it is now, without the block.
fn cut(joint: &Joint<'_>, place: Place, now: Snapshot) -> Found {
    let contents = without_block(&now.contents);
    let is_left = !contents.is_empty() || joint.oldest.entry.before.is_some();
    let after = is_left.then(|| NewFile::new(contents, now.mode));
    change(joint, place, Some(now), after)
}

/// The file as it was before all runs, whatever was edited since.
fn discard(joint: &Joint<'_>, place: Place, now: Option<Snapshot>) -> Result<Found> {
    let contents = old_copy(joint.oldest)?;
    let after = joint.oldest.entry.before.as_ref().zip(contents).map(|(before, contents)| NewFile {
        contents: Zeroizing::new(without_block(&contents)),
        mode: before.mode,
        metadata: before.metadata.clone(),
    });
    Ok(change(joint, place, now, after))
}

fn change(joint: &Joint<'_>, place: Place, before: Option<Snapshot>, after: Option<NewFile>) -> Found {
    if before.is_none() && after.is_none() {
        return Found::AsBefore;
    }
    let entry = joint.newest.entry;
    let scratch = (entry.temporary_at != entry.at).then(|| entry.temporary_at.directory.clone().into());
    let order = order(entry.order, after.is_some());
    Found::Change(Box::new(FileChange { path: entry.path.clone(), place, before, after, order, scratch }))
}
