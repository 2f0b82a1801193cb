//! Output files that the operator names. Only a regular file is replaced, and only a missing file is made:
//! `/dev/stdout` is a link, and a device, a FIFO or a socket has a reader of its own.

use super::durable;
use crate::{
    error::{Error, Result},
    text::neutral_path,
};
use std::{io, os::unix::fs::FileTypeExt as _, path::Path};

/// Writes the file whole, or not at all. A link is not followed: if others can write its directory, they chose where it
/// leads.
///
/// # Errors
/// Something other than a regular file is there, or it cannot be written; what was there stays.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> Result<()> {
    refuse_other(path)?;
    durable::replace(path, contents, mode)
        .map_err(|error| Error::failed(format!("cannot write {}", neutral_path(path))).cause(error))
}

/// Checks that there is a regular file at that path, or nothing.
///
/// # Errors
/// Something else is there.
pub fn refuse_other(path: &Path) -> Result<()> {
    let kind = match path.symlink_metadata() {
        Ok(there) => there.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::failed(format!("cannot write {}", neutral_path(path))).cause(error)),
    };
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(Error::refused(format!("{} is {what}", neutral_path(path)))
        .cause("only a regular file is replaced")
        .state("it is as it was")
        .next("name a regular file, or one that is not there yet"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn only_a_regular_file_is_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        replace(&at("file"), b"one", 0o644).unwrap();
        replace(&at("file"), b"two", 0o644).unwrap();
        assert_eq!(fs::read(at("file")).unwrap(), b"two");
        symlink(at("file"), at("link")).unwrap();
        symlink(at("nothing"), at("dangling")).unwrap();
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::create_dir(at("directory")).unwrap();
        for (name, what) in [
            ("link", "a symbolic link"),
            ("dangling", "a symbolic link"),
            ("fifo", "a FIFO"),
            ("directory", "a directory"),
        ] {
            let before = at(name).symlink_metadata().unwrap().file_type();
            let error = replace(&at(name), b"three", 0o644).unwrap_err();
            assert_eq!((error.exit(), error.message().ends_with(what)), (Exit::Refused, true), "{error}");
            assert_eq!(at(name).symlink_metadata().unwrap().file_type(), before);
        }
        assert_eq!(fs::read(at("file")).unwrap(), b"two");
    }
}
