//! Locks on the directories that change: two runs exclude each other whatever state directory and configuration each
//! of them has. Whoever can read a directory can lock it. So root's locks are in a place of root's own, where each is
//! named after its directory.

use super::{change::RunIdentity, damaged, run_directory::Run};
use crate::{
    error::{Error, Result},
    machine::{
        files::{DirectoryLock, Place},
        private::{StateDir, StateLock},
    },
    text,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long to wait for another run.
pub(super) const WAIT: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(10) };
const PAUSE: Duration = Duration::from_millis(50);
/// A place where only root can write: the same for every run, and empty after each boot.
const RUN: [&str; 2] = ["/run", "/var/run"];
/// The file in a lock of root's that says who changed something in the directory last.
const MARK: &str = "run";

/// A run, as runs with other state directories see it.
#[derive(Debug, Serialize, Deserialize)]
struct RunMark {
    state: String,
    run: u64,
}

/// Locked directories, until dropped.
#[derive(Debug)]
pub(super) struct Locks {
    held: Vec<Lock>,
}

#[derive(Debug)]
enum Lock {
    /// The directory itself, for an ordinary user.
    Directory { _lock: DirectoryLock },
    /// What stands for the directory among root's locks.
    Root { own: StateDir, _lock: StateLock },
}

impl Locks {
    /// Locks the directory of each place. Every run locks them in the same order.
    pub(super) fn take<'a>(places: impl IntoIterator<Item = &'a Place>) -> Result<Self> {
        let directories: BTreeMap<(u64, u64), &Place> = places
            .into_iter()
            .map(|place| (place.key(), place))
            .map(|(key, place)| ((key.device, key.inode), place))
            .collect();
        let until = Instant::now() + WAIT;
        let roots = if directories.is_empty() { None } else { roots_locks() };
        let held = directories.values().map(|place| take(place, roots.as_ref(), until)).collect::<Result<_>>()?;
        Ok(Self { held })
    }

    /// Refuses to change anything on top of a run that has not ended and has another state directory: neither run
    /// would know of the other. The next boot rolls back or puts in order whatever that run left.
    ///
    /// # Errors
    /// Refused: there is one.
    pub(super) fn refuse_unended_elsewhere(&self, state: &StateDir) -> Result<()> {
        for own in self.marked() {
            let Some(RunMark { state: other, run }) =
                own.read(MARK)?.and_then(|text| serde_json::from_slice(&text).ok())
            else {
                continue;
            };
            let other = Path::new(&other);
            if other == state.path() {
                continue;
            }
            let Some(theirs) = StateDir::find(other)? else { continue };
            if let Some(journal) =
                damaged::look(&theirs, run)?.map(Run::into_journal).filter(|journal| !journal.is_final())
            {
                let whose = text::neutral(&other.to_string_lossy());
                return Err(Error::refused(format!("{}, whose state is in {whose}, has not ended", journal.run))
                    .cause("it was interrupted, or waits to be confirmed; it may be rolled back any moment")
                    .next(format!("warded --state {whose} status")));
            }
        }
        Ok(())
    }

    /// Marks the locks with this run, for runs with other state directories.
    ///
    /// # Errors
    /// The mark cannot be written.
    pub(super) fn mark(&self, state: &StateDir, run: u64) -> Result<()> {
        let mark = RunMark { state: state.path().to_string_lossy().into_owned(), run };
        let text = serde_json::to_vec(&mark).map_err(|error| Error::failed("cannot mark a lock").cause(error))?;
        // All of /run is in memory, so there is nothing to sync.
        self.marked().try_for_each(|own| own.write_unsynced(MARK, &text, 0o600))
    }

    fn marked(&self) -> impl Iterator<Item = &StateDir> {
        self.held.iter().filter_map(|lock| match lock {
            Lock::Root { own, .. } => Some(own),
            Lock::Directory { .. } => None,
        })
    }
}

/// The directory of root's locks. None for other users, and where none can be made, as on a full disk: rolling back
/// must not depend on it, and only root can have caused that.
fn roots_locks() -> Option<StateDir> {
    let run = RUN.into_iter().map(Path::new).find(|run| run.is_dir())?;
    let root = rustix::process::geteuid().is_root();
    root.then(|| StateDir::open(&run.join("warded/locks")).ok()).flatten()
}

