//! How long old copies are kept. They may be private keys, so not for ever.

use super::journal::{Run, State, numbers};
use crate::{error::Result, machine::private::StateDir};

/// The newest runs that can be undone.
pub(super) const RUNS_KEPT: usize = 20;

/// Removes what belongs to runs older than the newest [`RUNS_KEPT`] kept ones.
pub(super) fn prune(state: &StateDir) -> Result<()> {
    let mut kept = 0_usize;
    for number in numbers(state)? {
        let Some(run) = Run::look(state, number)? else {
            Run::discard_unbegun(state, number)?;
            continue;
        };
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
