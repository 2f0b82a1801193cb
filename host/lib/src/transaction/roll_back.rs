//! Taking a run back, from its journal alone: by the process that made the changes, by a
//! watchdog, or at the next boot. A file is touched only if its bytes are the journal's.

use super::{
    InUse, Reload, commit, in_use, interruption,
    journal::{Entry, Journal, State, Version},
    run_directory::Run,
};
use crate::{
    digest::Digest,
    error::{Error, Result},
    machine::{
        files::{Place, Root, Snapshot, Step},
        path::AbsolutePath,
    },
    text,
};
use std::{collections::BTreeMap, fmt, io, path::Path};

/// What was taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolledBack {
    /// The files that are as before again, in the order in which that happened.
    pub restored: Vec<AbsolutePath>,
    /// What is not as before, because somebody else has changed it.
    pub left_alone: Vec<LeftAlone>,
    /// The services to reload: those of the run, unless none of its changes had been made.
    pub reloads: Vec<Reload>,
    /// Whether the run may have told sshd of what it had changed.
    pub was_told: bool,
}

impl fmt::Display for RolledBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} restored", text::count(self.restored.len(), "file"))?;
        self.left_alone.iter().try_for_each(|left| write!(f, "; {left}"))
    }
}

/// A file that was not touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftAlone {
    /// The path, as it was asked for; of a temporary file, where it is.
    pub path: AbsolutePath,
    /// Why not.
    pub why: String,
}

impl LeftAlone {
    /// None where the path cannot be shown.
    pub(super) fn at(path: &Path, why: String) -> Option<Self> {
        AbsolutePath::try_from(path).ok().map(|path| Self { path, why })
    }
}

impl fmt::Display for LeftAlone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} left alone: {}", self.path, self.why)
    }
}

/// Takes back what the run has changed, in reverse order; has `settle` tell the services, and say what
/// sshd uses then; takes out what it does not; and removes the temporary files. Stopped anywhere, it can be done again, and
/// tells them then.
pub(super) fn roll_back(
    root: &Root,
    run: &mut Run,
    settle: impl FnOnce(&Journal, &RolledBack) -> InUse,
) -> Result<RolledBack> {
    let is_first_attempt = run.journal().state != State::RollingBack;
    match run.journal().state {
        State::Prepared | State::RollingBack => {}
        State::Committing | State::Unconfirmed => {
            // On disk before the first file: whoever finds only old files later, tells the services.
            if has_changed(root, run) {
                run.advance(State::RollingBack)?;
            }
        }
        State::RolledBack => return Ok(RolledBack::default()),
        State::Kept => return Err(Error::failed(format!("{} was kept already", run.journal().run)).next("warded undo")),
    }
    let mut done = RolledBack { was_told: run.was_told()?, ..RolledBack::default() };
    let entries = run.journal().entries.iter().enumerate().rev();
    let (brought_in, others): (Vec<_>, Vec<_>) = entries.partition(|(_, entry)| in_use::until_told(entry));
    let failures = restore_all(root, run, &others, &mut done);
    // Services are told of what is back, even if one file is not: but not by every attempt anew.
    let mut in_use = InUse::nothing();
    if run.journal().state == State::RollingBack && (is_first_attempt || failures.is_empty()) {
        done.reloads.clone_from(&run.journal().reloads);
        in_use = settle(run.journal(), &done);
        interruption::point("settled");
    }
    // The first is told; all of them will be met again by the next attempt.
    if let Some(first) = failures.into_iter().next() {
        return Err(first.next("run `warded recover`"));
    }
    in_use::take_out(root, run, &brought_in, &in_use, &mut done);
    run.advance(State::RolledBack)?;
    interruption::point("rolled back");
    done.left_alone.extend(tidy(root, run));
    Ok(done)
}

/// Restores those, each for itself; what went wrong.
fn restore_all(root: &Root, run: &Run, entries: &[(usize, &Entry)], done: &mut RolledBack) -> Vec<Error> {
    let mut failures = Vec::new();
    for group in entries.chunk_by(|a, b| a.1.order == b.1.order) {
        let mut directories = BTreeMap::new();
        for (index, entry) in group {
            match restore(root, run, *index, entry, &mut directories) {
                Ok(Outcome::AsBefore) => {}
                Ok(Outcome::Restored) => done.restored.push(entry.path.clone()),
                Ok(Outcome::LeftAlone(why)) => done.left_alone.push(LeftAlone { path: entry.path.clone(), why }),
                Err(error) => failures.push(error),
            }
            interruption::point("restored");
        }
        let synced = directories.into_values().try_for_each(|place: Place| place.sync_directory());
        failures.extend(synced.err().map(|error| Error::failed("could not sync a directory").cause(error)));
    }
    failures
}

