//! Past runs: who ran what and when, what became of it, and how to undo it.

use super::{
    journal::{Journal, State},
    run_directory::{Run, numbers},
    series::{Series, Step},
};
use crate::{
    error::{Error, Result},
    machine::private::StateDir,
};

/// The runs whose journals are kept, the newest first.
#[derive(Debug)]
pub struct History {
    /// The runs whose journals can be read.
    pub runs: Vec<PastRun>,
    /// Why some are missing.
    pub fault: Option<Error>,
}

/// A past run.
#[derive(Debug)]
pub struct PastRun {
    pub journal: Journal,
    /// What became of it.
    pub outcome: Outcome,
    /// How it is undone.
    pub way_back: WayBack,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Kept,
    /// It was undone by that run.
    Undone(u64),
    /// It failed or was not confirmed in time, and was rolled back.
    RolledBack,
    /// It waits for its confirmation.
    Unconfirmed,
    /// A process is working on it.
    AtWork,
    /// Its process is gone; it will be rolled back.
    Interrupted,
}

/// How a run is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayBack {
    /// By the next undo.
    Next,
    /// With that run, whose certificates this one renewed.
    With(u64),
    /// Together with later runs, in one step.
    DownTo,
    /// Not at all.
    None,
}

/// All runs whose journals are kept.
///
/// # Errors
/// When the state directory cannot be read.
pub fn history(state: &StateDir) -> Result<History> {
    let series = Series::look(state)?;
    let mut history = History { runs: Vec::new(), fault: None };
    for number in numbers(state)? {
        match Run::look(state, number) {
            Ok(Some(run)) if !is_folded(&series, number) => {
                let (outcome, way_back) = (outcome(&series, &run)?, way_back(&series.steps(), number));
                history.runs.push(PastRun { journal: run.into_journal(), outcome, way_back });
            }
            Ok(_) => {}
            Err(error) => history.fault = history.fault.or(Some(error)),
        }
    }
    Ok(history)
}

fn is_folded(series: &Series, number: u64) -> bool {
    series.folded.iter().any(|run| run.journal().run.run == number)
}

fn outcome(series: &Series, run: &Run) -> Result<Outcome> {
    let journal = run.journal();
    Ok(match journal.state {
        State::RolledBack => Outcome::RolledBack,
        State::Kept => {
            let kept = series.spent.iter().map(Run::journal).filter(|other| other.state == State::Kept);
            let undo = kept.map(|other| &other.run).find(|other| {
                other.undone().is_some_and(|runs| runs.contains(&journal.run.run)) && journal.run.undoes.is_none()
            });
            undo.map_or(Outcome::Kept, |undo| Outcome::Undone(undo.run))
        }
        _ if run.is_running()? => Outcome::AtWork,
        State::Unconfirmed if run.is_watched()? => Outcome::Unconfirmed,
        State::Prepared | State::Committing | State::RollingBack | State::Unconfirmed => Outcome::Interrupted,
    })
}

fn way_back(steps: &[Step<'_>], number: u64) -> WayBack {
    let is = |run: &&Run| run.journal().run.run == number;
    for (index, step) in steps.iter().enumerate() {
        if is(&step.base) {
            return if index == 0 { WayBack::Next } else { WayBack::DownTo };
        }
        if step.renewals.iter().any(is) {
            return WayBack::With(step.base.journal().run.run);
        }
    }
    WayBack::None
}
