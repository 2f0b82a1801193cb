//! Writes Warded's own files so that after a crash they hold either the old contents or the new. For files outside of
//! runs: the CA directory, the heads of audit logs, the configuration, the public status, logins.
#![expect(clippy::disallowed_methods, reason = "the CA directory, heads of audit logs, configuration, status, logins")]

use super::ownership::{chmod_unwritable, chown, is_ours};
use crate::text::shell_word;
use rustix::fs::OFlags;
use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    process,
    sync::atomic::{AtomicU64, Ordering},
};
use tempfile::{Builder, NamedTempFile, TempDir};

/// Makes sure that `path` is a directory of the effective user that nobody else can enter. If it does not exist, it is
/// made (0700) together with its missing parents.
///
/// # Errors
/// When it cannot be made, is not a directory, belongs to another user, or is open to others.
pub fn private_directory(path: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let metadata = std::fs::metadata(path)?;
    let denied = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if !metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    if !is_ours(metadata.uid()) {
        return denied(&format!("it belongs to another user: {}", chown(path)));
    }
    if metadata.mode() & 0o077 != 0 {
        return denied(&format!("others can enter it: chmod 700 {}", shell_word(&path.to_string_lossy())));
    }
    Ok(())
}

/// Makes a directory that others may read and only its owner can write (0755), together with its missing parents. With
/// the umask 0002 the default mode would let the group write it, and Warded would not read files in it. Root's
/// directories get exactly this mode, so that every user can read them; a user's umask may still keep others out.
///
/// # Errors
/// When it cannot be made.
pub fn directory(path: &Path) -> io::Result<()> {
    directory_by(path, rustix::process::geteuid().is_root())
}

fn directory_by(path: &Path, is_for_all: bool) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        directory_by(parent, is_for_all)?;
    }
    match std::fs::DirBuilder::new().mode(0o755).create(path) {
        Ok(()) if is_for_all => std::fs::set_permissions(path, Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Makes sure that `path` is a directory of the effective user that everybody may read and nobody else can write. If it
/// does not exist, it is made (0755, whatever the umask).
///
/// # Errors
/// When it cannot be made, is a link or no directory, belongs to another user, or others can write it.
pub fn public_directory(path: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(0o755))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    // A link is reported as not a directory.
    let metadata = path.symlink_metadata()?;
    let denied = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if !metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return denied(&format!("it belongs to another user: {}", chown(path)));
    }
    if metadata.mode() & 0o022 != 0 {
        return denied(&format!("others can write it: {}", chmod_unwritable(path, metadata.mode())));
    }
    Ok(())
}

/// Writes a file, replacing the one at `path` if there is one.
///
/// # Errors
/// When it cannot be written; what was there stays.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    replace_soon(path, contents, mode)?;
    sync_directory(parent(path))
}

/// Like [`replace`], but after a power cut the old file may still be there.
///
/// # Errors
/// As [`replace`].
pub fn replace_soon(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let written = written(parent(path), contents, mode)?;
    written.as_file().sync_all()?;
    written.persist(path).map(drop).map_err(|failed| failed.error)
}

/// Like [`replace`], but after a power cut the file may be empty: for files that are then written again.
///
/// # Errors
/// As [`replace`].
pub fn replace_unsynced(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    written(parent(path), contents, mode)?.persist(path).map(drop).map_err(|failed| failed.error)
}

/// Overwrites a file of exactly this length, with one write and without a sync: after a power cut the old contents may
/// still be there. Below 512 bytes that is one sector of a disk, which is written whole or not at all. False: there is
/// no such file of this length.
///
/// # Errors
/// When it cannot be written.
pub fn overwrite(path: &Path, contents: &[u8]) -> io::Result<bool> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut file = match OpenOptions::new().write(true).custom_flags(no_follow).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    if !found.is_file() || u64::try_from(contents.len()).is_ok_and(|length| length != found.len()) {
        return Ok(false);
    }
    file.write_all(contents).map(|()| true)
}

/// Writes a new file.
///
/// # Errors
/// When it cannot be written, or a file exists by now (`AlreadyExists`); that file stays.
pub fn create(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let written = written(parent(path), contents, mode)?;
    written.as_file().sync_all()?;
    written.persist_noclobber(path).map_err(|failed| failed.error)?;
    sync_directory(parent(path))
}

