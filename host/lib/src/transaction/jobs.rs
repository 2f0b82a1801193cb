//! Jobs that an appliance runs by the clock, and that kept runs have left there.

use super::series::Series;
use crate::{
    error::Result,
    machine::{
        action::{Observed, Step},
        private::StateDir,
    },
};

/// The step of a kept run that left a job which runs this program; none where a later one took it out again.
///
/// # Errors
/// When the journals cannot be read.
pub fn job_left(state: &StateDir) -> Result<Option<Step>> {
    let series = Series::look(state)?;
    let mut steps = series.undoable.iter().flat_map(|run| run.journal().steps.iter().rev());
    let made = |step: &&Step| step.seen.as_ref().is_some_and(|seen| seen.after == Observed::Present);
    // Newest first: what was done last to the same job counts.
    let about = steps.find(|step| step.change.action.names_warded() || undoes_one(step));
    Ok(about.filter(made).cloned())
}

/// Whether it takes such a job out.
fn undoes_one(step: &Step) -> bool {
    step.seen.as_ref().is_some_and(|seen| seen.undo.action.names_warded())
}