/// Removes the temporary files of a run that has ended, and copies that are of no more use; says
/// what it could not remove. That is no failure: the run has ended, and the next command tries again.
pub(super) fn tidy(root: &Root, run: &Run) -> Vec<LeftAlone> {
    let mut left = Vec::new();
    let mut again = false;
    let mut directories = BTreeMap::new();
    let mut untidied = |left: &mut Vec<LeftAlone>, entry: &Entry, error: &Error| {
        again = true;
        left.push(LeftAlone { path: entry.path.clone(), why: untidy("its temporary file", error) });
    };
    for (index, entry) in run.journal().entries.iter().enumerate() {
        match tidy_one(root, run, index, entry) {
            Ok(Tidied::Nothing) => {}
            Ok(Tidied::Removed(place)) => {
                directories.insert((place.key().device, place.key().inode), (place, entry));
            }
            Ok(Tidied::Theirs(theirs)) => left.extend(theirs),
            Err(error) => untidied(&mut left, entry, &error),
        }
        interruption::point("tidied");
    }
    // A private key that is gone is not to come back with a power cut.
    for (place, entry) in directories.into_values() {
        if let Err(error) = place.sync_directory() {
            untidied(&mut left, entry, &Error::failed("could not sync its directory").cause(error));
        }
    }
    let ended = if run.journal().state == State::Kept {
        run.settle_own().and(run.remove_new_keys())
    } else {
        run.forget_own().and(run.remove_copies())
    };
    // The sign that something is left to tidy goes last.
    let ended = if again { ended } else { ended.and_then(|()| run.remove_pending()) };
    if let Err(error) = ended {
        left.extend(LeftAlone::at(run.path(), untidy("what is in it", &error)));
    }
    left
}

/// What became of a temporary file.
enum Tidied {
    Nothing,
    Removed(Place),
    /// None where its path cannot be shown.
    Theirs(Option<LeftAlone>),
}

fn tidy_one(root: &Root, run: &Run, index: usize, entry: &Entry) -> Result<Tidied> {
    let Some(temporary) = root.find(&entry.temporary_at, &entry.temporary)? else { return Ok(Tidied::Nothing) };
    if temporary.inode()?.is_none() {
        return Ok(Tidied::Nothing);
    }
    if is_disposable(run, index, &temporary)? {
        temporary.remove().map_err(|error| {
            Error::failed(format!("could not remove {}", temporary.resolved().display())).cause(error)
        })?;
        return Ok(Tidied::Removed(temporary));
    }
    let why = format!("somebody wrote to {} while it was replaced; this is what they wrote", entry.path);
    Ok(Tidied::Theirs(LeftAlone::at(&temporary.resolved(), why)))
}

/// Why something was left, and what becomes of it.
pub(super) fn untidy(what: &str, error: &Error) -> String {
    let causes: String =
        error.notes().filter(|(label, _)| *label == "cause").map(|(_, cause)| format!(": {cause}")).collect();
    format!("{what} could not be tidied away, the next command tries again ({}{causes})", error.message())
}

pub(super) enum Outcome {
    /// It had not been changed.
    AsBefore,
    Restored,
    LeftAlone(String),
}

/// What is at an entry's place now.
pub(super) enum Found {
    Nothing,
    Old,
    New,
    Other,
}

/// Whether any of the changes is in place. What cannot be looked at may be one.
fn has_changed(root: &Root, run: &Run) -> bool {
    let is_in_place = |entry: &Entry| -> Result<bool> {
        let Some((target, _)) = entry.places(root)? else { return Ok(false) };
        let found = look(&target, entry)?;
        Ok(matches!((&entry.after, found), (Some(_), Found::New) | (None, Found::Nothing)))
    };
    run.journal().entries.iter().any(|entry| is_in_place(entry).unwrap_or(true))
}

pub(super) fn restore(
    root: &Root,
    run: &Run,
    index: usize,
    entry: &Entry,
    directories: &mut BTreeMap<(u64, u64), Place>,
) -> Result<Outcome> {
    let Some((target, temporary)) = entry.places(root)? else {
        return Ok(Outcome::LeftAlone("its directory is gone".to_owned()));
    };
    let outcome = match (&entry.before, &entry.after, look(&target, entry)?) {
        (Some(_), _, Found::Old) | (None, _, Found::Nothing) => return Ok(Outcome::AsBefore),
        (Some(before), Some(after), Found::New) => {
            make_old(run, index, before, &target, &temporary)?;
            exchange_back(after, &target, &temporary)
        }
        (Some(before), None, Found::Nothing) => {
            make_old(run, index, before, &target, &temporary)?;
            commit::move_to_free(&temporary, &target).map(|()| Outcome::Restored)
        }
        (None, Some(after), Found::New) => {
            dispose(run, index, &temporary)?;
            take_out(after, &target, &temporary)
        }
        (_, _, Found::Nothing) => return Ok(Outcome::LeftAlone("somebody else removed it".to_owned())),
        (_, _, Found::Old | Found::New | Found::Other) => {
            return Ok(Outcome::LeftAlone("somebody else changed it".to_owned()));
        }
    };
    for place in [target, temporary] {
        directories.insert((place.key().device, place.key().inode), place);
    }
    outcome.map_err(|error| Error::failed(format!("could not put {} back", entry.path)).cause(error))
}

