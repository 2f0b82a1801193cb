//! What kept runs have left behind: files, and by their programs also jobs that an appliance runs by the clock, and
//! stored settings.

use super::{
    earlier_texts::real,
    journal::{Entry, Journal},
    run_directory::Run,
    series::{JointChange, Part, Series},
};
use crate::{
    digest::Digest,
    error::Result,
    machine::{
        action::{StateValue, Step},
        bounded,
        path::AbsolutePath,
        private::StateDir,
    },
};
use sshd_config::block;
use std::{collections::BTreeSet, io, path::PathBuf};
use zeroize::Zeroizing;

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

/// A file that kept runs left with a block of lines, and in which no such block is any more.
#[derive(Debug)]
pub struct LostBlock {
    /// Its path, without links.
    pub path: PathBuf,
    /// The newest of these runs.
    pub run: u64,
    /// The procedures that wrote the block, in the order in which they ran first.
    pub procedures: Vec<String>,
    text: Zeroizing<Vec<u8>>,
}

impl LostBlock {
    /// Whether another text has the block, and no other one.
    #[must_use]
    pub fn is_in(&self, text: &[u8]) -> bool {
        blocks(&self.text) == blocks(text)
    }
}

/// The files in which a block is lost. A service reads what comes of them; sshd's main configuration file is left out,
/// since sshd itself shows what it lacks.
///
/// # Errors
/// When the journals cannot be read.
pub fn lost_blocks(state: &StateDir) -> Result<Vec<LostBlock>> {
    let series = Series::look(state)?;
    let lost = JointChange::all(&series.undoable).into_iter().filter_map(|joint| {
        let Part { run, index, entry } = joint.newest;
        let journal = run.journal();
        let is_source = !journal.reloads.is_empty() && journal.readers().all(|main| *main != entry.path);
        let left = run.left(index).ok().flatten().filter(|_| is_source)?;
        let path = real(entry);
        let now = match bounded::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            now => now.ok()?,
        };
        let is_lost = !blocks(&left).is_empty() && block::all(&now).is_ok_and(|found| found.is_empty());
        let procedures = procedures(&series, entry);
        is_lost.then(|| LostBlock { path, run: journal.run.run, procedures, text: left })
    });
    Ok(lost.collect())
}

/// The procedures that wrote what a file has now, in the order in which they ran first.
fn procedures(series: &Series, file: &Entry) -> Vec<String> {
    let of_run = |run: &Run| {
        let entry = run.journal().entries.iter().find(|entry| entry.is_of_same_file(file))?;
        Some((entry.after.is_some(), run.journal().run.procedure.to_string()))
    };
    let wrote = series.undoable.iter().filter_map(of_run).take_while(|(wrote, _)| *wrote);
    let mut procedures: Vec<String> = wrote.map(|(_, procedure)| procedure).collect();
    procedures.reverse();
    let mut known = BTreeSet::new();
    procedures.retain(|procedure| known.insert(procedure.clone()));
    procedures
}

/// The file of this name that a kept run left for the sshd with this main configuration file.
///
/// # Errors
/// When the journals cannot be read.
pub fn list_left(state: &StateDir, config: &AbsolutePath, name: &str) -> Result<Option<AbsolutePath>> {
    let series = Series::look(state)?;
    let newest = JointChange::all(&series.undoable).into_iter().map(|joint| joint.newest);
    let mut lists = newest.filter(|part| part.entry.name == name && part.entry.after.is_some());
    let list = lists.find(|part| part.run.journal().sshds().any(|sshd| sshd == config));
    Ok(list.map(|part| part.entry.path.clone()))
}

/// Whether what a step left is still there. In a text with a marked block only that block counts: the rest belongs to
/// an administrator.
#[must_use]
pub fn is_left(after: &StateValue, now: &StateValue) -> bool {
    if after == now {
        return true;
    }
    let (Some(after), Some(now)) = (text(after), text(now)) else { return false };
    let (own, there) = (blocks(after.as_bytes()), blocks(now.as_bytes()));
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
    let has_block = |state| text(state).is_some_and(|text| !blocks(text.as_bytes()).is_empty());
    has_block(&seen.after) || !has_block(&seen.before)
}

fn text(state: &StateValue) -> Option<&str> {
    match state {
        StateValue::Value(value) => value.as_str(),
        StateValue::Absent | StateValue::Present => None,
    }
}

fn blocks(text: &[u8]) -> Vec<&[u8]> {
    let found = block::all(text).unwrap_or_default().into_iter();
    found.filter_map(|(_, range)| text.get(range)).collect()
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
