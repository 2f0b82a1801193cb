//! Obstacles to a change of a file, as far as they can be seen beforehand.

use super::{FileError, FileErrorKind, Place};
use crate::machine::ownership::admission;
use rustix::{
    fs::{Access, AtFlags, StatVfs, StatVfsMountFlags, StatxAttributes, StatxFlags, accessat, fstatvfs, statx},
    io::Errno,
};
use std::{fmt, io, path::Path};

/// Why a file cannot be made, replaced or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    ReadOnlyFileSystem,
    ImmutableDirectory,
    AppendOnlyDirectory,
    Immutable,
    AppendOnly,
    MountedOver,
    DirectoryNotWritable,
    /// The file system has fewer free blocks or inodes than the new files of the directory need.
    NoRoom,
}

impl FileError {
    /// The system's error. If it denies access, with the command that lets this user read the file.
    pub(super) fn io(path: impl AsRef<Path>, error: impl Into<io::Error>) -> Self {
        let (path, error) = (path.as_ref(), error.into());
        let next = (Errno::from_io_error(&error) == Some(Errno::ACCESS)).then(|| admission(path, Access::READ_OK));
        Self { next: next.flatten(), ..Self::new(FileErrorKind::Io, path, error) }
    }
}

impl Place {
    /// Why this file cannot be replaced or removed. `room`: the sizes in bytes of the new files in this directory.
    pub(crate) fn obstacle(&self, room: &[usize]) -> Result<Option<Obstacle>, FileError> {
        let failed = |error| FileError::io(self.resolved(), error);
        let attributes = |name: &str| match statx(self.dir(), name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
        {
            Ok(found) => Ok(found.stx_attributes),
            // If the kernel is too old, or the file does not exist yet, no attribute can be seen.
            Err(Errno::NOSYS | Errno::NOENT) => Ok(StatxAttributes::empty()),
            Err(error) => Err(failed(error)),
        };
        let (directory, file) = (attributes(".")?, attributes(&self.below())?);
        let file_system = fstatvfs(self.dir()).map_err(failed)?;
        let writable = accessat(self.dir(), ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
        Ok(if file_system.f_flag.contains(StatVfsMountFlags::RDONLY) {
            Some(Obstacle::ReadOnlyFileSystem)
        } else if directory.contains(StatxAttributes::IMMUTABLE) {
            Some(Obstacle::ImmutableDirectory)
        } else if directory.contains(StatxAttributes::APPEND) {
            Some(Obstacle::AppendOnlyDirectory)
        } else if file.contains(StatxAttributes::IMMUTABLE) {
            Some(Obstacle::Immutable)
        } else if file.contains(StatxAttributes::APPEND) {
            Some(Obstacle::AppendOnly)
        } else if file.contains(StatxAttributes::MOUNT_ROOT) {
            Some(Obstacle::MountedOver)
        } else if writable == Err(Errno::ACCESS) {
            Some(Obstacle::DirectoryNotWritable)
        } else if !has_room(&file_system, room) {
            Some(Obstacle::NoRoom)
        } else {
            None
        })
    }
}

/// Whether the new files fit. A file system that reports no total of blocks or inodes has no limit on them.
fn has_room(file_system: &StatVfs, files: &[usize]) -> bool {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let block = file_system.f_frsize.max(1);
    let blocks = files.iter().fold(0_u64, |sum, bytes| sum.saturating_add(number(*bytes).div_ceil(block)));
    // Root may use reserved blocks and inodes.
    let is_root = rustix::process::geteuid().is_root();
    let free = |all: u64, available: u64| if is_root { all } else { available };
    let fits = |limit: u64, free: u64, wanted: u64| limit == 0 || wanted <= free;
    fits(file_system.f_blocks, free(file_system.f_bfree, file_system.f_bavail), blocks)
        && fits(file_system.f_files, free(file_system.f_ffree, file_system.f_favail), number(files.len()))
}

impl Obstacle {
    /// Advice on how to mend it; `path` is the file.
    pub(crate) fn next(self, path: &str) -> String {
        let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
        match self {
            Self::ReadOnlyFileSystem => format!("make the file system of {path} writable, then run this again"),
            Self::ImmutableDirectory => format!("chattr -i {directory}; then run this again"),
            Self::AppendOnlyDirectory => format!("chattr -a {directory}; then run this again"),
            Self::Immutable => format!("chattr -i {path}; then run this again"),
            Self::AppendOnly => format!("chattr -a {path}; then run this again"),
            Self::MountedOver => {
                format!(
                    "take the mount away (findmnt {path} shows it), or mount the whole directory; then run this again"
                )
            }
            Self::DirectoryNotWritable => admission(Path::new(directory), Access::WRITE_OK)
                .unwrap_or_else(|| "run it as a user who may write there".to_owned()),
            Self::NoRoom => "make room on that file system, then run this again".to_owned(),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnlyFileSystem => "its file system is read-only",
            Self::ImmutableDirectory => "its directory is immutable (chattr +i)",
            Self::AppendOnlyDirectory => "its directory is append-only (chattr +a)",
            Self::Immutable => "it is immutable (chattr +i)",
            Self::AppendOnly => "it is append-only (chattr +a)",
            Self::MountedOver => "something is mounted on it",
            Self::DirectoryNotWritable => "its directory cannot be written by this user",
            Self::NoRoom => "its file system has no room for it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_files_need_blocks_and_inodes() {
        let file_system = |blocks, blocks_free, inodes, inodes_free| StatVfs {
            f_bsize: 4096,
            f_frsize: 4096,
            f_blocks: blocks,
            f_bfree: blocks_free,
            f_bavail: blocks_free,
            f_files: inodes,
            f_ffree: inodes_free,
            f_favail: inodes_free,
            f_fsid: 0,
            f_flag: StatVfsMountFlags::empty(),
            f_namemax: 255,
        };
        for (case, file_system, files, fits) in [
            ("two pages in one", file_system(10, 1, 10, 10), &[4097][..], false),
            ("two files in one page", file_system(10, 1, 10, 10), &[1, 1], false),
            ("two pages in two", file_system(10, 2, 10, 10), &[4097], true),
            ("a full one, and nothing new", file_system(10, 0, 10, 0), &[], true),
            ("no inode", file_system(10, 9, 10, 0), &[1], false),
            ("one inode for two files", file_system(10, 9, 10, 1), &[1, 1], false),
            ("no count of inodes, as btrfs has it", file_system(10, 9, 0, 0), &[1], true),
            ("no limit at all", file_system(0, 0, 0, 0), &[usize::MAX], true),
        ] {
            assert_eq!(has_room(&file_system, files), fits, "{case}");
        }
    }
}
