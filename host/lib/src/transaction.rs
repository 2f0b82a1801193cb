//! Makes all changes or none: lock, preconditions, journal, commit, keep or roll back; later undo. Which changes
//! these are, and whether they are good, is decided elsewhere.
//!
//! Everything that needs disk space is written and synced before the first exchange. From then on each step is a
//! rename, and the journal on disk is enough to roll back: the process may be killed at any point.

mod archive;
mod change;
mod commit;
mod damaged;
mod directories;
mod earlier_texts;
mod fold;
mod followup;
mod history;
mod journal;
mod leftovers;
mod lock;
mod overtaken;
mod precondition;
mod recover;
mod restore;
mod retain;
mod roll_back;
mod run_directory;
mod series;
mod still_named;
mod temporary;
mod tidy;
mod undo;

pub use change::{
    DirectoryChange, FileChange, NewFile, Order, ReadSet, RollbackReport, RunIdentity, UntouchedFile, Version,
};
pub use damaged::damaged;
pub use earlier_texts::{BeforeAfter, written};
pub use followup::{Confirm, Followup, OwnFile, Reload, SshdBefore};
pub use history::{History, Outcome, PastRun, WayBack, history};
pub use journal::{Entry, FILE as JOURNAL, Journal, STATE as JOURNAL_STATE, State};
pub use leftovers::{LostBlock, files_left, is_left, job_left, list_left, lost_blocks, policies_left, settings_left};
pub use overtaken::last_to_change;
pub use precondition::{Target, refuse_irreplaceable};
pub use recover::{
    RecoveredRun, await_roll_back, being_rolled_back, confirm, interrupted, look, newest, prepare_watch, recover,
    refuse_unconfirmed, roll_back_run, tidy_ended, to_confirm, unconfirmed, watch,
};
pub use roll_back::restore_again;
pub use run_directory::RUNS;
pub use still_named::{Settlement, StillNamed};
pub use undo::{EditedFile, Edits, Undo, UndoError, UndoScope, undo_changes};

use crate::{
    error::{Error, Result, UNCHANGED},
    machine::{files::Root, interruption, private::StateDir},
};
use lock::Locks;
use run_directory::Run;
use temporary::PreparedChange;

/// A set of changes that is ready to be made, or has been made and can be rolled back. Dropping it rolls nothing
/// back: the journal says what remains to be done, and [`recover`] does it.
#[must_use]
#[derive(Debug)]
pub struct Transaction {
    root: Root,
    state: StateDir,
    run: Run,
    changes: Vec<PreparedChange>,
    reads: ReadSet,
    _locks: Locks,
}

impl Transaction {
    /// Gets everything ready without changing a file: locks the directories, compares every file with the version
    /// from which the changes were computed, writes the journal and the new files, and syncs them.
    ///
    /// # Errors
    /// Refused: another run has the directories, something has changed, an earlier run was interrupted, or a file
    /// cannot be replaced. Failed: any other error, such as a full disk.
    pub fn begin(
        root: &Root,
        state: &StateDir,
        run: &RunIdentity,
        changes: Vec<FileChange>,
        reads: ReadSet,
        followup: &Followup,
    ) -> Result<Self> {
        recover::refuse_unended(state)?;
        let mut changes = temporary::plan(root, run.run, changes)?;
        // All runs that change what this sshd reads exclude each other, wherever those files are.
        let configs = followup.configs().map(|config| root.place(config, usize::MAX)).collect::<Result<Vec<_>, _>>()?;
        let locks = Locks::take(changes.iter().flat_map(PreparedChange::places).chain(configs.iter().flatten()))?;
        // While this run waited for its locks, another one may have ended, or may now wait for its confirmation.
        recover::refuse_unended(state)?;
        recover::refuse_unended_here(state, &changes, followup)?;
        series::refuse_undone(state, run.run)?;
        locks.refuse_unended_elsewhere(state)?;
        precondition::check_directories(root, &changes)?;
        precondition::check_reads(&reads)?;
        for change in &mut changes {
            precondition::check(change)?;
            precondition::check_replaceable(change)?;
            change.metadata = change.change.place.metadata()?;
        }
        let journal = Journal::new(run, &changes, followup, directories::of(state, &changes)?);
        locks.mark(state, run.run)?;
        let run = Run::create(state, journal, &changes, followup.own.as_ref())?;
        let mut transaction = Self { root: root.clone(), state: state.clone(), run, changes, reads, _locks: locks };
        interruption::point("journal written");
        let made = directories::make(root, transaction.run.journal(), &mut transaction.changes);
        match made.and_then(|()| temporary::write_all(&transaction.changes)) {
            Ok(()) => Ok(transaction),
            // Nothing has been exchanged, so this removes only what was just written.
            Err(error) => Err(match roll_back::roll_back(root, &mut transaction.run, |_, _| StillNamed::nothing()) {
                Ok(_) => error,
                Err(second) => error
                    .state(format!("{UNCHANGED}, but temporary files are left: {}", second.message()))
                    .next("warded recover"),
            }),
        }
    }

