//! What follows the files of a scenario's run: programs that change what queries print, and reloads, each of which may fail.

use super::{Steps, named, programs::Failure};
use crate::{
    broker::Identity,
    pipeline::{Work, work::QueueItem},
};
use warded_lib::{
    error::Result,
    machine::action::StepRollback,
    transaction::{StillNamed, Transaction},
};

/// The place in the queue of what fails, and how. Behind the last one: a look at the result.
pub(super) type Fault = (usize, Failure);

/// Every way in which the queue can fail.
pub(super) fn faults(work: &Work) -> Vec<Fault> {
    let queue = work.queue();
    let of = |(at, item): (usize, &QueueItem<'_>)| match item {
        QueueItem::Program(..) => vec![(at, Failure::Before), (at, Failure::After)],
        QueueItem::Reload(_) => vec![(at, Failure::After)],
    };
    let each: Vec<Fault> = queue.iter().enumerate().flat_map(of).collect();
    if each.is_empty() { vec![(queue.len(), Failure::After)] } else { each }
}

/// What a fault is, in words.
pub(super) fn told(work: &Work, (at, failure): Fault) -> String {
    match work.queue().get(at).copied() {
        Some(item @ QueueItem::Program(..)) => {
            let done = if failure == Failure::Before { "did nothing" } else { "did its work" };
            format!("`{}` {done} and failed", named(item))
        }
        Some(item @ QueueItem::Reload(_)) => format!("`{}` failed", named(item)),
        None => "the result was not as it should be".to_owned(),
    }
}

/// Carries a run out up to what fails, and rolls it back. What could not be rolled back, a sentence each.
pub(super) fn fails(steps: &Steps<'_>, identity: &Identity, work: &Work, fault: Fault) -> Result<Vec<String>> {
    let mut transaction = steps.begin(identity, work)?;
    run(steps, &transaction, work, Some(fault))?;
    let mut left = Vec::new();
    transaction.roll_back(|journal, done| {
        for step in done.steps.iter().rev().filter_map(|index| journal.steps.get(*index)) {
            let expected = steps.tree.programs.expects(step, true, None);
            let ended = expected.and_then(|()| step.roll_back(steps.context().runner.as_ref(), &mut || {}));
            let why = match ended {
                // What nothing undoes stays, as on a machine.
                Ok(StepRollback::LeftAlone(why)) if step.seen.is_some() => why,
                Ok(StepRollback::AsBefore | StepRollback::RolledBack | StepRollback::LeftAlone(_)) => continue,
                Err(fault) => fault.message,
            };
            left.push(format!("`run {}` was not rolled back: {why}", step.change.name));
        }
        StillNamed::nothing()
    })?;
    Ok(left)
}

/// Runs the programs of the queue, up to what fails.
pub(super) fn run(steps: &Steps<'_>, transaction: &Transaction, work: &Work, fault: Option<Fault>) -> Result<()> {
    for (at, item) in work.queue().into_iter().enumerate() {
        let failure = fault.filter(|(fails, _)| *fails == at).map(|(_, failure)| failure);
        match item {
            QueueItem::Program(index, step) => {
                transaction.note_step_begins(index)?;
                steps.tree.programs.expects(step, false, failure)?;
                let ended = step.carry_out(steps.context().runner.as_ref(), &mut || {});
                if failure.is_none() {
                    ended?;
                }
            }
            QueueItem::Reload(_) => {}
        }
        if failure.is_some() {
            break;
        }
    }
    Ok(())
}
