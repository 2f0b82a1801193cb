//! Directories that exist only during a run: the private one of a candidate configuration, and sshd's privilege
//! separation directory under /run if no service has made it. Live files belong to `files.rs`.
#![expect(clippy::disallowed_methods, reason = "directories that live as long as a run")]

use crate::error::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, Permissions},
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// The prefix of our directories' names.
const PREFIX: &str = "warded-run-";

/// A temporary directory. Dropping this removes it with everything in it; if the process was killed, [`sweep`] does.
#[derive(Debug)]
pub struct Scratch {
    directory: tempfile::TempDir,
    /// Shows other processes that this one is using the directory.
    _lock: File,
}

impl Scratch {
    /// A directory that only we can enter (0700).
    ///
    /// # Errors
    /// When no safe place for it exists, or it cannot be made.
    pub fn private() -> Result<Self> {
        Self::with_mode(0o700)
    }

    /// A directory that everybody can pass through but nobody can list (0711): for a file that sshd reads as the user
    /// who logs in.
    ///
    /// # Errors
    /// As [`Scratch::private`].
    pub fn passable() -> Result<Self> {
        Self::with_mode(0o711)
    }

    fn with_mode(mode: u32) -> Result<Self> {
        let wrong = |error: std::io::Error| Error::failed("cannot make a temporary directory").cause(error);
        let parent = parent()?;
        loop {
            let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent).map_err(wrong)?;
            let lock = File::open(directory.path()).and_then(|lock| {
                flock(&lock, FlockOperation::LockExclusive)?;
                Ok(lock)
            });
            // Another process may have swept it away before it was locked.
            let lock = match lock {
                Ok(lock) if directory.path().exists() => lock,
                Ok(_) => continue,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(wrong(error)),
            };
            // Set exactly, whatever the umask.
            fs::set_permissions(directory.path(), Permissions::from_mode(mode)).map_err(wrong)?;
            return Ok(Self { directory, _lock: lock });
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Makes a directory in it, with its missing parents.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn directory(&self, below: &str) -> Result<()> {
        let path = self.path().join(below);
        fs::create_dir_all(&path).map_err(|error| Error::failed(format!("cannot make {}", path.display())).cause(error))
    }

    /// Writes a new file with exactly this mode, and returns its path.
    ///
    /// # Errors
    /// When it cannot be written, or exists already.
    pub fn write(&self, name: &str, contents: &[u8], mode: u32) -> Result<PathBuf> {
        let path = self.path().join(name);
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(contents)?;
            file.set_permissions(Permissions::from_mode(mode))
        };
        write().map_err(|error| Error::failed(format!("cannot write {}", path.display())).cause(error))?;
        Ok(path)
    }
}

/// The parent of temporary directories. Root does not follow TMPDIR: the owner of that directory could exchange ours,
/// and with it a configuration that sshd is about to be run with.
fn parent() -> Result<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        return Ok(std::env::temp_dir());
    }
    let safe = |path: &&&str| {
        fs::metadata(path).is_ok_and(|metadata| {
            metadata.is_dir() && metadata.uid() == 0 && (metadata.mode() & 0o1000 != 0 || metadata.mode() & 0o022 == 0)
        })
    };
    ["/tmp", "/var/tmp", "/run", "/root"].iter().find(safe).map(PathBuf::from).ok_or_else(|| {
        Error::failed("cannot make a temporary directory")
            .cause("/tmp, /var/tmp, /run and /root are missing, or others could exchange what is in them")
            .next("chown root /tmp && chmod 1777 /tmp")
    })
}

/// Removes the directories that killed processes of this user left. One that cannot be removed does no harm.
pub fn sweep() {
    if let Ok(parent) = parent() {
        sweep_in(&parent);
    }
}

fn sweep_in(parent: &Path) {
    let ours = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // The parent is sticky, so nobody else can exchange what is ours in it.
        if !named || !entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == ours) {
            continue;
        }
        let Ok(lock) = File::open(entry.path()) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// How long an sshd that we started may take to exit after its connection has ended.
const LAST: Duration = Duration::from_millis(300);

/// The directories that we made, each with the number of its holders. The last holder removes it.
static HELD: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());

/// Keeps sshd's privilege separation directory in existence while this lives. Without it sshd refuses even `-t`; under
/// socket activation nothing makes it before the first connection.
#[derive(Debug)]
#[must_use]
pub struct PrivsepDirectory(PathBuf);

impl PrivsepDirectory {
    /// Makes the directory (0755) if it is missing, lies directly under /run or /var/run, and we are root. None if
    /// there is nothing to hold.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn hold(path: &Path) -> Result<Option<Self>> {
        let parent = path.parent().unwrap_or(path);
        if !rustix::process::geteuid().is_root() || ![Path::new("/run"), Path::new("/var/run")].contains(&parent) {
            return Ok(None);
        }
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(path) {
            *count += 1;
            return Ok(Some(Self(path.to_owned())));
        }
        let wrong = |error| Error::failed(format!("cannot make {}, which sshd needs", path.display())).cause(error);
        match fs::create_dir(path) {
            Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(wrong)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(wrong(error)),
        }
        held.insert(path.to_owned(), 1);
        Ok(Some(Self(path.to_owned())))
    }
}

impl Drop for PrivsepDirectory {
    fn drop(&mut self) {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let left = held.get(&self.0).copied().unwrap_or(1).saturating_sub(1);
        if left > 0 {
            held.insert(self.0.clone(), left);
            return;
        }
        held.remove(&self.0);
        // A service may have started meanwhile and rely on the directory. An empty directory that stays does no harm;
        // removing it would shut out every connection. The sshd of our last handshake may need a moment to exit.
        let deadline = Instant::now() + LAST;
        while crate::machine::sshd::is_running() {
            if Instant::now() >= deadline {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        fs::remove_dir(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_directory_is_private_and_goes() {
        let scratch = Scratch::private().unwrap();
        let path = scratch.write("key", b"secret", 0o600).unwrap();
        assert_eq!(fs::metadata(scratch.path()).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert!(scratch.write("key", b"again", 0o600).is_err());
        let directory = scratch.path().to_owned();
        drop(scratch);
        assert!(!directory.exists());
        assert_eq!(fs::metadata(Scratch::passable().unwrap().path()).unwrap().mode() & 0o7777, 0o711);
    }

    #[test]
    fn what_a_killed_process_left_goes_and_nothing_else() {
        let above = tempfile::tempdir().unwrap();
        let names = ["warded-run-left", "warded-run-held", "warded-demo-left", "else"];
        for name in names {
            fs::create_dir(above.path().join(name)).unwrap();
            fs::write(above.path().join(name).join("file"), "").unwrap();
        }
        fs::write(above.path().join("warded-run-file"), "").unwrap();
        let held = File::open(above.path().join("warded-run-held")).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        sweep_in(above.path());
        let there = |name: &str| above.path().join(name).exists();
        assert_eq!(names.map(there), [false, true, true, true]);
        assert!(above.path().join("warded-run-file").exists());
        drop(held);
        sweep_in(above.path());
        assert!(!there("warded-run-held"));
    }

    #[test]
    fn only_directories_directly_under_run_are_made() {
        for path in ["/etc/sshd", "/run/a/sshd", "/var/empty", "/"] {
            assert!(PrivsepDirectory::hold(Path::new(path)).unwrap().is_none(), "{path}");
        }
    }
}
