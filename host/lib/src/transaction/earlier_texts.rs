//! What earlier runs wrote, by their records.

use super::{
    change::Order,
    journal::{Entry, State},
    run_directory::Run,
    series::Series,
};
use crate::{error::Result, machine::private::StateDir};
use std::path::{Path, PathBuf};

/// The contents of a file before a run and after it; none: there was no file.
pub type BeforeAfter = [Option<Vec<u8>>; 2];

/// The files other than keys and certificates that runs changed and kept, the oldest run first: the path of each
/// without links, and its contents. What an undo put back is left out, since anybody may have written it.
///
/// # Errors
/// When the state directory cannot be read.
pub fn written(state: &StateDir) -> Result<Vec<(PathBuf, BeforeAfter)>> {
    let Series { undoable, spent, .. } = Series::look(state)?;
    let is_kept = |run: &Run| run.journal().state == State::Kept && run.journal().run.undoes.is_none();
    let mut runs: Vec<Run> = undoable.into_iter().chain(spent).filter(is_kept).collect();
    runs.sort_by_key(|run| run.journal().run.run);
    let mut written = Vec::new();
    for run in &runs {
        for (index, entry) in run.journal().entries.iter().enumerate() {
            if !matches!(entry.order, Order::WriteOther | Order::RemoveOther) {
                continue;
            }
            // Without its copy a text is unknown: `damaged.rs` reports copies that cannot be read.
            let (Ok(old), Ok(left)) = (run.old(index), run.left(index)) else { continue };
            let is_known = old.is_some() == entry.before.is_some() && left.is_some() == entry.after.is_some();
            if is_known {
                written.push((real(entry), [old, left].map(|copy| copy.map(|copy| copy.to_vec()))));
            }
        }
    }
    Ok(written)
}

/// The path of the file, without links.
pub(super) fn real(entry: &Entry) -> PathBuf {
    Path::new(&entry.at.directory).join(&entry.name)
}
