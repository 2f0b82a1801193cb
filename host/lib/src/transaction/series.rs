//! The kept runs of a state directory: which of them can still be undone, and what several of them together did to a
//! file.

use super::{
    change::Version,
    journal::{Entry, State},
    run_directory::{Run, numbers},
};
use crate::{
    error::{Error, Result},
    machine::{
        files::{Place, Root},
        private::StateDir,
    },
};
use std::ops::RangeInclusive;

/// The runs that have ended, the newest first.
#[derive(Debug, Default)]
pub(super) struct Series {
    pub(super) undoable: Vec<Run>,
    /// Undos, the runs that they undid, and runs that were rolled back.
    pub(super) spent: Vec<Run>,
    /// Runs for which an earlier run stands: an interrupted fold left them.
    pub(super) folded: Vec<Run>,
    /// Why nothing is known of the runs before those.
    pub(super) fault: Option<Error>,
}

impl Series {
    pub(super) fn look(state: &StateDir) -> Result<Self> {
        let mut series = Self::default();
        let mut ended = Vec::new();
        for number in numbers(state)? {
            match Run::look(state, number) {
                Ok(run) => ended.extend(run.filter(|run| run.journal().is_final())),
                Err(error) => {
                    series.fault = Some(error);
                    break;
                }
            }
        }
        let kept = ended.iter().map(Run::journal).filter(|journal| journal.state == State::Kept);
        let undone: Vec<RangeInclusive<u64>> = kept.clone().filter_map(|journal| journal.run.undone()).collect();
        // Only the newest folded run can still be there: earlier folds removed the runs before it.
        let folded: Vec<RangeInclusive<u64>> = kept.filter_map(|journal| journal.folded).map(|run| run..=run).collect();
        for run in ended {
            let journal = run.journal();
            let is_in = |spans: &[RangeInclusive<u64>]| spans.iter().any(|span| span.contains(&journal.run.run));
            let changes_something = !(journal.entries.is_empty() && journal.steps.is_empty());
            let has_effects = journal.state == State::Kept && journal.run.undoes.is_none() && changes_something;
            if is_in(&folded) {
                series.folded.push(run);
            } else if has_effects && !is_in(&undone) {
                series.undoable.push(run);
            } else {
                series.spent.push(run);
            }
        }
        Ok(series)
    }

    /// The steps in which the runs can be undone, the newest first.
    pub(super) fn steps(&self) -> Vec<Step<'_>> {
        let mut steps: Vec<Step<'_>> = Vec::new();
        let mut renewals: Vec<&Run> = Vec::new();
        for run in &self.undoable {
            if run.only_renews() {
                renewals.push(run);
            } else {
                steps.push(Step { base: run, renewals: std::mem::take(&mut renewals) });
            }
        }
        steps
    }
}

/// What one undo reverts: a run, and the renewals since. Undoing only a renewal would restore certificates that
/// expire sooner.
#[derive(Debug)]
pub(super) struct Step<'a> {
    /// The run that changed more than certificates.
    pub(super) base: &'a Run,
    /// The renewals since, the newest first.
    pub(super) renewals: Vec<&'a Run>,
}

impl Step<'_> {
    /// How many runs it undoes.
    pub(super) fn len(&self) -> usize {
        self.renewals.len() + 1
    }
}

/// Refuses a run whose number an undo has covered meanwhile: the run would itself count as undone.
pub(super) fn refuse_undone(state: &StateDir, number: u64) -> Result<()> {
    let undone = Series::look(state)?.spent.into_iter().map(Run::into_journal);
    let mut undos = undone.filter(|journal| journal.state == State::Kept);
    match undos.find(|journal| journal.run.undone().is_some_and(|runs| runs.contains(&number))) {
        None => Ok(()),
        Some(undo) => Err(Error::refused(format!("{} was made after this was planned", undo.run))
            .cause("it undid runs that were made before and after that")
            .next("run this again: it starts from what is there now")),
    }
}

/// One run's change of one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) run: &'a Run,
    pub(super) index: usize,
    pub(super) entry: &'a Entry,
}

/// The changes of several runs to one file, taken together.
#[derive(Debug)]
pub(super) struct JointChange<'a> {
    /// The newest version, which is in place unless somebody has edited the file since.
    pub(super) newest: Part<'a>,
    /// The version before all of the runs.
    pub(super) oldest: Part<'a>,
    /// Two successive runs between which somebody edited the file: the earlier and the later one.
    pub(super) edited: Option<[Part<'a>; 2]>,
}

impl<'a> JointChange<'a> {
    /// One for each file that the runs changed. The runs are given newest first.
    pub(super) fn all(runs: &'a [Run]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for run in runs {
            for (index, entry) in run.journal().entries.iter().enumerate() {
                let part = Part { run, index, entry };
                match all.iter_mut().find(|joint| joint.oldest.entry.is_of_same_file(entry)) {
                    Some(joint) => joint.extend(part),
                    None => all.push(Self { newest: part, oldest: part, edited: None }),
                }
            }
        }
        all
    }

    /// Where the file is, or will be: a directory that the newest run removed with the file is made again.
    pub(super) fn place(&self, root: &Root) -> Result<Option<Place>> {
        let Part { run, entry, .. } = self.newest;
        match entry.places(root)? {
            Some((place, _)) => Ok(Some(place)),
            None if run.journal().directories.iter().any(|directory| directory.goes) => {
                Ok(root.find_to_be(&entry.at, &entry.name)?)
            }
            None => Ok(None),
        }
    }

    fn extend(&mut self, earlier: Part<'a>) {
        let later = self.oldest;
        // A person who put the older version back by hand has undone the earlier run for this file.
        let is_restored = digest(&earlier.entry.before) == digest(&later.entry.before);
        if !later.entry.continues(earlier.entry) && !is_restored {
            self.edited = self.edited.or(Some([earlier, later]));
        }
        self.oldest = earlier;
    }
}

fn digest(version: &Option<Version>) -> Option<crate::digest::Digest> {
    version.as_ref().map(|version| version.digest)
}
