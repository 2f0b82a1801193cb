//! Makes one run of two successive kept runs, to be undone in one step: so the way back to before the first run stays
//! open, however many runs follow.

use super::{
    change::Order,
    journal::Entry,
    run_directory::{Copies, Run},
};
use crate::{
    error::Result,
    machine::{interruption, keys::holds_private_key, private::StateDir},
};

/// Folds the later run into the earlier one. After an interruption, either both are as they were, or the earlier one
/// stands for both, and the next attempt removes what is left of the later one.
pub(super) fn fold(state: &StateDir, earlier: u64, later: u64) -> Result<()> {
    let (Some(mut into), Some(mut from)) = (Run::open(state, earlier)?, Run::open(state, later)?) else {
        return Ok(());
    };
    // Every command since has reported the damaged copies, and they must not keep runs from being folded for ever.
    into.forget_damaged_copies()?;
    from.forget_damaged_copies()?;
    let mut journal = into.journal().clone();
    let mut free = 0;
    for (index, entry) in journal.entries.iter_mut().enumerate() {
        let number = entry.copies(index);
        entry.copies = Some(number);
        free = free.max(number + 1);
    }
    let mut copies = Vec::new();
    for (index, entry) in from.journal().entries.iter().enumerate() {
        let known = journal.entries.iter().position(|known| known.is_of_same_file(entry));
        let known = known.and_then(|at| Some((at, journal.entries.get(at)?.clone())));
        let (old, before) = match &known {
            Some((at, known)) if entry.continues(known) => (into.old(*at)?, known.before.clone()),
            // Somebody edited the file in between: the way back ends at that edit.
            Some(_) | None => (from.old(index)?, entry.before.clone()),
        };
        // Copies get new numbers: until the journal is replaced, it refers to the copies by their old numbers.
        copies.push(Copies { number: free, old, left: from.left(index)? });
        let folded = Entry { before, copies: Some(free), ..entry.clone() };
        free += 1;
        match known.and_then(|(at, _)| journal.entries.get_mut(at)) {
            Some(known) => *known = folded,
            None => journal.entries.push(folded),
        }
    }
    into.store_copies(&copies)?;
    interruption::point("copies stored");
    let replaced = replaced_keys(&into, &journal.entries)?;
    journal.entries.retain(|entry| !replaced.iter().any(|key| is_of_key(entry, key)));
    journal.steps.extend(from.journal().steps.iter().cloned());
    // The directories that the later run removed are made again when needed.
    journal.directories.extend(from.journal().directories.iter().filter(|directory| !directory.goes).cloned());
    journal.folded = Some(later);
    journal.run.enrols |= from.journal().run.enrols;
    journal.folded_sshds.extend(from.journal().sshds().cloned());
    into.replace_journal(journal)?;
    into.remove_spare_copies()?;
    interruption::point("spare copies removed");
    from.remove(state)
}

/// Removes what an interrupted fold left in the run that stands for both.
pub(super) fn finish(state: &StateDir, into: u64) -> Result<()> {
    let Some(mut into) = Run::open(state, into)? else { return Ok(()) };
    into.forget_damaged_copies()?;
    into.remove_spare_copies()
}

/// The private keys that the run replaced. A key that was given up, perhaps because somebody else got to know it,
/// must not be kept for ever.
fn replaced_keys(run: &Run, entries: &[Entry]) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for entry in entries.iter().filter(|entry| matches!(entry.order, Order::WriteKey | Order::RemoveKey)) {
        if let Some(number) = entry.copies
            && run.old_copy(number)?.is_some_and(|old| holds_private_key(&old))
        {
            keys.push(entry.path.as_str().to_owned());
        }
    }
    Ok(keys)
}

/// Whether the entry is for the private key or its `.pub` file.
fn is_of_key(entry: &Entry, key: &str) -> bool {
    let path = entry.path.as_str();
    path == key || path.strip_suffix(".pub") == Some(key)
}
