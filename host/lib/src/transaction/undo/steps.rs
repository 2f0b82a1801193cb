//! What programs of the undone runs changed is reverted by programs, where it is still as the runs left it.

use super::Undo;
use crate::{
    error::{Error, Result},
    machine::action::{Runner, StateChange, Step},
    name::Name,
    transaction::run_directory::Run,
};

/// The steps that undo those of the runs, given newest first; and the programs that nothing can undo.
pub(super) fn back<'a>(runs: impl IntoIterator<Item = &'a Run>) -> (Vec<Step>, Vec<Name>) {
    let (mut steps, mut irreversible) = (Vec::new(), Vec::new());
    for step in runs.into_iter().flat_map(|run| run.journal().steps.iter().rev()) {
        match step.inverse() {
            Some(inverse) => steps.push(inverse),
            None => irreversible.push(step.change.name.clone()),
        }
    }
    (steps, irreversible)
}

impl Undo {
    /// Queries the present states, and drops the steps whose states are already as before.
    ///
    /// # Errors
    /// Refused: what a program of the runs changed has been changed again since. Failed: its state cannot be queried.
    pub fn look_at_states(&mut self, runner: &dyn Runner) -> Result<()> {
        let mut kept: Vec<Step> = Vec::new();
        for step in std::mem::take(&mut self.steps) {
            let Some(seen) = &step.seen else { continue };
            let now = match kept.iter().rfind(|earlier| earlier.is_about_same(&step)).and_then(|one| one.seen.as_ref())
            {
                Some(earlier) => earlier.after.clone(),
                None => seen.now(runner)?.0,
            };
            if now == seen.before {
                lead_on(&mut kept, step);
            } else if now != seen.after {
                return Err(Error::refused(format!("{} is not undone", self.run))
                    .cause(format!("what {} shows was changed after that run", seen.query.name))
                    .next(
                        "set that back by hand to what the run left or to what was there before, then run this again",
                    ));
            }
        }
        kept.retain(Step::differs);
        self.steps = kept;
        Ok(())
    }
}

/// Adds a step, merging it with an earlier one about the same state: an appliance acts on each state that it gets,
/// and the intermediate ones were never proved.
fn lead_on(steps: &mut Vec<Step>, next: Step) {
    let earlier = steps.iter_mut().rfind(|earlier| earlier.is_about_same(&next));
    match earlier.and_then(|earlier| Some((&mut earlier.change, earlier.seen.as_mut()?))).zip(next.seen.as_ref()) {
        Some(((change, seen), StateChange { after, .. })) => {
            *change = next.change.clone();
            seen.after = after.clone();
        }
        None => steps.push(next),
    }
}
