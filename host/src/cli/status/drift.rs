//! What programs of kept runs changed and somebody has changed since.

use crate::{cli::outlook::Problem, context::Context};
use warded_lib::{error::Result, transaction};

/// What is no longer as the runs left it. Jobs are reported with the schedule.
///
/// # Errors
/// The journals cannot be read.
pub(super) fn look(context: &Context) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for step in transaction::settings_left(&context.state)? {
        let (name, Some(seen)) = (&step.change.name, &step.seen) else { continue };
        match seen.now(context.runner.as_ref()) {
            Ok((now, _)) if transaction::is_left(&seen.after, &now) => {}
            Ok(_) => problems.push(Problem::of_drift(
                format!("somebody changed what {name} had set: {} shows something else", seen.query.name),
                "repeat the procedure that set it; `warded history` names it",
            )),
            Err(fault) => {
                let seen = format!("cannot check whether the setting made by {name} is still there: {fault}");
                problems.push(Problem::with(seen, "see whether the appliance's services run, then look again"));
            }
        }
    }
    Ok(problems)
}
