//! A known_hosts file: ssh adds hosts to it all the time, so an undo removes only the run's own lines.

use super::{FileUndo, order};
use crate::{
    error::Result,
    machine::files::{Place, Snapshot},
    transaction::{
        change::{FileChange, NewFile},
        series::JointChange,
    },
};
use sshd_config::known_hosts::{is_file_name, undone};
use zeroize::Zeroizing;

/// Whether a file is undone line by line.
pub(super) fn is_undone_by_lines(joint: &JointChange<'_>, place: &Place) -> bool {
    let path = joint.newest.entry.path.as_path();
    path.file_name().and_then(|name| name.to_str()).is_some_and(is_file_name) || is_file_name(place.name())
}

/// How to undo it; none where the copies of the run are gone.
pub(super) fn undo(joint: &JointChange<'_>, place: &Place, now: Option<&Snapshot>) -> Result<Option<FileUndo>> {
    let Some(now) = now else { return Ok(Some(FileUndo::AsBefore)) };
    let Some(left) = joint.newest.run.left(joint.newest.index)? else { return Ok(None) };
    let before = joint.oldest.run.old(joint.oldest.index)?;
    if before.is_none() && joint.oldest.entry.before.is_some() {
        return Ok(None);
    }
    let before = before.unwrap_or_default();
    let contents = undone(&before, &left, &now.contents);
    if contents == *now.contents {
        return Ok(Some(FileUndo::AsBefore));
    }
    let is_left = !contents.is_empty() || joint.oldest.entry.before.is_some();
    let after = is_left.then_some(NewFile { contents: Zeroizing::new(contents), mode: now.mode, metadata: None });
    Ok(Some(FileUndo::Change(Box::new(FileChange {
        path: joint.newest.entry.path.clone(),
        place: place.clone(),
        before: Some(now.clone()),
        order: order(joint.newest.entry.order, Some(now), after.is_some()),
        after,
        scratch: None,
    }))))
}
