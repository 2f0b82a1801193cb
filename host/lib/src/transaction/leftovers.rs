//! What kept runs have left behind: files, and by their programs also jobs that an appliance runs by the clock, and
//! stored settings.

use super::{
    earlier_texts::real,
    journal::Journal,
    run_directory::Run,
    series::{JointChange, Series},
};
use crate::{
    digest::Digest,
    error::Result,
    machine::{
        action::{StateValue, Step},
        private::StateDir,
    },
};
use sshd_config::block;
use std::path::PathBuf;

/// The step of a kept run that left a job which runs this program; none where a later step removed the job.
///
/// # Errors
/// When the journals cannot be read.
pub fn job_left(state: &StateDir) -> Result<Option<Step>> {
    let series = Series::look(state)?;
    let mut steps = steps(&series);
    let made = |step: &&Step| step.seen.as_ref().is_some_and(|seen| seen.after == StateValue::Present);
    // Newest first: the last change of the same job counts.
    let about = steps.find(|step| is_about_job(step));
    Ok(about.filter(made).cloned())
}

/// The steps of kept runs whose states should still be there, the newest for each state. Leaves out [`job_left`], and
/// steps that removed what earlier ones had put there.
///
/// # Errors
/// When the journals cannot be read.
pub fn settings_left(state: &StateDir) -> Result<Vec<Step>> {
    let series = Series::look(state)?;
    let mut newest: Vec<&Step> = Vec::new();
    for step in steps(&series).filter(|step| !is_about_job(step)) {
        if !newest.iter().any(|known| known.is_about_same(step)) {
            newest.push(step);
        }
    }
    Ok(newest.into_iter().filter(|step| leaves_something(step)).cloned().collect())
}

/// The files that runs left and that no undo has taken back, by their paths without links, each with its digest if
/// the runs left a file.
///
/// # Errors
/// When the journals cannot be read.
pub fn files_left(state: &StateDir) -> Result<Vec<(PathBuf, Option<Digest>)>> {
    let series = Series::look(state)?;
    let newest = JointChange::all(&series.undoable).into_iter().map(|joint| joint.newest.entry);
    Ok(newest.map(|entry| (real(entry), entry.after.as_ref().map(|after| after.digest))).collect())
}

/// Whether what a step left is still there. In a text with a marked block only that block counts: the rest belongs to
/// an administrator.
#[must_use]
pub fn is_left(after: &StateValue, now: &StateValue) -> bool {
    if after == now {
        return true;
    }
    let (Some(after), Some(now)) = (text(after), text(now)) else { return false };
    let (own, there) = (blocks(after), blocks(now));
    !own.is_empty() && own.iter().all(|block| there.contains(block))
}

/// Whether the policy's own procedure `remove` was the last of its kept runs.
pub(super) fn is_removed(runs: &[Run], policy: &str) -> bool {
    let mut of_policy = runs.iter().map(Run::journal).filter(|journal| journal.run.policy == policy);
    of_policy.next().is_some_and(is_removal)
}

/// The policies whose kept runs can be undone, the newest first; without those whose own procedure `remove` came
/// last.
///
/// # Errors
/// When the journals cannot be read.
pub fn policies_left(state: &StateDir) -> Result<Vec<String>> {
    let runs = Series::look(state)?.undoable;
    let mut policies: Vec<String> = Vec::new();
    for policy in runs.iter().map(|run| &run.journal().run.policy) {
        if !policies.contains(policy) && !is_removed(&runs, policy) {
            policies.push(policy.clone());
        }
    }
    Ok(policies)
}

/// Whether a run was a policy's procedure that removes what the others put there.
pub(super) fn is_removal(journal: &Journal) -> bool {
    journal.run.procedure == "remove"
}

fn steps(series: &Series) -> impl Iterator<Item = &Step> {
    series.undoable.iter().flat_map(|run| run.journal().steps.iter().rev())
}

/// Whether it adds or removes a job that runs this program.
fn is_about_job(step: &Step) -> bool {
    step.change.action.names_warded() || step.seen.as_ref().is_some_and(|seen| seen.undo.action.names_warded())
}

/// Whether the step put something there, rather than only removing something.
fn leaves_something(step: &Step) -> bool {
    let Some(seen) = &step.seen else { return false };
    let has_block = |state| text(state).is_some_and(|text| !blocks(text).is_empty());
    has_block(&seen.after) || !has_block(&seen.before)
}

fn text(state: &StateValue) -> Option<&str> {
    match state {
        StateValue::Value(value) => value.as_str(),
        StateValue::Absent | StateValue::Present => None,
    }
}

fn blocks(text: &str) -> Vec<&[u8]> {
    let found = block::all(text.as_bytes()).unwrap_or_default().into_iter();
    found.filter_map(|(_, range)| text.as_bytes().get(range)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_text_with_a_block_only_that_counts() {
        let value = |text: &str| StateValue::Value(text.into());
        let block = "# BEGIN warded\nHostCertificate /a\n# END warded\n";
        for (after, now, expected) in [
            (value("x"), value("x"), true),
            (value("x"), value("y"), false),
            (value(block), value(&format!("theirs\n{block}more\n")), true),
            (value(block), value(&block.replace("/a", "/b")), false),
            (value(block), value("theirs\n"), false),
            (value(block), StateValue::Absent, false),
            (StateValue::Present, StateValue::Absent, false),
            (StateValue::Absent, StateValue::Absent, true),
        ] {
            assert_eq!(is_left(&after, &now), expected, "{after:?} {now:?}");
        }
    }
}
