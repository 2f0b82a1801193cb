//! Reads components and other files that an operator names, wherever they are.

use crate::imports;
use rustix::fs::OFlags;
use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};
use warded_lib::{
    error::{Error, Result},
    text::neutral_path,
};

/// The largest file that is read as a component.
pub const MAX_COMPONENT_BYTES: u64 = 16 << 20;

/// Reads a file.
///
/// # Errors
/// It cannot be read, or is larger than `limit` bytes.
pub fn any(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let cannot = |error| Error::failed(format!("cannot read {}", neutral_path(path))).cause(error);
    let mut bytes = Vec::new();
    let read = open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if u64::try_from(read).is_ok_and(|read| read > limit) {
        return Err(Error::refused(format!("{} is larger than such a file may be", neutral_path(path)))
            .cause(format!("the limit is {} KiB", limit >> 10)));
    }
    Ok(bytes)
}

/// Opens a regular file. Opening a FIFO would wait for a program that writes to it.
#[expect(clippy::disallowed_methods, reason = "what an operator names is read from wherever it is, and not written")]
fn open(path: &Path) -> io::Result<fs::File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

/// The contents of a file; `None` if it does not exist.
///
/// # Errors
/// As [`any`].
pub fn there(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::failed(format!("cannot look at {}", neutral_path(path))).cause(error)),
        Ok(_) => any(path, limit).map(Some),
    }
}

/// Reads a component and the request in it.
///
/// # Errors
/// It cannot be read, is too large, or is not a component with a request.
pub fn component(path: &Path) -> Result<(Vec<u8>, String)> {
    let component = any(path, MAX_COMPONENT_BYTES)?;
    let request = request(&component, &neutral_path(path))?;
    Ok((component, request))
}

/// The request that a component carries; `what` names the component in errors.
///
/// # Errors
/// It carries none, or one that cannot be read.
pub fn request(component: &[u8], what: &str) -> Result<String> {
    imports::request(component)?.ok_or_else(|| {
        Error::refused(format!("{what} carries no request"))
            .cause("a component says in its custom section warded:policy what it asks for")
            .next("build it as docs/WRITING-A-POLICY.md shows: `warded policy new` makes a folder that does so")
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make what they test on")]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn only_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for path in [fifo.as_path(), directory.path(), Path::new("/dev/zero")] {
            let error = any(path, 1).unwrap_err().to_string();
            assert!(error.contains("it is no regular file"), "{error}");
        }
        let file = directory.path().join("file");
        fs::write(&file, "ab").unwrap();
        assert_eq!(any(&file, 2).unwrap(), b"ab");
        any(&file, 1).unwrap_err();
    }
}
