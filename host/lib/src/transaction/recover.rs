//! After a crash, a kill or a power cut: finds a run that did not end, and rolls it back. Also handles the run that
//! waits to be confirmed, which has neither ended nor been interrupted.

use super::{
    change::{RollbackReport, RunIdentity, UntouchedFile},
    damaged,
    followup::Followup,
    journal::{Journal, State},
    lock::{self, Locks},
    retain,
    roll_back::roll_back,
    run_directory::{RUNS, Run, WATCH, numbers},
    still_named::Settlement,
    temporary::PreparedChange,
    tidy,
};
use crate::{
    error::{Error, Result},
    machine::{
        files::{Root, Whereabouts},
        path::AbsolutePath,
        private::{StateDir, StateLock},
    },
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

/// How long after its deadline an unconfirmed run is left to its watchdog.
const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// How soon a process that has locked a run and is about to roll it back has recorded that: before that, it waits for
/// the directories.
const BEGINS: Duration = lock::WAIT.saturating_add(Duration::from_secs(1));
const PAUSE: Duration = Duration::from_millis(50);

/// An interrupted run that was rolled back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredRun {
    /// Which run it was.
    pub run: RunIdentity,
    /// What was rolled back.
    pub rolled_back: RollbackReport,
}

/// The newest run that did not end, on which no process works any more, and which does not wait for its confirmation.
/// Changes nothing.
///
/// # Errors
/// When the journals cannot be read.
pub fn interrupted(state: &StateDir) -> Result<Option<Journal>> {
    let runs = Runs::look(state)?;
    for run in &runs.readable {
        if !run.journal().is_final() && !run.is_running()? && !waits(run)? {
            // The run may have ended between reading its journal and checking whether a process works on it.
            let number = run.journal().run.run;
            return Ok(Run::look(state, number)?.map(Run::into_journal).filter(|journal| !journal.is_final()));
        }
    }
    runs.none()
}

/// A run that a process works on.
pub(super) fn at_work(state: &StateDir) -> Result<Option<Journal>> {
    for run in Runs::look(state)?.readable {
        if !run.journal().is_final() && run.is_running()? {
            return Ok(Some(run.into_journal()));
        }
    }
    Ok(None)
}

/// A run that a process is rolling back.
///
/// # Errors
/// When the journals cannot be read.
pub fn being_rolled_back(state: &StateDir) -> Result<Option<Journal>> {
    Ok(at_work(state)?.filter(|journal| journal.state == State::RollingBack))
}

/// Waits until no other process is rolling a run back. Returns the run that was rolled back, if there was one. When
/// the machine starts, sshd may come next, and has to find its files as before.
///
/// # Errors
/// Refused: it takes longer than `patience`. Or when the journals cannot be read.
pub fn await_roll_back(state: &StateDir, patience: Duration) -> Result<Option<RunIdentity>> {
    let (begun, mut seen) = (Instant::now(), None);
    loop {
        let mut at_work = Runs::look(state)?.readable;
        at_work.retain(|run| run.is_running().is_ok_and(|is_running| is_running));
        let is_rolled_back = |run: &&Run| matches!(run.journal().state, State::RollingBack | State::RolledBack);
        match (at_work.iter().find(is_rolled_back), at_work.iter().any(|run| !run.journal().is_final())) {
            (Some(run), _) if begun.elapsed() > patience => {
                return Err(Error::refused(format!(
                    "{} is still being rolled back by another process",
                    run.journal().run
                ))
                .next("wait until that has ended, then run this again"));
            }
            (Some(run), _) => seen = Some(run.journal().run.clone()),
            // A process that continues a run rolls nothing back.
            (None, true) if begun.elapsed() < BEGINS => {}
            (None, _) => return Ok(seen),
        }
        thread::sleep(PAUSE);
    }
}

/// The run that waits for its confirmation and has a watchdog. Changes nothing.
///
/// # Errors
/// When the journals cannot be read.
pub fn unconfirmed(state: &StateDir) -> Result<Option<Journal>> {
    let mut runs = Runs::look(state)?;
    for run in runs.readable.drain(..) {
        if waits(&run)? {
            return Ok(Some(run.into_journal()));
        }
    }
    runs.none()
}

/// All runs, the newest first. A journal that cannot be read does not hide the other runs. But unless that run has
/// ended, nobody can say that there is no run of some kind.
struct Runs {
    readable: Vec<Run>,
    fault: Option<Error>,
}

