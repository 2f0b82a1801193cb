//! How long runs and their old copies are kept. Copies may be private keys, so they are not kept for ever.

use super::{
    change::{UntouchedFile, untidy},
    fold::{finish, fold},
    run_directory::{Run, numbers},
    series::Series,
};
use crate::{
    error::Result,
    machine::{interruption, private::StateDir},
};

/// How many runs can be undone one by one, besides the renewals since each; all runs before them form one more step.
/// The same number of renewals are kept as runs of their own, for the history.
pub(super) const RUNS_KEPT: usize = 20;

/// Folds runs beyond [`RUNS_KEPT`] into one. Removes runs that never began, and all but the newest of those that are
/// of no more use for an undo.
pub(super) fn prune(state: &StateDir) -> Result<()> {
    discard_unbegun(state)?;
    let Series { undoable, spent, folded, fault } = Series::look(state)?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    let ended = undoable.iter().chain(&spent);
    ended.clone().try_for_each(Run::remove_unfinished)?;
    if !folded.is_empty() {
        let into = ended.filter(|run| run.journal().folded.is_some());
        into.map(|run| run.journal().run.run).try_for_each(|run| finish(state, run))?;
    }
    folded.into_iter().try_for_each(|run| run.remove(state))?;
    let mut runs: Vec<(u64, bool)> = undoable.iter().map(|run| (run.journal().run.run, run.only_renews())).collect();
    while let Some(later) = next_to_fold(&runs) {
        let (Some((earlier, _)), (number, _)) = (runs.get(later + 1).copied(), runs.remove(later)) else { break };
        fold(state, earlier, number)?;
        interruption::point("folded");
    }
    // Removes a run before its undo: without the undo it would count as a run that can be undone.
    spent.into_iter().skip(RUNS_KEPT).rev().try_for_each(|run| run.remove(state))
}

/// Which of the runs is to be folded into the one before it. The runs are given newest first, each with whether it
/// only renewed certificates. None: there are no more than are kept.
fn next_to_fold(runs: &[(u64, bool)]) -> Option<usize> {
    let renewals = runs.iter().filter(|(_, only_renews)| *only_renews).count();
    // The oldest run has none before it.
    let oldest = runs.len().checked_sub(1)?;
    if renewals > RUNS_KEPT
        && let Some(at) = runs.get(..oldest)?.iter().rposition(|(_, only_renews)| *only_renews)
    {
        return Some(at);
    }
    (runs.len() - renewals > RUNS_KEPT).then(|| oldest.checked_sub(1)).flatten()
}

/// The same, where an error is no reason to fail: the next run tries again.
pub(super) fn prune_if_possible(state: &StateDir) -> Option<UntouchedFile> {
    let error = prune(state).err()?;
    UntouchedFile::at(state.path(), untidy("what earlier runs left", &error))
}

/// Removes what belongs to runs that reserved a number and never began, except for the newest number: as long as it
/// is there, no number is given twice. A run that has yet to begin makes its directory again.
pub(super) fn discard_unbegun(state: &StateDir) -> Result<()> {
    for number in numbers(state)?.into_iter().skip(1) {
        if Run::look(state, number).is_ok_and(|run| run.is_none()) {
            Run::discard_unbegun(state, number)?;
        }
    }
    Ok(())
}