fn take(place: &Place, roots: Option<&StateDir>, until: Instant) -> Result<Lock> {
    let directory = place.whereabouts().directory;
    let failed = |error: &dyn std::fmt::Display| {
        Error::failed(format!("could not lock {}", text::neutral(&directory))).cause(error)
    };
    let key = place.key();
    let stands_for_it = roots.and_then(|roots| roots.sub(&format!("{:x}-{}", key.device, key.inode)).ok());
    loop {
        let taken = match &stands_for_it {
            Some(own) => {
                own.try_lock().map_err(|error| failed(&error))?.map(|lock| Lock::Root { own: own.clone(), _lock: lock })
            }
            None => {
                let lock = place.try_lock_directory().map_err(|error| failed(&error))?;
                lock.map(|lock| Lock::Directory { _lock: lock })
            }
        };
        match taken {
            Some(lock) => return Ok(lock),
            None if Instant::now() < until => thread::sleep(PAUSE),
            None => {
                if let Some(run) = stands_for_it.as_ref().and_then(run_at_work) {
                    return Err(Error::refused(format!("{run} is still at work"))
                        .cause(format!("it changes files in {}", text::neutral(&directory)))
                        .next("wait until it has ended, then run this again"));
                }
                let locked = match &stands_for_it {
                    Some(own) => fs::metadata(own.path()).ok().map(|found| (found.dev(), found.ino())),
                    None => Some((key.device, key.inode)),
                };
                let holder = locked.and_then(holder).unwrap_or_else(|| "another process".to_owned());
                return Err(Error::refused(format!("{} is being changed by another run", text::neutral(&directory)))
                    .cause(format!("{holder} has the directory locked"))
                    .next("wait until it has ended, then run this again"));
            }
        }
    }
}

/// The run that holds a lock of root's; none: it has not begun, or its journal cannot be read.
fn run_at_work(lock: &StateDir) -> Option<RunIdentity> {
    let RunMark { state, run } = serde_json::from_slice(&lock.read(MARK).ok()??).ok()?;
    let theirs = StateDir::find(Path::new(&state)).ok()??;
    let journal = Run::look(&theirs, run).ok()??.into_journal();
    (!journal.is_final()).then_some(journal.run)
}

/// Who holds the lock of a directory, from `/proc/locks`: `1: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF`.
fn holder((device, inode): (u64, u64)) -> Option<String> {
    let file = format!("{:02x}:{:02x}:{inode}", rustix::fs::major(device), rustix::fs::minor(device));
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|fields| {
        let held = fields.get(1) == Some(&"FLOCK") && fields.get(5) == Some(&file.as_str());
        held.then(|| fields.get(4).copied().map(str::to_owned)).flatten()
    })?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("process {pid} ({})", text::neutral(name.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::files::Root;
    use rustix::fs::{FlockOperation, flock};

    /// A directory that everybody may read, and a place in it.
    fn directory() -> (tempfile::TempDir, Place) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().canonicalize().unwrap().join("file");
        let place = Root::ambient().unwrap().place(&path.as_path().try_into().unwrap(), usize::MAX).unwrap().unwrap();
        (scratch, place)
    }

    #[test]
    fn one_run_at_a_time_and_the_holder_is_named() {
        let (_scratch, place) = directory();
        let held = Locks::take([&place]).unwrap();
        let error = Locks::take([&place]).unwrap_err().to_string();
        let me = format!("process {} (", std::process::id());
        assert!(error.contains("is being changed by another run") && error.contains(&me), "{error}");
        drop(held);
        drop(Locks::take([&place]).unwrap());
    }

    #[test]
    fn nobody_can_keep_root_from_a_directory_by_locking_it() {
        if crate::machine::root_only::is_skipped("nobody_can_keep_root_from_a_directory_by_locking_it") {
            return;
        }
        let (scratch, place) = directory();
        // Locking the directory needs no more than permission to read it.
        let opened = fs::File::open(scratch.path()).unwrap();
        flock(&opened, FlockOperation::NonBlockingLockExclusive).unwrap();
        let _held = Locks::take([&place]).unwrap();
        let locks = roots_locks().unwrap();
        for path in [locks.path(), &locks.path().join(format!("{:x}-{}", place.key().device, place.key().inode))] {
            let found = fs::metadata(path).unwrap();
            assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o700), "{}", path.display());
        }
    }
}