impl Runs {
    fn look(state: &StateDir) -> Result<Self> {
        let mut runs = Self { readable: Vec::new(), fault: None };
        for number in numbers(state)? {
            match damaged::look(state, number) {
                Ok(run) => runs.readable.extend(run),
                Err(error) => runs.fault = runs.fault.or(Some(error)),
            }
        }
        Ok(runs)
    }

    fn none<T>(self) -> Result<Option<T>> {
        self.fault.map_or(Ok(None), Err)
    }
}

/// Rolls the newest interrupted run back. Call it until it finds none. `settle` tells the services, while nobody else
/// can work on the run, and says what sshd uses afterwards.
///
/// # Errors
/// When a file could not be put back, or another run has its directory.
pub fn recover<S: Into<Settlement>>(
    state: &StateDir,
    root: &Root,
    settle: impl FnOnce(&Journal, &RollbackReport) -> S,
) -> Result<Option<RecoveredRun>> {
    let Some(journal) = interrupted(state)? else { return Ok(None) };
    let rolled_back = roll_back_run(state, root, journal.run.run, settle)?;
    Ok(rolled_back.map(|rolled_back| RecoveredRun { run: journal.run, rolled_back }))
}

/// Rolls one run back, from its journal alone; none where it has ended already. This is for a watchdog, after the
/// process that made the changes is gone: while that process lives, this is refused.
///
/// # Errors
/// As [`recover`].
pub fn roll_back_run<S: Into<Settlement>>(
    state: &StateDir,
    root: &Root,
    number: u64,
    settle: impl FnOnce(&Journal, &RollbackReport) -> S,
) -> Result<Option<RollbackReport>> {
    let Some(mut run) = Run::open(state, number)?.filter(|run| !run.journal().is_final()) else { return Ok(None) };
    // Takes each directory once: there may be more files than a process may have open. A directory that cannot be
    // opened does not keep the files of others from being put back.
    let mut places = BTreeMap::new();
    let configs = run.journal().readers().map(|config| root.place(config, usize::MAX));
    let configs = configs.filter_map(Result::ok).flatten();
    let known = run.journal().entries.iter().map(|entry| entry.places(root));
    let known = known.filter_map(Result::ok).flatten().flat_map(<[_; 2]>::from);
    for place in known.chain(configs) {
        places.insert((place.key().device, place.key().inode), place);
    }
    let _locks = Locks::take(places.values())?;
    roll_back(root, &mut run, settle).map(Some)
}

/// Makes what a watchdog of this run needs, so that a full disk shows before a watchdog is started.
///
/// # Errors
/// There is no room on the disk.
pub fn prepare_watch(state: &StateDir, number: u64) -> Result<()> {
    state.sub(&format!("{RUNS}/{number}/{WATCH}")).map(drop)
}

/// Declares, for as long as the result lives, that this process rolls the run back if necessary.
///
/// # Errors
/// There is no such run, or another process does that already.
pub fn watch(state: &StateDir, number: u64) -> Result<StateLock> {
    let run = Run::look(state, number)?.ok_or_else(|| Error::failed(format!("there is no run {number}")))?;
    run.watch()?.ok_or_else(|| Error::refused(format!("run {number} is watched already")))
}

/// The present journal of a run; none where there is no such run.
///
/// # Errors
/// When it cannot be read.
pub fn look(state: &StateDir, number: u64) -> Result<Option<Journal>> {
    Ok(Run::look(state, number)?.map(Run::into_journal))
}

/// The journal of the newest run that has one, leaving out ended runs whose journals cannot be read.
///
/// # Errors
/// When it cannot be read.
pub fn newest(state: &StateDir) -> Result<Option<Journal>> {
    for number in numbers(state)? {
        if let Some(run) = damaged::look(state, number)? {
            return Ok(Some(run.into_journal()));
        }
    }
    Ok(None)
}

/// Makes the changes of the run that waits for its confirmation final; none where no run waits. `may` decides last,
/// while nobody else can work on the run; it also learns whether the run is watched.
///
/// # Errors
/// Refused: `may` refuses. Failed: the journal cannot be written.
pub fn confirm(
    state: &StateDir,
    root: &Root,
    may: impl FnOnce(&Journal, bool) -> Result<()>,
) -> Result<Option<(Journal, Vec<UntouchedFile>)>> {
    let Some((number, _)) = newest_unconfirmed(state)? else { return Ok(None) };
    let open = Run::open(state, number)?;
    let Some(mut run) = open.filter(|run| run.journal().state == State::Unconfirmed) else { return Ok(None) };
    may(run.journal(), run.is_watched()?)?;
    run.keep()?;
    // The next command tidies up whatever is left.
    let mut left = tidy::tidy(root, &run);
    left.extend(retain::prune_if_possible(state));
    Ok(Some((run.into_journal(), left)))
}

