//! Changes all of it or nothing: lock, preconditions, journal, commit, keep or roll back; later
//! undo. Which changes, and whether they are any good, is decided before and after.
//!
//! Everything that needs room on a disk is written and synced before the first exchange. From
//! then on each step is a rename, and the journal on disk alone says how to take it back: a
//! process may be killed anywhere.

mod afterwards;
mod commit;
mod fold;
mod in_use;
mod interruption;
mod journal;
mod lock;
mod precondition;
mod recover;
mod retain;
mod roll_back;
mod run_directory;
mod series;
mod temporary;
mod undo;

pub use afterwards::{Afterwards, Confirm, OwnFile, Reload, SshdBefore};
pub use in_use::InUse;
pub use journal::{Entry, Journal, State, Version};
pub use recover::{
    Recovered, confirm, interrupted, look, recover, refuse_unconfirmed, roll_back_run, tidy_ended, unconfirmed, watch,
};
pub use roll_back::{LeftAlone, RolledBack};
pub use undo::{Edited, Undo, UndoError, undo_changes};

use crate::{
    digest::Digest,
    error::{Error, Result},
    machine::{
        files::{Metadata, Place, Root, Snapshot},
        path::AbsolutePath,
        private::StateDir,
    },
};
use lock::Locks;
use run_directory::Run;
use serde::{Deserialize, Serialize};
use std::{fmt, ops::RangeInclusive, path::PathBuf};
use temporary::Prepared;
use zeroize::Zeroizing;

/// One file that is to change.
#[derive(Clone, Debug)]
pub struct FileChange {
    /// The path as it was asked for; messages show this one.
    pub path: AbsolutePath,
    /// Where the file is, or will be.
    pub place: Place,
    /// The file that the change was computed from; none: there was none.
    pub before: Option<Snapshot>,
    /// The file that is to be there; none: it is removed.
    pub after: Option<NewFile>,
    /// When among the other changes.
    pub order: Order,
    /// Another directory of the same file system for the temporary file, where whatever lies
    /// beside the file itself is used.
    pub scratch: Option<PathBuf>,
}

/// A file that is to be there.
#[derive(Clone, PartialEq, Eq)]
pub struct NewFile {
    /// All of it; wiped from memory afterwards, because it may be a private key.
    pub contents: Zeroizing<Vec<u8>>,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner and attributes; none: those of the file that it replaces, else the creator's.
    pub metadata: Option<Metadata>,
}

impl NewFile {
    /// A file with the owner and attributes of the one that it replaces.
    #[must_use]
    pub fn new(contents: Vec<u8>, mode: u32) -> Self {
        Self { contents: Zeroizing::new(contents), mode, metadata: None }
    }
}

impl fmt::Debug for NewFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewFile({} mode {:o})", Digest::of(&self.contents), self.mode)
    }
}

/// The order of a commit, such that sshd starts after every prefix of it: what a configuration
/// names is there before the configuration, and goes after it, and after sshd has been told: it reads
/// a list of revoked keys at each login. Directories are synced in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// A private or public key.
    WriteKey,
    /// A certificate, which belongs to a key; or a list of revoked ones.
    WriteCertificate,
    /// A configuration file, which may name both, and everything else.
    WriteOther,
    /// The same, to go.
    RemoveOther,
    /// A certificate, to go.
    RemoveCertificate,
    /// A key, to go.
    RemoveKey,
}

impl Order {
    /// Whether it goes only when nothing names it any more.
    pub(super) fn is_in_use_until_told(self) -> bool {
        matches!(self, Self::RemoveCertificate | Self::RemoveKey)
    }
}

/// Which run it is, for the journal and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIdentity {
    /// Its number in this state directory.
    pub run: u64,
    /// The policy's name.
    pub policy: String,
    /// The component that ran.
    pub component: Digest,
    /// The procedure that ran.
    pub procedure: String,
    /// When it started.
    pub started: jiff::Timestamp,
    /// The run that this one takes back, if it is an undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
    /// The oldest of them, if this one takes back several; `undoes` is the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_to: Option<u64>,
}

impl RunIdentity {
    /// The numbers of the runs that this one takes back, if it is an undo.
    #[must_use]
    pub fn undone(&self) -> Option<RangeInclusive<u64>> {
        let newest = self.undoes?;
        Some(self.down_to.unwrap_or(newest)..=newest)
    }

    /// The same run, as one that takes those back.
    #[must_use]
    pub fn undoing(self, runs: &RangeInclusive<u64>) -> Self {
        let (oldest, newest) = (*runs.start(), *runs.end());
        Self { undoes: Some(newest), down_to: (oldest != newest).then_some(oldest), ..self }
    }
}

impl fmt::Display for RunIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {} ({} {}, {})", self.run, self.policy, self.procedure, self.started.strftime("%F %T UTC"))
    }
}

/// What else the changes were computed from: digest and inode of each file that was read; none
/// where there was no file.
pub type ReadSet = Vec<(Place, Option<(Digest, u64)>)>;

/// A set of changes that is ready to be made, or has been made and can be taken back. Dropping it
/// takes nothing back: the journal says what is to be done, and [`recover`] does it.
#[must_use]
#[derive(Debug)]
pub struct Transaction {
    root: Root,
    state: StateDir,
    run: Run,
    changes: Vec<Prepared>,
    reads: ReadSet,
    _locks: Locks,
}

