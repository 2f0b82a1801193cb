//! The journal of a run, `runs/N/journal.json`: what the run changes. How far it has come is in the link
//! `journal.state` beside it. `run_directory.rs` says what else is kept there.

use super::{
    change::{DirectoryChange, FileChange, Order, RunIdentity, Version},
    followup::{Confirm, Followup, Reload, SshdBefore},
    temporary::PreparedChange,
};
use crate::{
    error::{Error, Result},
    machine::{
        action::Step,
        files::{Place, Root, Whereabouts},
        path::AbsolutePath,
        private::StateDir,
    },
    moment, text,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const SCHEMA: &str = "warded.journal/2";
/// The schema of earlier versions: the state is in the journal, and each later state is a whole journal beside it.
const EARLIER_SCHEMA: &str = "warded.journal/1";
/// The journal's name in the directory of the run.
pub const FILE: &str = "journal.json";
/// The name of the link whose target is the word for the state.
pub const STATE: &str = "journal.state";

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing has changed; temporary files may be there.
    #[default]
    Prepared,
    /// Some of the changes may have been made.
    Committing,
    /// All changes have been made and checked; they stay if the operator confirms them in time.
    Unconfirmed,
    /// All changes have been made, for good.
    Kept,
    /// Some of the changes may have been rolled back; the services may not know it yet.
    RollingBack,
    /// All changes have been rolled back.
    RolledBack,
}

impl State {
    pub(super) const ALL: [Self; 6] =
        [Self::Prepared, Self::Committing, Self::Unconfirmed, Self::Kept, Self::RollingBack, Self::RolledBack];

    /// The name under which this state waits until it takes effect.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Prepared => FILE,
            Self::Committing => "journal.committing",
            Self::Unconfirmed => "journal.unconfirmed",
            Self::Kept => "journal.kept",
            Self::RollingBack => "journal.rolling-back",
            Self::RolledBack => "journal.rolled-back",
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Committing => "committing",
            Self::Unconfirmed => "unconfirmed",
            Self::Kept => "kept",
            Self::RollingBack => "rolling-back",
            Self::RolledBack => "rolled-back",
        }
    }
}

/// What a run changes, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    schema: String,
    pub run: RunIdentity,
    /// How far it has come.
    #[serde(skip)]
    pub state: State,
    /// The same, in a journal of an earlier version.
    #[serde(rename = "state", default, skip_serializing_if = "Option::is_none")]
    own_state: Option<State>,
    /// The services to reload if it is rolled back.
    pub reloads: Vec<Reload>,
    /// The programs that it runs, in order, each with what would undo it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// The sshd that has to be as before if it is rolled back.
    pub sshd: Option<SshdBefore>,
    /// The other sshds that read what it changes. They have to be as before, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bystanders: Vec<SshdBefore>,
    /// Until when it has to be confirmed; none: it needs no confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
    /// The newest of the later runs that were folded into this one (`fold.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folded: Option<u64>,
    /// The main configuration files of the sshds of those runs.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub folded_sshds: BTreeSet<AbsolutePath>,
    /// The directories that it makes for its files, or removes with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<DirectoryChange>,
    /// What it changes, in the order of the commit.
    pub entries: Vec<Entry>,
}

/// One file that a run changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The path as the caller gave it.
    pub path: AbsolutePath,
    /// Where the file is.
    pub at: Whereabouts,
    pub name: String,
    /// Where the temporary file is.
    pub temporary_at: Whereabouts,
    pub temporary: String,
    /// Its position among the other changes.
    pub order: Order,
    /// The file before; none: there was no file. A copy is kept.
    pub before: Option<Version>,
    /// The file that is to be there; none: no file. A copy is kept.
    pub after: Option<Version>,
    /// The number of its copies in the archive; none: its index among the entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<usize>,
}

impl Journal {
    pub(super) fn new(
        run: &RunIdentity,
        changes: &[PreparedChange],
        followup: &Followup,
        directories: Vec<DirectoryChange>,
    ) -> Self {
        let Followup { reloads, steps, sshd, bystanders, confirm, own: _ } = followup.clone();
        let entries = changes.iter().map(Entry::new).collect();
        Self {
            schema: SCHEMA.to_owned(),
            run: run.clone(),
            state: State::Prepared,
            own_state: None,
            reloads,
            steps,
            sshd,
            bystanders,
            confirm,
            folded: None,
            folded_sshds: BTreeSet::new(),
            directories,
            entries,
        }
    }

    /// How long the run can still be confirmed, for a person who reads it now; a dash where no confirmation is
    /// needed.
    #[must_use]
    pub fn until(&self) -> String {
        self.confirm.as_ref().map_or_else(|| "-".to_owned(), |confirm| moment::left(confirm.until, Timestamp::now()))
    }

