//! Free space on a file system.

use rustix::fs::{StatVfs, statvfs};
use std::{fmt, io, path::Path};

/// The free bytes below which space is scarce. A run writes its journal and copies of the files that it changes, and
/// takes less.
const FEW_BYTES: u64 = 8 << 20;
/// The same as a number of files.
const FEW_FILES: u64 = 100;

/// Less free space than a few runs take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceShortage {
    /// This many bytes are left.
    Bytes(u64),
    /// This many files can still be made.
    Files(u64),
}

impl fmt::Display for SpaceShortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} KiB are left", bytes >> 10),
            Self::Files(files) => write!(f, "{files} more files can be made"),
        }
    }
}

/// Whether the file system of `path` has little room left.
///
/// # Errors
/// When it cannot be asked.
pub fn scarce(path: &Path) -> io::Result<Option<SpaceShortage>> {
    Ok(judge(&statvfs(path)?))
}

/// A file system that reports no total of blocks or files has no limit on them.
fn judge(file_system: &StatVfs) -> Option<SpaceShortage> {
    let bytes = file_system.f_bavail.saturating_mul(file_system.f_frsize.max(1));
    if file_system.f_blocks > 0 && bytes < FEW_BYTES {
        return Some(SpaceShortage::Bytes(bytes));
    }
    (file_system.f_files > 0 && file_system.f_favail < FEW_FILES).then_some(SpaceShortage::Files(file_system.f_favail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::StatVfsMountFlags;

    #[test]
    fn little_room_is_few_blocks_or_few_files() {
        for (case, blocks, blocks_free, files, files_free, expected) in [
            ("plenty", 1 << 20, 1 << 19, 1 << 16, 1 << 15, None),
            ("full", 1 << 20, 0, 1 << 16, 1 << 15, Some(SpaceShortage::Bytes(0))),
            ("8 MiB less a block", 1 << 20, 2047, 1 << 16, 1 << 15, Some(SpaceShortage::Bytes(2047 << 12))),
            ("8 MiB", 1 << 20, 2048, 1 << 16, 1 << 15, None),
            ("no inodes", 1 << 20, 1 << 19, 1 << 16, 3, Some(SpaceShortage::Files(3))),
            ("no count of inodes, as btrfs has it", 1 << 20, 1 << 19, 0, 0, None),
            ("no limit at all", 0, 0, 0, 0, None),
        ] {
            let file_system = StatVfs {
                f_bsize: 4096,
                f_frsize: 4096,
                f_blocks: blocks,
                f_bfree: blocks_free,
                f_bavail: blocks_free,
                f_files: files,
                f_ffree: files_free,
                f_favail: files_free,
                f_fsid: 0,
                f_flag: StatVfsMountFlags::empty(),
                f_namemax: 255,
            };
            assert_eq!(judge(&file_system), expected, "{case}");
        }
    }
}
