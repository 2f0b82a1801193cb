//! The directory of a run, `runs/N`: its journal, and beside it copies of the old and the new files. This is all that
//! any process needs to roll the run back at any time.
//!
//! A link for every later state is there from the beginning, so that a change of state is a rename.

mod copies;
mod steps;

pub(super) use copies::Copies;

use super::{
    archive::Archive,
    change::Version,
    followup::OwnFile,
    journal::{Entry, FILE, Journal, STATE, State, how_to_set_state, read},
    temporary::PreparedChange,
};
use crate::{
    error::{Error, Result},
    machine::{
        interruption,
        keys::is_certificate,
        login,
        private::{StateDir, StateLock},
    },
};
use std::{cell::OnceCell, path::Path, thread, time::Duration};
use steps::STEPS;
use zeroize::Zeroizing;

/// The process that rolls the run back if necessary holds a lock on this directory.
pub(super) const WATCH: &str = "watch";
/// Files of Warded's own that take their places once the run is kept; and the names of files that are then removed.
const OWN_WRITTEN: &str = "own";
const OWN_REMOVED: &str = "own-removed";
/// A file that exists until sshd is told: without it, sshd may have read what has changed.
const UNTOLD: &str = "untold";
/// The directory of all runs, in the state directory.
pub const RUNS: &str = "runs";

/// The directory of one run, locked while a process works on it.
#[derive(Debug)]
pub(super) struct Run {
    state: StateDir,
    directory: StateDir,
    journal: Journal,
    archive: OnceCell<Archive>,
    lock: Option<StateLock>,
}

impl Run {
    /// Writes everything that a later state needs, and the journal itself last.
    pub(super) fn create(
        state: &StateDir,
        journal: Journal,
        changes: &[PreparedChange],
        own: Option<&OwnFile>,
    ) -> Result<Self> {
        let number = journal.run.run;
        let (directory, lock) = open_locked(state, number)?;
        if directory.read(FILE)?.is_some() {
            return Err(Error::failed(format!("there has been a run {number} already")));
        }
        let run = Self { state: state.clone(), directory, journal, archive: OnceCell::new(), lock: Some(lock) };
        let written = run.write(changes, own);
        if written.is_err() {
            // The journal goes first: with it this would be an interrupted run, and without its other states nobody
            // could end it.
            run.directory.remove(FILE)?;
            run.remove_copies()?;
            run.forget_own()?;
            run.remove_pending()?;
        }
        written.map(|()| run)
    }

    /// Opens a run to work on it; none where there is no journal (it had not begun).
    pub(super) fn open(state: &StateDir, number: u64) -> Result<Option<Self>> {
        let Some(directory) = state.find_sub(&format!("{RUNS}/{number}"))? else { return Ok(None) };
        let lock = lock(&directory, number)?;
        Self::found(state, directory, number, Some(lock))
    }

    /// Opens a run to look at it.
    pub(super) fn look(state: &StateDir, number: u64) -> Result<Option<Self>> {
        let Some(directory) = state.find_sub(&format!("{RUNS}/{number}"))? else { return Ok(None) };
        Self::found(state, directory, number, None)
    }

