//! Rolls back what programs of a run changed, in reverse order, guided by what the state query of each shows now.

use super::{Recovery, event};
use crate::pipeline::settle;
use warded_lib::{
    audit::Kind,
    error::{Error, Result},
    machine::action::{Step, StepRollback},
    transaction::{Journal, RollbackReport, RunIdentity},
};

impl Recovery<'_> {
    /// Rolls back the programs that may have run, the last one first. If one cannot be rolled back, those before it
    /// wait, too.
    pub(super) fn roll_back_programs(
        &self,
        journal: &Journal,
        done: &RollbackReport,
        begins: &mut dyn FnMut(),
    ) -> Vec<(String, Result<StepRollback>)> {
        let mut ended = Vec::new();
        if done.steps.is_empty() {
            return ended;
        }
        // A program that outlived its run could still change the same state.
        self.runner.wait_for_left(begins);
        for step in done.steps.iter().rev().filter_map(|index| journal.steps.get(*index)) {
            let outcome = self.roll_back_program(&journal.run, step, begins);
            let failed = outcome.is_err();
            ended.push((step.change.name.to_string(), outcome));
            if failed {
                break;
            }
        }
        ended
    }

    /// If it cannot be recorded, the change is rolled back all the same: a full disk may be the reason for this
    /// rollback.
    fn roll_back_program(&self, run: &RunIdentity, step: &Step, begins: &mut dyn FnMut()) -> Result<StepRollback> {
        let event = |kind| settle::of_program(event(run, kind), step);
        drop(self.log.append_synced(&event(Kind::Intent).detail("roll it back")));
        let outcome = step.roll_back(self.runner.as_ref(), begins).map_err(Error::from);
        let detail = match &outcome {
            Ok(StepRollback::AsBefore) => "it had not run",
            Ok(StepRollback::RolledBack) => "rolled back",
            Ok(StepRollback::LeftAlone(why)) => why,
            Err(error) => error.message(),
        };
        let kind = if outcome.is_ok() { Kind::Result } else { Kind::Failed };
        drop(self.log.append(&event(kind).detail(detail)));
        outcome
    }
}