/// The run that [`confirm`] would confirm, and whether a process will roll it back at the deadline. Changes nothing.
///
/// # Errors
/// When a journal cannot be read.
pub fn to_confirm(state: &StateDir) -> Result<Option<(Journal, bool)>> {
    let Some((_, run)) = newest_unconfirmed(state)? else { return Ok(None) };
    let is_watched = run.is_watched()?;
    Ok(Some((run.into_journal(), is_watched)))
}

fn newest_unconfirmed(state: &StateDir) -> Result<Option<(u64, Run)>> {
    for number in numbers(state)? {
        if let Some(run) = damaged::look(state, number)?
            && run.journal().state == State::Unconfirmed
        {
            return Ok(Some((number, run)));
        }
    }
    Ok(None)
}

/// Only one run at a time may be unended: with a second one on top, the changes of the two could not be told apart.
pub(super) fn refuse_unended(state: &StateDir) -> Result<()> {
    refuse_unconfirmed(state)?;
    match interrupted(state)? {
        None => Ok(()),
        Some(journal) => Err(Error::refused(format!("{} was interrupted", journal.run))
            .state("its changes may have been made in part")
            .next("warded recover")),
    }
}

/// Checks, with the directories locked, that no unended run of this state directory changed something there or
/// belongs to the same sshd. A process that is about to roll such a run back waits for these locks, and would roll
/// back what is built on that run, too.
pub(super) fn refuse_unended_here(state: &StateDir, changes: &[PreparedChange], followup: &Followup) -> Result<()> {
    let directories: BTreeSet<String> =
        changes.iter().flat_map(PreparedChange::places).map(|place| place.whereabouts().directory).collect();
    let configs: BTreeSet<&AbsolutePath> = followup.configs().collect();
    let is_in_the_way = |journal: &Journal| {
        let same_sshd = journal.readers().any(|config| configs.contains(config));
        let is_ours = |at: &Whereabouts| directories.contains(&at.directory);
        same_sshd || journal.entries.iter().any(|entry| is_ours(&entry.at) || is_ours(&entry.temporary_at))
    };
    let runs = Runs::look(state)?.readable;
    match runs.into_iter().map(Run::into_journal).find(|journal| !journal.is_final() && is_in_the_way(journal)) {
        None => Ok(()),
        Some(journal) => Err(Error::refused(format!("{} has not ended", journal.run))
            .cause("it was interrupted just now, and is about to be rolled back")
            .next("warded recover, then run this again")),
    }
}

/// Refuses to change anything on top of a run that may be rolled back any moment.
///
/// # Errors
/// Refused: a run waits to be confirmed.
pub fn refuse_unconfirmed(state: &StateDir) -> Result<()> {
    let Some(journal) = unconfirmed(state)? else { return Ok(()) };
    Err(Error::refused(format!("{} has not been confirmed yet", journal.run))
        .state(format!("it is rolled back unless that is done ({})", journal.until()))
        .next("open a new login to this machine and run `warded confirm` there; or wait until it has been rolled back"))
}

/// Whether a run waits to be confirmed, and a process will otherwise roll it back.
fn waits(run: &Run) -> Result<bool> {
    let journal = run.journal();
    let in_time = journal.confirm.as_ref().is_some_and(|confirm| Timestamp::now() <= confirm.until + GRACE);
    Ok(journal.state == State::Unconfirmed && in_time && run.is_watched()?)
}

/// Removes what ended runs have left behind. Returns what it could not remove.
///
/// # Errors
/// When the journals cannot be read.
pub fn tidy_ended(state: &StateDir, root: &Root) -> Result<Vec<UntouchedFile>> {
    let mut left = Vec::new();
    let runs = Runs::look(state)?;
    for run in runs.readable {
        if run.journal().is_final()
            && run.is_untidy()?
            && let Some(_lock) = run.try_lock()?
        {
            left.extend(tidy::tidy(root, &run));
        }
    }
    runs.fault.map_or(Ok(left), Err)
}