pub(super) fn look(target: &Place, entry: &Entry) -> Result<Found> {
    let found = match target.snapshot() {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Found::Nothing),
        Err(error) if error.code == "io" => return Err(error.into()),
        Err(_) => return Ok(Found::Other),
    };
    let is = |version: &Option<Version>| version.as_ref().is_some_and(|version| version.digest == found.digest);
    let is_old_inode = entry.before.as_ref().is_some_and(|before| before.inode == Some(found.inode));
    Ok(match (is(&entry.before), is(&entry.after)) {
        // Only mode or owner differ: which of the two it is, the inode says.
        (true, true) if is_old_inode => Found::Old,
        (_, true) => Found::New,
        (true, false) => Found::Old,
        (false, false) => Found::Other,
    })
}

/// Makes sure that the old file is in the temporary place: it is after an exchange; otherwise it
/// is written from its copy.
fn make_old(run: &Run, index: usize, before: &Version, target: &Place, temporary: &Place) -> Result<()> {
    if is_complete(before, temporary)? {
        return Ok(());
    }
    let inode = temporary.inode()?;
    if inode.is_some() {
        if is_disposable(run, index, temporary)? {
            dispose(run, index, temporary)?;
        } else if inode == before.inode {
            // The old file itself, which somebody had open and wrote to: theirs goes back.
            return Ok(());
        } else {
            return Err(in_the_way(temporary));
        }
    }
    let copy = run.old(index)?.filter(|copy| Digest::of(copy) == before.digest);
    let contents = copy.ok_or_else(|| {
        let path = text::neutral(&target.resolved().to_string_lossy());
        Error::failed(format!("the copy of the old {path} is missing or damaged"))
            .next("restore the file from a backup: Warded leaves a file that is as before the run")
    })?;
    temporary
        .create(&contents, before.mode, before.metadata.as_ref(), target)
        .map_err(|error| Error::failed(format!("could not write {}", temporary.resolved().display())).cause(error))?;
    interruption::point("old file written");
    Ok(())
}

fn is_complete(before: &Version, temporary: &Place) -> Result<bool> {
    let Ok(Some(found)) = temporary.snapshot() else { return Ok(false) };
    let same = before.inode == Some(found.inode) && before.digest == found.digest && before.mode == found.mode;
    Ok(same && temporary.metadata()? == before.metadata)
}

fn exchange_back(after: &Version, target: &Place, temporary: &Place) -> io::Result<Outcome> {
    let old = temporary.inode().map_err(io::Error::other)?;
    match temporary.exchange(target)? {
        Step::Unsupported => temporary.move_over(target).map(|()| Outcome::Restored),
        Step::Taken if is_version(after, temporary) => Ok(Outcome::Restored),
        Step::Taken => {
            commit::put_back(temporary, target, old)?;
            Ok(Outcome::LeftAlone("somebody else changed it at this very moment".to_owned()))
        }
    }
}

fn take_out(after: &Version, target: &Place, temporary: &Place) -> io::Result<Outcome> {
    commit::move_to_free(target, temporary)?;
    if is_version(after, temporary) {
        return Ok(Outcome::Restored);
    }
    commit::move_to_free(temporary, target)?;
    Ok(Outcome::LeftAlone("somebody else changed it at this very moment".to_owned()))
}

fn is_version(version: &Version, place: &Place) -> bool {
    place.snapshot().is_ok_and(|found| found.is_some_and(|found| found.digest == version.digest))
}

/// Removes what an interrupted run has left in the temporary place.
fn dispose(run: &Run, index: usize, temporary: &Place) -> Result<()> {
    if temporary.inode()?.is_none() {
        return Ok(());
    }
    if !is_disposable(run, index, temporary)? {
        return Err(in_the_way(temporary));
    }
    temporary
        .remove()
        .map_err(|error| Error::failed(format!("could not remove {}", temporary.resolved().display())).cause(error))
}

/// Whether the temporary file is the journal's old or new one, or the beginning of one that was
/// being written: then nothing of anybody else's is lost with it.
fn is_disposable(run: &Run, index: usize, temporary: &Place) -> Result<bool> {
    let found: Snapshot = match temporary.snapshot() {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(true),
        Err(error) if error.code == "io" => return Err(error.into()),
        Err(_) => return Ok(false),
    };
    let begins = |copy: Option<zeroize::Zeroizing<Vec<u8>>>| copy.is_some_and(|copy| copy.starts_with(&found.contents));
    Ok(begins(run.old(index)?) || begins(run.left(index)?))
}

fn in_the_way(temporary: &Place) -> Error {
    Error::failed(format!(
        "{} is in the way, and not of this run",
        text::neutral(&temporary.resolved().to_string_lossy())
    ))
    .next("move it away, then run `warded recover`")
}
