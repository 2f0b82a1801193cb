//! How long old copies are kept. They may be private keys, so not for ever.

use super::{
    LeftAlone,
    journal::State,
    roll_back::untidy,
    run_directory::{Run, numbers},
};
use crate::{error::Result, machine::private::StateDir};

/// The newest runs that can be undone.
pub(super) const RUNS_KEPT: usize = 20;

/// Removes what belongs to runs older than the newest [`RUNS_KEPT`] kept ones, and to runs that
/// never began.
pub(super) fn prune(state: &StateDir) -> Result<()> {
    discard_unbegun(state)?;
    let mut kept = 0_usize;
    for number in numbers(state)? {
        let Some(run) = Run::look(state, number)? else { continue };
        if kept >= RUNS_KEPT {
            // Not one that was interrupted: that still has to be taken back.
            if run.journal().is_final() {
                run.remove(state)?;
            }
        } else if run.journal().state == State::Kept {
            kept += 1;
        }
    }
    Ok(())
}

/// The same, where that is no reason to fail: the next run tries again.
pub(super) fn prune_if_possible(state: &StateDir) -> Option<LeftAlone> {
    let error = prune(state).err()?;
    LeftAlone::at(state.path(), untidy("what earlier runs left", &error))
}

/// Removes what belongs to runs that reserved a number and never began. Not the newest: as long as
/// it is there, nobody else gets a number that was given before. One that is still to begin makes
/// its directory again.
pub(super) fn discard_unbegun(state: &StateDir) -> Result<()> {
    for number in numbers(state)?.into_iter().skip(1) {
        if Run::look(state, number)?.is_none() {
            Run::discard_unbegun(state, number)?;
        }
    }
    Ok(())
}