    /// The main configuration files of the sshds for which the run was made: of more than one where runs were folded
    /// into it.
    pub fn sshds(&self) -> impl Iterator<Item = &AbsolutePath> {
        self.sshd.iter().map(|sshd| &sshd.config).chain(&self.folded_sshds)
    }

    /// The main configuration files of all sshds that read what it changes.
    pub(super) fn readers(&self) -> impl Iterator<Item = &AbsolutePath> {
        self.sshds().chain(self.bystanders.iter().map(|sshd| &sshd.config))
    }

    /// Whether the run has ended: kept or rolled back.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.state, State::Kept | State::RolledBack)
    }

    /// The states that may come after the first, the last one first. `Unconfirmed` is among them only for a run that
    /// has to be confirmed.
    pub(super) fn later_states(&self) -> impl Iterator<Item = State> {
        let [_, later @ ..] = State::ALL;
        let waits = self.confirm.is_some();
        later.into_iter().rev().filter(move |state| waits || *state != State::Unconfirmed)
    }

    /// Whether an earlier version wrote it, with the state inside.
    pub(super) fn holds_its_state(&self) -> bool {
        self.own_state.is_some()
    }

    /// The journal as this version writes it, with the state beside it.
    pub(super) fn in_this_version(self) -> Self {
        Self { schema: SCHEMA.to_owned(), own_state: None, ..self }
    }

    /// The text of the journal in that state.
    pub(super) fn in_state(&self, state: State) -> Result<Vec<u8>> {
        let journal = Self { own_state: self.own_state.map(|_| state), ..self.clone() };
        serde_json::to_vec_pretty(&journal).map_err(|error| Error::failed("could not write the journal").cause(error))
    }
}

impl Entry {
    fn new(prepared: &PreparedChange) -> Self {
        let FileChange { path, place, order, .. } = &prepared.change;
        Self {
            path: path.clone(),
            at: place.whereabouts(),
            name: place.name().to_owned(),
            temporary_at: prepared.temporary.whereabouts(),
            temporary: prepared.temporary.name().to_owned(),
            order: *order,
            before: prepared.old_version(),
            after: prepared.new_version(),
            copies: None,
        }
    }

    /// The number of its copies, if its index among the entries is `index`.
    pub(super) fn copies(&self, index: usize) -> usize {
        self.copies.unwrap_or(index)
    }

    pub(super) fn is_of_same_file(&self, other: &Self) -> bool {
        (&self.at.directory, &self.name) == (&other.at.directory, &other.name)
    }

    /// Whether it began with the file that an earlier run had left.
    pub(super) fn continues(&self, earlier: &Self) -> bool {
        let digest = |version: &Option<Version>| version.as_ref().map(|version| version.digest);
        digest(&self.before) == digest(&earlier.after)
    }

    /// Finds the places of the file and of the temporary file again; none where a directory is gone.
    pub(super) fn places(&self, root: &Root) -> Result<Option<(Place, Place)>> {
        Ok(root.find(&self.at, &self.name)?.zip(root.find(&self.temporary_at, &self.temporary)?))
    }
}

/// What to do where the state of a run has been lost.
pub(super) fn how_to_set_state(directory: &StateDir) -> String {
    let link = text::shell_word(&directory.path().join(STATE).to_string_lossy());
    let set = |state: State| format!("ln -sfn {} {link}", state.word());
    format!(
        "restore it from a backup that has symbolic links; or, if `warded audit log` says that the run was done: {}; if \
         it was interrupted: {}, then warded recover",
        set(State::Kept),
        set(State::Committing)
    )
}

/// Reads the journal in a run's directory; none: nothing was ever written there.
pub(super) fn read(directory: &StateDir) -> Result<Option<Journal>> {
    let Some(bytes) = directory.read(FILE)? else { return Ok(None) };
    let unreadable = |cause: String| {
        Error::failed(format!("the journal {} cannot be read", directory.path().join(FILE).display()))
            .cause(text::neutral(&cause))
            .next(format!(
                "if another version of Warded wrote it, use that one; if that run has ended, move {} away; its old \
                 files are in copies.tar there",
                directory.path().display()
            ))
    };
    let mut journal: Journal = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    journal.state = match (journal.schema.as_str(), journal.own_state) {
        (EARLIER_SCHEMA, Some(state)) => state,
        (SCHEMA, None) => match directory.word(STATE).map_err(|error| error.or_next(how_to_set_state(directory)))? {
            // A power cut came before the links were on disk, so nothing has changed. `roll_back.rs` makes sure of
            // that.
            None => State::Prepared,
            Some(word) => State::ALL
                .into_iter()
                .find(|state| state.word() == word)
                .ok_or_else(|| unreadable(format!("{STATE} beside it says {word:?}")))?,
        },
        (EARLIER_SCHEMA | SCHEMA, _) => return Err(unreadable("its state is in the wrong place".to_owned())),
        (other, _) => return Err(unreadable(format!("its schema is {}, not {SCHEMA}", text::neutral(other)))),
    };
    Ok(Some(journal))
}
