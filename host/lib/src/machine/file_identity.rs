//! Tells a file from others with the same name, and from its own earlier contents.

use serde::{Deserialize, Serialize};
use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The kernel stamps a file's change with the time of its last clock tick; there are at least 100 ticks in a second.
const TICK: Duration = Duration::from_millis(10);
/// Some file systems store only whole seconds, or every other one; their times have no fraction.
const COARSE: Duration = Duration::from_secs(2);

/// If this differs, the file is another one or has been written (inode(7)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl FileIdentity {
    /// The identity of the file that a path leads to; for a dangling link, that of the link itself.
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

    /// Whether a write after `time` could go unnoticed because it leaves this identity the same: the file changed at
    /// that time, or so shortly before that a later change could get the same timestamp.
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
            // A file system with whole seconds.
            ((100, 0), (100, 999_999_999), true),
            ((100, 0), (102, 0), true),
            ((100, 0), (102, 1), false),
            // Times that cannot be compared.
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
