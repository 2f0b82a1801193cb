//! Identifies a file among others of the same name, and its state among earlier ones.

use serde::{Deserialize, Serialize};
use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The time of a file's change is that of the last tick of the kernel's clock, which has at least 100 in a second.
const TICK: Duration = Duration::from_millis(10);
/// Some file systems keep whole seconds alone, or every other one. There no time has a fraction.
const COARSE: Duration = Duration::from_secs(2);

/// A file is another one, or has been written, when this differs (inode(7)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl FileIdentity {
    /// That of the file which a path leads to; of a link that leads nowhere, its own.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let identity = |found: Metadata| Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            changed: (found.ctime(), found.ctime_nsec()),
        };
        fs::metadata(path).or_else(|_| fs::symlink_metadata(path)).ok().map(identity)
    }

    /// Whether the file may have been written after this was found without that a later look can tell it from this one:
    /// it changed at that time, or so shortly before that a later change has the same time.
    #[must_use]
    pub fn is_fresh_at(&self, time: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let precision = if nanoseconds == 0 { COARSE } else { TICK };
        let settled = time.duration_since(UNIX_EPOCH).ok().and_then(|time| time.checked_sub(precision));
        let changed = u64::try_from(seconds).ok().zip(u32::try_from(nanoseconds).ok());
        let changed = changed.map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds));
        changed.zip(settled).is_none_or(|(changed, settled)| changed >= settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_fresh_until_a_later_change_has_another_time() {
        for (changed, now, is_fresh) in [
            ((100, 5_000_000), (100, 5_000_000), true),
            ((100, 5_000_000), (100, 15_000_000), true),
            ((100, 5_000_000), (100, 15_000_001), false),
            ((100, 999_999_999), (101, 9_999_999), true),
            ((100, 999_999_999), (101, 10_000_000), false),
            // Whole seconds.
            ((100, 0), (100, 999_999_999), true),
            ((100, 0), (102, 0), true),
            ((100, 0), (102, 1), false),
            // What cannot be compared.
            ((200, 1), (100, 0), true),
            ((-1, 1), (100, 0), true),
            ((0, 1), (0, 5), true),
        ] {
            let file = FileIdentity { device: 1, inode: 1, size: 1, changed };
            let now = UNIX_EPOCH + Duration::new(now.0, now.1);
            assert_eq!(file.is_fresh_at(now), is_fresh, "{changed:?} {now:?}");
        }
    }
}