impl Transaction {
    /// Gets everything ready and changes no file: locks the directories, compares every file with
    /// what the changes were computed from, writes journal and new files, and syncs them.
    ///
    /// # Errors
    /// Refused: another run has the directories, something has changed, an earlier run was
    /// interrupted, or a file cannot be replaced. Failed: anything else, such as a full disk.
    pub fn begin(
        root: &Root,
        state: &StateDir,
        run: &RunIdentity,
        changes: Vec<FileChange>,
        reads: ReadSet,
        afterwards: &Afterwards,
    ) -> Result<Self> {
        recover::refuse_unended(state)?;
        let mut changes = temporary::plan(root, run.run, changes)?;
        // Whoever changes what this sshd reads, wherever that is, is in the way of all others who do.
        let config = afterwards.sshd.as_ref().map(|sshd| root.place(&sshd.config, usize::MAX)).transpose()?.flatten();
        let locks = Locks::take(changes.iter().flat_map(Prepared::places).chain(&config))?;
        // Another run may have come to its end while this one waited for it, or to its confirmation.
        recover::refuse_unended(state)?;
        recover::refuse_unended_here(state, &changes, afterwards)?;
        locks.refuse_unended_elsewhere(state)?;
        precondition::check_directories(root, &changes)?;
        precondition::check_reads(&reads)?;
        for change in &mut changes {
            precondition::check(change)?;
            precondition::check_replaceable(change)?;
            change.metadata = change.change.place.metadata()?;
        }
        let journal = Journal::new(run, &changes, afterwards);
        locks.mark(state, run.run)?;
        let run = Run::create(state, journal, &changes, afterwards.own.as_ref())?;
        let mut transaction = Self { root: root.clone(), state: state.clone(), run, changes, reads, _locks: locks };
        interruption::point("journal written");
        match temporary::write_all(&transaction.changes) {
            Ok(()) => Ok(transaction),
            // Nothing has been exchanged, so this only removes what was just written.
            Err(error) => Err(match roll_back::roll_back(root, &mut transaction.run, |_, _| InUse::nothing()) {
                Ok(_) => error.state("nothing was changed"),
                Err(second) => error
                    .state(format!("nothing was changed, but temporary files are left: {}", second.message()))
                    .next("warded recover"),
            }),
        }
    }

    /// Makes the changes, in order, but for what sshd uses until it has been told: that goes when they
    /// are kept. After an error the caller rolls back.
    ///
    /// # Errors
    /// Refused: something was changed by somebody else since. Failed: anything else.
    pub fn commit(&mut self) -> Result<()> {
        precondition::check_reads(&self.reads)?;
        self.run.advance(State::Committing)?;
        commit::put_in(&self.changes)
    }

    /// Notes that sshd is about to be told: from now on it may have read what has changed.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn tells(&self) -> Result<()> {
        self.run.note_told()
    }

    /// Makes the changes final, and removes the temporary files. What could not be removed is
    /// named: somebody has written to it, or the disk refuses.
    ///
    /// # Errors
    /// When what was to go cannot be removed, or the journal cannot be written: then nothing is final,
    /// and the caller rolls back.
    pub fn keep(&mut self) -> Result<Vec<LeftAlone>> {
        self.has_committed()?;
        commit::take_out(&self.changes)?;
        self.run.keep()?;
        interruption::point("kept");
        // From here on nothing fails: what stays untidy, the next command tidies.
        let mut left = roll_back::tidy(&self.root, &self.run);
        left.extend(retain::prune_if_possible(&self.state));
        Ok(left)
    }

    /// Leaves the changes for somebody to confirm in time. Whoever watches takes them back otherwise.
    ///
    /// # Errors
    /// As [`Transaction::keep`]; or the journal says nothing of a confirmation.
    pub fn await_confirmation(&mut self) -> Result<()> {
        self.has_committed()?;
        commit::take_out(&self.changes)?;
        if self.run.journal().confirm.is_none() {
            return Err(Error::failed(format!("{} does not wait for anybody", self.run.journal().run)));
        }
        self.run.advance(State::Unconfirmed)
    }

    fn has_committed(&self) -> Result<()> {
        if self.run.journal().state == State::Committing {
            return Ok(());
        }
        Err(Error::failed(format!("{} has made no changes to keep", self.run.journal().run)))
    }

    /// Takes back whatever has been changed, from the journal alone; `settle` tells the services,
    /// unless nothing had been changed, and says what sshd uses then.
    ///
    /// # Errors
    /// When a file could not be put back; the others have been. [`recover`] tries again.
    pub fn roll_back(&mut self, settle: impl FnOnce(&Journal, &RolledBack) -> InUse) -> Result<RolledBack> {
        roll_back::roll_back(&self.root, &mut self.run, settle)
    }

    /// The journal as it is on disk.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        self.run.journal()
    }
}

/// The number of the next run, reserved: no other run gets it, whether this one begins or not.
///
/// # Errors
/// When the state directory cannot be read or written.
pub fn next_run(state: &StateDir) -> Result<u64> {
    // Between a look at the numbers and the next one, nobody else may give one or remove one.
    let unchanged = |error: Error| error.or_state("nothing was changed");
    let _one_at_a_time = run_directory::lock_numbers(state).map_err(unchanged)?;
    let number = run_directory::reserve(state).map_err(unchanged)?;
    // What is not removed now, the next run removes.
    drop(retain::discard_unbegun(state));
    Ok(number)
}

#[cfg(test)]
mod tests;
