//! What a run brought in and a configuration may name: in a roll back it goes last, when sshd has been
//! told and nobody's file names it.

use super::{
    Order, interruption,
    journal::Entry,
    roll_back::{Found, LeftAlone, Outcome, RolledBack, is_version, look, restore},
    run_directory::Run,
};
use crate::machine::files::{Place, Root};
use std::collections::BTreeMap;

/// What the run brought in, and a configuration may name: keys, certificates, lists.
pub(super) fn until_told(entry: &Entry) -> bool {
    entry.before.is_none() && matches!(entry.order, Order::WriteKey | Order::WriteCertificate)
}

/// Takes out what the run brought in and nobody names any more. sshd refuses every public key where a
/// list of revoked ones that it was told of is missing. What stays does no harm: so the run has ended.
pub(super) fn take_out(
    root: &Root,
    run: &Run,
    brought_in: &[(usize, &Entry)],
    others: &[(usize, &Entry)],
    told: bool,
    done: &mut RolledBack,
) {
    let mut directories = BTreeMap::new();
    let theirs: Vec<&Entry> = others.iter().map(|(_, entry)| *entry).filter(|other| is_theirs(done, other)).collect();
    for (index, entry) in brought_in {
        let is_absent = |(target, _): (Place, Place)| matches!(look(&target, entry), Ok(Found::Nothing));
        let outcome = if entry.places(root).is_ok_and(|places| places.is_some_and(is_absent)) {
            Ok(Outcome::AsBefore)
        } else if !told {
            Ok(Outcome::LeftAlone("sshd has not been told that it goes, and may still read it".to_owned()))
        } else if let Some(other) = theirs.iter().find(|other| may_name(root, other, &entry.name)) {
            Ok(Outcome::LeftAlone(format!("{} was left alone, and may name it", other.path)))
        } else {
            restore(root, run, *index, entry, &mut directories)
        };
        let left = match outcome {
            Ok(Outcome::AsBefore) => None,
            Ok(Outcome::Restored) => {
                done.restored.push(entry.path.clone());
                None
            }
            Ok(Outcome::LeftAlone(why)) => Some(why),
            Err(error) => Some(error.message().to_owned()),
        };
        done.left_alone.extend(left.map(|why| LeftAlone { path: entry.path.clone(), why }));
        interruption::point("taken out");
    }
    // Whether a file that nobody names is gone for good, nobody depends on.
    drop(directories.into_values().try_for_each(|place: Place| place.sync_directory()));
}

fn is_theirs(done: &RolledBack, entry: &Entry) -> bool {
    done.left_alone.iter().any(|left| left.path == entry.path)
}

/// Whether a file that was left alone may name this one: the run had put its own in that place, and what
/// is there now has the name in it, or cannot be read.
fn may_name(root: &Root, left: &Entry, name: &str) -> bool {
    let Ok(Some((target, temporary))) = left.places(root) else { return true };
    if left.after.as_ref().is_some_and(|after| is_version(after, &temporary)) {
        return false;
    }
    match target.snapshot() {
        Ok(Some(found)) => found.contents.windows(name.len()).any(|part| part == name.as_bytes()),
        Ok(None) => false,
        Err(_) => true,
    }
}
