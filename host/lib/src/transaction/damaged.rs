//! Runs whose journals or copies cannot be read. A run that has ended does not stop anything. Whether another run has
//! ended cannot be known, so it does.

use super::{
    journal::{FILE, State},
    run_directory::{RUNS, Run, numbers},
    series::Series,
};
use crate::{
    error::{Error, Result},
    machine::private::StateDir,
};

/// Why the journals of ended runs, or the copies of runs that could still be undone, cannot be read.
///
/// # Errors
/// When the state directory cannot be read.
pub fn damaged(state: &StateDir) -> Result<Vec<Error>> {
    let mut damaged = Vec::new();
    for number in numbers(state)? {
        if let Err(error) = Run::look(state, number)
            && has_ended(state, number)?
        {
            damaged.push(error);
        }
    }
    damaged.extend(Series::look(state)?.undoable.iter().filter_map(Run::copies_fault));
    Ok(damaged)
}

/// A run; none where there is no journal, or where the run has ended and its journal cannot be read.
pub(super) fn look(state: &StateDir, number: u64) -> Result<Option<Run>> {
    match Run::look(state, number) {
        Err(_) if has_ended(state, number)? => Ok(None),
        found => found,
    }
}

/// Whether a run has ended, found out without its journal: its later states lie beside the journal until the run has
/// ended and is tidied up, and a process that works on a run locks its directory.
pub(super) fn has_ended(state: &StateDir, number: u64) -> Result<bool> {
    let Some(directory) = state.find_sub(&format!("{RUNS}/{number}"))? else { return Ok(true) };
    let is_pending = |name: &String| name != FILE && State::ALL.iter().any(|state| state.file() == name);
    Ok(!directory.is_locked()? && !directory.names()?.iter().any(is_pending))
}
