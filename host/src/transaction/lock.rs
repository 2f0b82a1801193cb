//! Locks on the directories that change: two runs exclude each other whatever state directory
//! and configuration each of them has.
//!
//! Whoever can read a directory can lock it. So root locks a stand-in that only root can open,
//! at a fixed place; a user locks the directory itself.

use crate::{
    error::{Error, Result},
    machine::{
        files::{DirectoryLock, Place},
        private::{StateDir, StateLock},
    },
    text,
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long another run may take.
const WAIT: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(10) };
const PAUSE: Duration = Duration::from_millis(50);

/// Where root's stand-ins are: the first of which the directory above is there.
const ROOTS_LOCKS: [&str; 2] = ["/run/warded/locks", "/var/run/warded/locks"];

/// Locked directories, until dropped.
#[derive(Debug)]
pub(super) struct Locks {
    _held: Vec<Lock>,
}

/// One of them.
#[derive(Debug)]
enum Lock {
    Itself { _lock: DirectoryLock },
    StandIn { _lock: StateLock },
}

/// Where a directory is locked.
enum Locker<'a> {
    Itself(&'a Place),
    StandIn(StateDir),
}

impl Locks {
    /// Locks the directory of each place, in one order for everybody.
    pub(super) fn take<'a>(places: impl IntoIterator<Item = &'a Place>) -> Result<Self> {
        let directories: BTreeMap<(u64, u64), &Place> = places
            .into_iter()
            .map(|place| (place.key(), place))
            .map(|(key, place)| ((key.device, key.inode), place))
            .collect();
        let until = Instant::now() + WAIT;
        let stand_ins = stand_ins()?;
        let held = directories.values().map(|place| take(place, stand_ins.as_ref(), until)).collect::<Result<_>>()?;
        Ok(Self { _held: held })
    }
}

/// Root's directory of stand-ins; none for a user, or where there is nowhere to have it.
fn stand_ins() -> Result<Option<StateDir>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let is_there = |path: &&&str| Path::new(path).ancestors().nth(2).is_some_and(Path::is_dir);
    ROOTS_LOCKS.iter().find(is_there).map(|path| StateDir::open(Path::new(path))).transpose()
}

impl Locker<'_> {
    fn try_lock(&self) -> Result<Option<Lock>> {
        match self {
            Self::Itself(place) => place
                .try_lock_directory()
                .map(|lock| lock.map(|lock| Lock::Itself { _lock: lock }))
                .map_err(|error| Error::failed("the directory cannot be locked").cause(error)),
            Self::StandIn(directory) => Ok(directory.try_lock()?.map(|lock| Lock::StandIn { _lock: lock })),
        }
    }

    /// Device and inode of what is locked, as far as they are known.
    fn key(&self) -> Option<(u64, u64)> {
        match self {
            Self::Itself(place) => Some((place.key().device, place.key().inode)),
            Self::StandIn(directory) => directory.path().metadata().ok().map(|found| (found.dev(), found.ino())),
        }
    }
}

fn take(place: &Place, stand_ins: Option<&StateDir>, until: Instant) -> Result<Lock> {
    let directory = place.whereabouts().directory;
    let locker = match stand_ins {
        None => Locker::Itself(place),
        Some(stand_ins) => {
            let key = place.key();
            Locker::StandIn(stand_ins.sub(&format!("{}-{}", key.device, key.inode))?)
        }
    };
    loop {
        match locker.try_lock() {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if Instant::now() < until => thread::sleep(PAUSE),
            Ok(None) => {
                let holder = locker.key().and_then(holder).unwrap_or_else(|| "another process".to_owned());
                return Err(Error::refused(format!("{} is being changed by another run", text::neutral(&directory)))
                    .cause(format!("{holder} has the directory locked"))
                    .state("nothing was changed")
                    .next("wait until it has ended, then run this again"));
            }
            Err(error) => {
                let cause = error.to_string();
                return Err(Error::failed(format!("could not lock {}", text::neutral(&directory))).cause(cause));
            }
        }
    }
}

/// Who has something locked, from `/proc/locks`: `1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF`.
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
