//! Locks on the directories that change: two runs exclude each other whatever state directory
//! and configuration each of them has.

use crate::{
    error::{Error, Result},
    machine::files::{DirectoryLock, Place},
    text,
};
use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

/// How long another run may take.
const WAIT: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(10) };
const PAUSE: Duration = Duration::from_millis(50);

/// Locked directories, until dropped.
#[derive(Debug)]
pub(super) struct Locks {
    _held: Vec<DirectoryLock>,
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
        let held = directories.values().map(|place| take(place, until)).collect::<Result<_>>()?;
        Ok(Self { _held: held })
    }
}

fn take(place: &Place, until: Instant) -> Result<DirectoryLock> {
    let directory = place.whereabouts().directory;
    loop {
        match place.try_lock_directory() {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if Instant::now() < until => thread::sleep(PAUSE),
            Ok(None) => {
                let holder = holder(place).unwrap_or_else(|| "another process".to_owned());
                return Err(Error::refused(format!("{} is being changed by another run", text::neutral(&directory)))
                    .cause(format!("{holder} has the directory locked"))
                    .state("nothing was changed")
                    .next("wait until it has ended, then run this again"));
            }
            Err(error) => {
                return Err(Error::failed(format!("could not lock {}", text::neutral(&directory))).cause(error));
            }
        }
    }
}

/// Who has a directory locked, from `/proc/locks`: `1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF`.
fn holder(place: &Place) -> Option<String> {
    let key = place.key();
    let file = format!("{:02x}:{:02x}:{}", rustix::fs::major(key.device), rustix::fs::minor(key.device), key.inode);
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|fields| {
        let held = fields.get(1) == Some(&"FLOCK") && fields.get(5) == Some(&file.as_str());
        held.then(|| fields.get(4).copied().map(str::to_owned)).flatten()
    })?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("process {pid} ({})", text::neutral(name.trim())))
}
