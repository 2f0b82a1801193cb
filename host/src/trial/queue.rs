//! The queue of a scenario's run, after its files: programs that change what queries print, and reloads. Each of them
//! may fail.

use super::{Steps, named, programs::Failure};
use crate::{
    broker::Identity,
    pipeline::{Work, work::QueueItem},
};
use warded_lib::{
    error::Result,
    machine::action::{Fault as ActionFault, Step, StepRollback},
    transaction::{StillNamed, Transaction},
};

/// The position in the queue of what fails, and how. The position after the last one is the check of the result.
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

/// A fault in words.
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

/// Carries a run out up to the fault, and rolls it back. Returns what could not be rolled back, one sentence each.
pub(super) fn fails(steps: &Steps<'_>, identity: &Identity, work: &Work, fault: Fault) -> Result<Vec<String>> {
    let mut transaction = steps.begin(identity, work)?;
    run(steps, &transaction, work, Some(fault))?;
    roll_back(steps, &mut transaction)
}

/// Carries out a run in which a program fails as the scenario says, and rolls it back. Returns how it failed, and what
/// could not be rolled back, one sentence each.
pub(super) fn fails_as_described(
    steps: &Steps<'_>,
    identity: &Identity,
    work: &Work,
) -> Result<(Result<()>, Vec<String>)> {
    let mut transaction = steps.begin(identity, work)?;
    let ended = run(steps, &transaction, work, None);
    Ok((ended, roll_back(steps, &mut transaction)?))
}

fn roll_back(steps: &Steps<'_>, transaction: &mut Transaction) -> Result<Vec<String>> {
    let mut left = Vec::new();
    transaction.roll_back(|journal, done| {
        let ran: Vec<&Step> = done.steps.iter().rev().filter_map(|index| journal.steps.get(*index)).collect();
        for step in &ran {
            let why = match rolls_back(steps, step) {
                // A change that nothing undoes stays, as on a real machine.
                Ok(StepRollback::LeftAlone(why)) if step.seen.is_some() => why,
                Ok(StepRollback::AsBefore | StepRollback::RolledBack | StepRollback::LeftAlone(_)) => continue,
                Err(fault) => fault.message,
            };
            left.push(format!("`run {}` was not rolled back: {why}", step.change.name));
        }
        left.extend(again(ran.iter().copied(), |step| rolls_back(steps, step)));
        StillNamed::nothing()
    })?;
    Ok(left)
}

/// Rolls a program back, if it ran.
pub(super) fn rolls_back(steps: &Steps<'_>, step: &Step) -> Result<StepRollback, ActionFault> {
    steps.tree.programs.expects(step, true, None)?;
    step.roll_back(steps.context().runner.as_ref(), &mut || {})
}

/// Rolls programs back a second time, as if Warded had been killed before it noted the first time. Returns what that
/// changed, one sentence each.
pub(super) fn again<'a>(
    ran: impl Iterator<Item = &'a Step>,
    mut roll_back: impl FnMut(&Step) -> Result<StepRollback, ActionFault>,
) -> Vec<String> {
    let told =
        |step: &Step| format!("`run {}` was rolled back, and a second rollback changed something", step.change.name);
    // The first rollback has reported why a program was left alone or failed.
    ran.filter(|step| matches!(roll_back(step), Ok(StepRollback::RolledBack))).map(told).collect()
}

/// Runs the programs of the queue, up to the fault.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rolled_back_twice_is_told() {
        let step = r#"{ "after_reloads": 0, "change": { "name": "set", "warded": "",
            "action": { "kind": "change", "argv": ["/t"], "irreversible": true } } }"#;
        let step: Step = serde_json::from_str(step).unwrap();
        let left = StepRollback::LeftAlone(String::new());
        for (ended, expected) in [(StepRollback::AsBefore, 0), (left, 0), (StepRollback::RolledBack, 1)] {
            let told = again([&step].into_iter(), |_| Ok(ended.clone()));
            assert_eq!(told.len(), expected, "{ended:?}: {told:?}");
        }
    }
}