/// Makes a directory (0700) with these files (name, contents, mode) appear at `path` in one step. An empty directory
/// may exist at `path` before, and nothing else.
///
/// # Errors
/// When it cannot be written, or something is there; what was there stays.
pub fn new_directory(path: &Path, files: &[(&str, &[u8], u32)]) -> io::Result<()> {
    let above = parent(path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(above)?;
    let staged: TempDir =
        Builder::new().prefix(".warded-new-").permissions(Permissions::from_mode(0o700)).tempdir_in(above)?;
    for (name, contents, mode) in files {
        replace(&staged.path().join(name), contents, *mode)?;
    }
    // rename(2) replaces an empty directory and refuses a full one (ENOTEMPTY).
    std::fs::rename(staged.path(), path)?;
    // The directory was renamed away: nothing is left to be removed.
    drop(staged.keep());
    sync_directory(above)
}

/// Checks that files can be written into a directory, by making one and removing it again.
///
/// # Errors
/// When it cannot be made.
pub fn writable(directory: &Path) -> io::Result<()> {
    temporary(directory)?.close()
}

/// Removes a file, and waits until the removal is on disk.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)?;
    sync_directory(parent(path))
}

/// Waits until the names in a directory are on disk.
///
/// # Errors
/// When the directory cannot be opened or synced.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn written(directory: &Path, contents: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let mut file = temporary(directory)?;
    file.write_all(contents)?;
    // The mode is set after the contents are written, and ignores the umask: others can never read a secret meanwhile.
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// A new file, named after this process. A name that an earlier process with the same pid left behind is skipped.
fn temporary(directory: &Path) -> io::Result<NamedTempFile> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    loop {
        let name = format!(".warded-new-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        match Builder::new().prefix(&name).rand_bytes(0).tempfile_in(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_was_left_behind_is_passed_over() {
        let scratch = tempfile::tempdir().unwrap();
        let first = temporary(scratch.path()).unwrap();
        let name = first.path().file_name().unwrap().to_str().unwrap().to_owned();
        let number: u64 = name.rsplit_once('-').unwrap().1.parse().unwrap();
        // Other tests count up, too.
        let left = (number..number + 200).map(|next| format!(".warded-new-{}-{next}", process::id()));
        let left: Vec<_> = left.map(|name| scratch.path().join(name)).filter(|path| !path.exists()).collect();
        left.iter().for_each(|path| fs::write(path, "left").unwrap());
        replace(&scratch.path().join("head"), b"new", 0o600).unwrap();
        assert!(left.iter().all(|path| fs::read(path).unwrap() == b"left"));
        assert_eq!(fs::read(scratch.path().join("head")).unwrap(), b"new");
    }

    #[test]
    fn a_replaced_file_has_its_mode_and_leaves_nothing_beside_it() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("head");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o644).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"two".to_vec(), 0o644));
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_is_tried_and_nothing_is_left_in_it() {
        let scratch = tempfile::tempdir().unwrap();
        writable(scratch.path()).unwrap();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        fs::write(scratch.path().join("file"), "").unwrap();
        for missing in ["gone", "file"] {
            assert!(writable(&scratch.path().join(missing)).is_err(), "{missing}");
        }
    }

    #[test]
    fn only_a_file_of_the_same_length_is_written_over() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("head");
        assert!(!overwrite(&path, b"one").unwrap() && !path.exists());
        replace(&path, b"one", 0o600).unwrap();
        let inode = || fs::metadata(&path).unwrap().ino();
        let before = inode();
        assert!(overwrite(&path, b"two").unwrap() && !overwrite(&path, b"longer").unwrap());
        assert_eq!((fs::read(&path).unwrap(), inode()), (b"two".to_vec(), before));
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(overwrite(&link, b"new").is_err());
    }

    #[test]
    fn a_new_directory_appears_whole_or_not_at_all() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("deep/ca");
        new_directory(&path, &[("a", b"1", 0o600), ("b", b"2", 0o644)]).unwrap();
        assert_eq!((mode(&path), mode(&path.join("a")), mode(&path.join("b"))), (0o700, 0o600, 0o644));
        assert!(new_directory(&path, &[("a", b"other", 0o600)]).is_err());
        assert_eq!(fs::read(path.join("a")).unwrap(), b"1");
        assert_eq!(fs::read_dir(scratch.path().join("deep")).unwrap().count(), 1, "the staged directory is gone");
        let empty = scratch.path().join("empty");
        fs::create_dir(&empty).unwrap();
        new_directory(&empty, &[("a", b"1", 0o600)]).unwrap();
        assert_eq!(mode(&empty), 0o700);
    }

    #[test]
    fn a_public_directory_is_a_directory_that_only_its_owner_writes() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("status");
        public_directory(&path).unwrap();
        assert_eq!(mode(&path), 0o755);
        for (bits, refused) in [(0o755, false), (0o700, false), (0o775, true), (0o1777, true)] {
            fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
            assert_eq!(public_directory(&path).is_err(), refused, "{bits:o}");
        }
        std::os::unix::fs::symlink(scratch.path(), scratch.path().join("link")).unwrap();
        assert_eq!(public_directory(&scratch.path().join("link")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("state/audit");
        private_directory(&path).unwrap();
        private_directory(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        assert_eq!(private_directory(&path).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        fs::write(scratch.path().join("file"), "").unwrap();
        assert!(private_directory(&scratch.path().join("file")).is_err());
    }
}
