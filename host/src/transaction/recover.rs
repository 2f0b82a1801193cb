//! After a crash, a kill or a power cut: is there a run that did not end, and taking it back.

use super::{
    RunIdentity,
    journal::{Journal, Run, numbers},
    lock::Locks,
    roll_back::{self, RolledBack},
};
use crate::{
    error::{Error, Result},
    machine::{files::Root, private::StateDir},
};

/// An interrupted run that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Which run it was.
    pub run: RunIdentity,
    /// What was taken back.
    pub rolled_back: RolledBack,
}

/// The newest run that did not end and that nobody works on any more. Changes nothing.
///
/// # Errors
/// When the journals cannot be read.
pub fn interrupted(state: &StateDir) -> Result<Option<Journal>> {
    for number in numbers(state)? {
        if let Some(run) = Run::look(state, number)?
            && !run.journal().is_final()
            && !run.is_running()?
        {
            // It may have ended between the look and the question whether it runs.
            return Ok(Run::look(state, number)?.map(Run::into_journal).filter(|journal| !journal.is_final()));
        }
    }
    Ok(None)
}

/// Takes the newest interrupted run back, and removes what ended runs have left behind. To be
/// called until there is none; the caller reloads the services.
///
/// # Errors
/// When a file could not be put back, or another run has its directory.
pub fn recover(state: &StateDir, root: &Root) -> Result<Option<Recovered>> {
    tidy_ended(state, root)?;
    let Some(journal) = interrupted(state)? else { return Ok(None) };
    let rolled_back = roll_back_run(state, root, journal.run.run)?;
    Ok(rolled_back.map(|rolled_back| Recovered { run: journal.run, rolled_back }))
}

/// Takes one run back, from its journal alone; none where it has ended already. For a watchdog,
/// after the process that made the changes is gone: while that lives, this is refused.
///
/// # Errors
/// As [`recover`].
pub fn roll_back_run(state: &StateDir, root: &Root, number: u64) -> Result<Option<RolledBack>> {
    let Some(mut run) = Run::open(state, number)?.filter(|run| !run.journal().is_final()) else { return Ok(None) };
    let mut places = Vec::new();
    for entry in &run.journal().entries {
        places.extend(entry.places(root)?.map(<[_; 2]>::from).into_iter().flatten());
    }
    let _locks = Locks::take(&places)?;
    roll_back::roll_back(root, &mut run).map(Some)
}

/// One interrupted run at a time: a second one on top of it could not be told apart.
pub(super) fn refuse_interrupted(state: &StateDir) -> Result<()> {
    match interrupted(state)? {
        None => Ok(()),
        Some(journal) => Err(Error::refused(format!("{} was interrupted", journal.run))
            .state("its changes may have been made in part")
            .next("warded recover")),
    }
}

fn tidy_ended(state: &StateDir, root: &Root) -> Result<()> {
    for number in numbers(state)? {
        let Some(run) = Run::look(state, number)? else { continue };
        if run.journal().is_final() && run.is_untidy()? && !run.is_running()? {
            roll_back::tidy(root, &run)?;
        }
    }
    Ok(())
}
