//! Files that are trusted as much as this program itself.

use super::StateDir;
use crate::error::{Error, Result};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

impl StateDir {
    /// The contents of a file that only this user can have written, even before it was put here: a regular file of at
    /// most `most` bytes that has no other name. None if the file does not exist.
    ///
    /// # Errors
    /// Refused: it is not a regular file, or others can write it. Failed: it cannot be read.
    pub fn read_owned(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let path = self.at(name)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(refused(&path, "it is a symbolic link")),
            Err(error) => return Err(Self::failed("read", &path, &error.into())),
        };
        let failed = |error: io::Error| Self::failed("read", &path, &error);
        if let Some(why) = unsafe_because(&file.metadata().map_err(failed)?) {
            return Err(refused(&path, why));
        }
        let mut bytes = Vec::new();
        file.take(u64::try_from(most).map_or(u64::MAX, |most| most.saturating_add(1)))
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() <= most {
            Ok(Some(bytes))
        } else {
            Err(refused(&path, &format!("it is larger than {} MiB", most >> 20)))
        }
    }
}

/// Why another user may have written a file.
fn unsafe_because(found: &Metadata) -> Option<&'static str> {
    if !found.is_file() {
        Some("it is no regular file")
    } else if found.uid() != rustix::process::geteuid().as_raw() {
        Some("it belongs to another user")
    } else if found.mode() & 0o022 != 0 {
        Some("others can write it")
    } else if found.nlink() != 1 {
        Some("it has another name, too")
    } else {
        None
    }
}

fn refused(path: &Path, why: &str) -> Error {
    Error::refused(format!("{} is not trusted", path.display())).cause(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt as _, chown, symlink},
    };

    #[test]
    fn only_a_file_that_nobody_else_can_have_written_is_relied_on() {
        let scratch = tempfile::tempdir().unwrap();
        let state = StateDir::open(scratch.path()).unwrap();
        let at = |name: &str| scratch.path().canonicalize().unwrap().join(name);
        let mode = |mode| fs::set_permissions(at("x"), Permissions::from_mode(mode)).unwrap();
        let refused = || state.read_owned("x", 3).unwrap_err().brief();
        assert!(state.read_owned("x", 3).unwrap().is_none());
        fs::write(at("x"), "one").unwrap();
        for allowed in [0o600, 0o644, 0o755] {
            mode(allowed);
            assert_eq!(state.read_owned("x", 3).unwrap().as_deref(), Some(b"one".as_slice()));
        }
        for (other, most) in [(0o620, 3), (0o602, 3), (0o666, 3)] {
            mode(other);
            assert!(state.read_owned("x", most).unwrap_err().brief().contains("others can write it"));
        }
        mode(0o600);
        assert!(state.read_owned("x", 2).unwrap_err().brief().contains("it is larger than"));
        fs::hard_link(at("x"), at("y")).unwrap();
        assert!(refused().contains("it has another name, too"), "{}", refused());
        fs::remove_file(at("y")).unwrap();
        if rustix::process::geteuid().is_root() {
            chown(at("x"), Some(65534), None).unwrap();
            assert!(refused().contains("it belongs to another user"), "{}", refused());
            chown(at("x"), Some(0), None).unwrap();
        }
        assert!(state.read_owned("x", 3).unwrap().is_some());
        fs::rename(at("x"), at("y")).unwrap();
        symlink(at("y"), at("x")).unwrap();
        assert!(refused().contains("it is a symbolic link"), "{}", refused());
        fs::remove_file(at("x")).unwrap();
        fs::create_dir(at("x")).unwrap();
        assert!(refused().contains("it is no regular file"), "{}", refused());
        fs::remove_dir(at("x")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("x"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(refused().contains("it is no regular file"), "{}", refused());
    }
}