    /// Makes the changes, in order. Files that sshd uses until it has been reloaded are removed later, when the
    /// changes are kept. After an error the caller rolls back.
    ///
    /// # Errors
    /// Refused: another program has changed something since. Failed: any other error.
    pub fn commit(&mut self) -> Result<()> {
        precondition::check_reads(&self.reads)?;
        self.run.advance(State::Committing)?;
        commit::put_in(&self.changes)
    }

    /// Notes that sshd is about to be told to reload: from now on it may have read the changed files.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn note_reload_begins(&self) -> Result<()> {
        self.run.note_told()
    }

    /// Notes that a program of the run is about to start: from now on it may have run.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn note_step_begins(&self, index: usize) -> Result<()> {
        self.run.note_step(index)
    }

    /// Makes the changes final, and removes the temporary files. Returns those that could not be removed, because
    /// another program has written to them or the disk refuses.
    ///
    /// # Errors
    /// A retired file cannot be removed, or the journal cannot be written: then nothing is final, and the caller
    /// rolls back.
    pub fn keep(&mut self) -> Result<Vec<UntouchedFile>> {
        self.has_committed()?;
        commit::remove_retired(&self.changes)?;
        self.run.keep()?;
        interruption::point("kept");
        // From here on nothing fails: the next command tidies up whatever is left.
        let mut left = tidy::tidy(&self.root, &self.run);
        left.extend(retain::prune_if_possible(&self.state));
        Ok(left)
    }

    /// Whether keeping this run removes the unit that recovers interrupted runs when the machine starts.
    #[must_use]
    pub fn retires_recovery(&self) -> bool {
        self.journal().entries.iter().any(|entry| entry.order == Order::RemoveRecovery)
    }

    /// Leaves the changes for the operator to confirm in time. Otherwise the watchdog rolls them back.
    ///
    /// # Errors
    /// As [`Transaction::keep`]; or the journal does not ask for a confirmation.
    pub fn await_confirmation(&mut self) -> Result<()> {
        self.has_committed()?;
        commit::remove_retired(&self.changes)?;
        if self.run.journal().confirm.is_none() {
            return Err(Error::failed(format!("{} does not wait for a confirmation", self.run.journal().run)));
        }
        self.run.advance(State::Unconfirmed)
    }

    fn has_committed(&self) -> Result<()> {
        if self.run.journal().state == State::Committing {
            return Ok(());
        }
        Err(Error::failed(format!("{} has made no changes to keep", self.run.journal().run)))
    }

    /// Rolls back whatever has been changed, from the journal alone. Unless nothing had been changed, `settle`
    /// reloads the services and says what sshd uses afterwards.
    ///
    /// # Errors
    /// A file could not be put back; the others have been. [`recover`] tries again.
    pub fn roll_back<S: Into<Settlement>>(
        &mut self,
        settle: impl FnOnce(&Journal, &RollbackReport) -> S,
    ) -> Result<RollbackReport> {
        roll_back::roll_back(&self.root, &mut self.run, settle)
    }

    /// The journal as it is on disk.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        self.run.journal()
    }
}

/// Reserves the number of the next run. No other run gets it, even if this one never begins, unless a power cut comes
/// before it begins.
///
/// # Errors
/// The state directory cannot be read or written.
pub fn next_run(state: &StateDir) -> Result<u64> {
    // Between reading the numbers and taking the next one, nobody else may take or remove one.
    let _one_at_a_time = run_directory::lock_numbers(state).map_err(Error::or_unchanged)?;
    let number = run_directory::reserve(state).map_err(Error::or_unchanged)?;
    // Whatever is not removed now, the next run removes.
    drop(retain::discard_unbegun(state));
    Ok(number)
}

#[cfg(test)]
mod tests;