    fn found(state: &StateDir, directory: StateDir, number: u64, lock: Option<StateLock>) -> Result<Option<Self>> {
        let Some(journal) = read_own(&directory, number)? else { return Ok(None) };
        Ok(Some(Self { state: state.clone(), directory, journal, archive: OnceCell::new(), lock }))
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// If the state is missing beside the journal: why the run cannot be assumed to have changed nothing.
    pub(super) fn without_state(&self) -> Result<Option<Error>> {
        if self.journal.holds_its_state() || self.directory.word(STATE)?.is_some() {
            return Ok(None);
        }
        let missing = Error::refused(format!("{} is not rolled back: its state is missing", self.journal.run))
            .cause(format!(
                "there is no {}, and the changes of the run may be in place",
                self.path().join(STATE).display()
            ))
            .next(how_to_set_state(&self.directory));
        Ok(Some(missing))
    }

    /// The journal, without its directory.
    pub(super) fn into_journal(self) -> Journal {
        self.journal
    }

    /// Whether another process works on it.
    pub(super) fn is_running(&self) -> Result<bool> {
        self.directory.is_locked()
    }

    /// Declares, for as long as the result lives, that a process rolls the run back if necessary; none where another
    /// process does so already.
    pub(super) fn watch(&self) -> Result<Option<StateLock>> {
        self.directory.sub(WATCH)?.try_lock()
    }

    /// Whether a process does so.
    pub(super) fn is_watched(&self) -> Result<bool> {
        self.directory.find_sub(WATCH)?.map_or(Ok(false), |directory| directory.is_locked())
    }

    /// Puts the journal into a later state. This needs no disk space, except for `Unconfirmed`: that state has a
    /// time, which has to be written. No file changes after it.
    pub(super) fn advance(&mut self, state: State) -> Result<()> {
        let is_of_earlier_version = self.journal.holds_its_state();
        if let Some(confirm) = self.journal.confirm.as_mut().filter(|_| state == State::Unconfirmed) {
            confirm.since = login::now();
            let file = if is_of_earlier_version { state.file() } else { FILE };
            self.directory.write(file, &self.journal.in_state(state)?, 0o600)?;
        }
        // A power cut may have come after the journal was on disk and before the links were.
        if !is_of_earlier_version && self.directory.word(state.file())?.is_none() {
            self.directory.put_word(state.file(), state.word())?;
        }
        self.directory.rename(state.file(), if is_of_earlier_version { FILE } else { STATE })?;
        self.journal.state = state;
        interruption::point("journal advanced");
        Ok(())
    }

    /// Notes that sshd is about to be told. This needs no disk space, and no sync: after a power cut, another sshd
    /// reads what is there then.
    pub(super) fn note_told(&self) -> Result<()> {
        self.directory.remove(UNTOLD)?;
        interruption::point("noted that sshd is told");
        Ok(())
    }

    /// Whether sshd may have been told.
    pub(super) fn was_told(&self) -> Result<bool> {
        Ok(self.directory.read(UNTOLD)?.is_none())
    }

    /// Makes the changes final.
    pub(super) fn keep(&mut self) -> Result<()> {
        match self.advance(State::Kept) {
            // A rename without a sync counts as kept: a power cut may revert it, but then the whole run.
            Err(error) if read(&self.directory)?.map(|journal| journal.state) != Some(State::Kept) => Err(error),
            Ok(()) | Err(_) => {
                self.journal.state = State::Kept;
                Ok(())
            }
        }
    }

    /// Replaces the journal of a kept run. An earlier version does not know an archive of copies, so it must not
    /// mistake the new journal for one of its own.
    pub(super) fn replace_journal(&mut self, journal: Journal) -> Result<()> {
        if self.journal.holds_its_state() {
            self.directory.put_word(STATE, State::Kept.word())?;
            self.directory.sync()?;
        }
        let journal = journal.in_this_version();
        self.directory.write(FILE, &journal.in_state(State::Kept)?, 0o600)?;
        self.journal = journal;
        interruption::point("journal replaced");
        Ok(())
    }

    /// Makes the changes of Warded's own files that were to follow once the run is kept. This needs no disk space.
    pub(super) fn settle_own(&self) -> Result<()> {
        let above = format!("{RUNS}/{}", self.journal.run.run);
        if let Some(written) = self.directory.find_sub(OWN_WRITTEN)? {
            for name in written.names()? {
                self.state.rename(&format!("{above}/{OWN_WRITTEN}/{name}"), &name)?;
            }
        }
        if let Some(removed) = self.directory.find_sub(OWN_REMOVED)? {
            removed.names()?.iter().try_for_each(|name| self.state.remove(name))?;
        }
        self.forget_own()
    }

    /// Removes the notes of what was to happen to Warded's own files.
    pub(super) fn forget_own(&self) -> Result<()> {
        self.directory.remove(OWN_WRITTEN)?;
        self.directory.remove(OWN_REMOVED)
    }

    /// Whether the run only replaced certificates by other certificates.
    pub(super) fn only_renews(&self) -> bool {
        let is_renewed = |index: usize, entry: &Entry| {
            let has_mode = |old: &Version, new: &Version| old.mode == new.mode;
            let same_mode =
                entry.before.as_ref().zip(entry.after.as_ref()).is_some_and(|(old, new)| has_mode(old, new));
            // A copy that cannot be read may be anything.
            let is = |copy: Result<Option<Zeroizing<Vec<u8>>>>| {
                copy.is_ok_and(|copy| copy.is_some_and(|copy| is_certificate(&copy)))
            };
            same_mode && is(self.old(index)) && is(self.left(index))
        };
        let mut entries = self.journal.entries.iter().enumerate();
        let files_only = !self.journal.run.enrols && self.journal.steps.is_empty();
        files_only && entries.len() > 0 && entries.all(|(index, entry)| is_renewed(index, entry))
    }

    /// Whether temporary files may still be there.
    pub(super) fn is_untidy(&self) -> Result<bool> {
        let names = self.directory.names()?;
        Ok(names.iter().any(|name| name != FILE && State::ALL.iter().any(|state| state.file() == name)))
    }

    /// Removes the states that will not come. Their absence is the sign that nothing is left to tidy.
    pub(super) fn remove_pending(&self) -> Result<()> {
        self.directory.remove(UNTOLD)?;
        self.directory.remove(STEPS)?;
        let pending = State::ALL.iter().filter(|state| state.file() != FILE);
        pending.copied().try_for_each(|state| self.directory.remove(state.file()))
    }

    /// Removes what is left of a run that was interrupted before it had a journal.
    pub(super) fn discard_unbegun(state: &StateDir, number: u64) -> Result<()> {
        let name = format!("{RUNS}/{number}");
        let Some(directory) = state.find_sub(&name)? else { return Ok(()) };
        let Some(_lock) = directory.try_lock()? else { return Ok(()) };
        if directory.read(FILE)?.is_none() {
            for waste in copies::ALL
                .into_iter()
                .chain([OWN_WRITTEN, OWN_REMOVED, WATCH, UNTOLD, STEPS, STATE])
                .chain(State::ALL.map(State::file))
            {
                directory.remove(waste)?;
            }
            directory.remove_unfinished()?;
            state.remove_if_empty(&name)?;
        }
        Ok(())
    }

    /// Locks the run for tidying up; none where another process works on it.
    pub(super) fn try_lock(&self) -> Result<Option<StateLock>> {
        self.directory.try_lock()
    }

    /// Removes files that a killed process was writing, unless a process works on the run.
    pub(super) fn remove_unfinished(&self) -> Result<()> {
        if self.directory.has_unfinished()?
            && let Some(_lock) = self.try_lock()?
        {
            self.directory.remove_unfinished()?;
        }
        Ok(())
    }

    /// Removes everything of a run that has ended.
    pub(super) fn remove(mut self, state: &StateDir) -> Result<()> {
        let name = format!("{RUNS}/{}", self.journal.run.run);
        let lock = match self.lock.take() {
            Some(lock) => lock,
            // Another process may have removed it.
            None => match state.find_sub(&name)? {
                Some(directory) => lock(&directory, self.journal.run.run)?,
                None => return Ok(()),
            },
        };
        if !lock.is_of(&self.directory) {
            return Ok(());
        }
        self.remove_copies()?;
        self.remove_pending()?;
        self.directory.remove(WATCH)?;
        // One step for both: after a power cut, a journal without its state would look like that of an interrupted
        // run.
        self.directory.rename_one_of_many(FILE, STATE)?;
        interruption::point("journal removed");
        self.directory.remove(STATE)?;
        state.remove_if_empty(&name)
    }

    /// Except for those of Warded's own files and of the programs, all names become durable together with the
    /// journal's. Until then, no file changes.
    fn write(&self, changes: &[PreparedChange], own: Option<&OwnFile>) -> Result<()> {
        // Makes the run's own directory durable. A run that changes nothing does without that.
        self.state.sub(RUNS)?.sync()?;
        self.write_copies(changes)?;
        match own {
            Some(OwnFile::Write { name, contents }) => self.directory.sub(OWN_WRITTEN)?.write(name, contents, 0o600)?,
            Some(OwnFile::Remove { name }) => self.directory.sub(OWN_REMOVED)?.write(name, b"", 0o600)?,
            None => {}
        }
        self.directory.write_one_of_many(UNTOLD, b"", 0o600)?;
        self.write_steps()?;
        // So that the watchdog needs no disk space.
        self.directory.sub_of_many(WATCH)?;
        interruption::point("copies written");
        for state in self.journal.later_states() {
            self.directory.put_word(state.file(), state.word())?;
        }
        self.directory.put_word(STATE, State::Prepared.word())?;
        self.directory.write(FILE, &self.journal.in_state(State::Prepared)?, 0o600)
    }
}

/// The journal in the directory of the run with that number.
fn read_own(directory: &StateDir, number: u64) -> Result<Option<Journal>> {
    let journal = read(directory)?;
    match journal.as_ref().map(|journal| journal.run.run).filter(|own| *own != number) {
        None => Ok(journal),
        Some(other) => Err(Error::failed(format!("the journal in {} is of another run", directory.path().display()))
            .cause(format!("it says that it is run {other}'s"))
            .next("move it to where it belongs, or away")),
    }
}

/// Takes the next number for a run: its directory is made now, so nobody else gets that number.
pub(super) fn reserve(state: &StateDir) -> Result<u64> {
    state.sub(RUNS)?;
    let mut number = numbers(state)?.first().map_or(1, |newest| newest.saturating_add(1));
    while !state.make_sub(&format!("{RUNS}/{number}"))? {
        number = number.saturating_add(1);
    }
    Ok(number)
}

/// Locks the handing out of numbers, which takes only a moment.
pub(super) fn lock_numbers(state: &StateDir) -> Result<StateLock> {
    let runs = state.sub(RUNS)?;
    for _ in 0..1000 {
        if let Some(lock) = runs.try_lock()? {
            return Ok(lock);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err(Error::refused(format!("{} is locked by another process", runs.path().display()))
        .next("wait until it has ended, then run this again"))
}

/// A run's directory, locked. If another process removed the directory as that of a run which never began, it is made
/// again.
fn open_locked(state: &StateDir, number: u64) -> Result<(StateDir, StateLock)> {
    let name = format!("{RUNS}/{number}");
    loop {
        let directory = state.sub(&name)?;
        let lock = lock(&directory, number)?;
        if lock.is_of(&directory) {
            return Ok((directory, lock));
        }
    }
}

/// The numbers of all runs, newest first.
pub(super) fn numbers(state: &StateDir) -> Result<Vec<u64>> {
    let Some(runs) = state.find_sub(RUNS)? else { return Ok(Vec::new()) };
    let mut numbers: Vec<u64> = runs.names()?.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers)
}

/// Locks a run. A process that only checks for the lock holds it for a moment, too.
fn lock(directory: &StateDir, number: u64) -> Result<StateLock> {
    for _ in 0..20 {
        if let Some(lock) = directory.try_lock()? {
            return Ok(lock);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(Error::refused(format!("run {number} is still at work")).next("wait until it has ended, then run this again"))
}
