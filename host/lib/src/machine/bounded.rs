//! Checks that files which sshd reads have an end: sshd itself would wait at a FIFO, and a device would fill its
//! memory.

use super::files::MAX_BYTES;
use crate::error::{Error, Result};
use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::FileTypeExt as _,
    path::Path,
};

/// The contents of a file that has an end.
///
/// # Errors
/// As for reading a file; `Unsupported` if it has no end, or is larger than any file that is read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    has_end(path)?;
    let file = fs::File::open(path)?;
    // It may be a private key: a buffer that grows would leave parts of it in memory.
    let length = usize::try_from(file.metadata()?.len().min(MAX_BYTES)).unwrap_or_default();
    let mut contents = Vec::with_capacity(length + 1);
    file.take(MAX_BYTES + 1).read_to_end(&mut contents)?;
    refuse_large(u64::try_from(contents.len()).unwrap_or(u64::MAX))?;
    Ok(contents)
}

/// Checks that a file has an end, without opening it.
///
/// # Errors
/// `Unsupported` if it has no end, or is larger than any file that is read; otherwise the error of looking at it.
pub fn has_end(path: &Path) -> io::Result<()> {
    let found = fs::metadata(path)?;
    let kind = found.file_type();
    if kind.is_char_device() && fs::canonicalize(path)? == Path::new("/dev/null") {
        return Ok(());
    }
    if kind.is_fifo() || kind.is_char_device() || kind.is_block_device() || kind.is_socket() {
        return unsupported("it is no regular file");
    }
    if kind.is_file() { refuse_large(found.len()) } else { Ok(()) }
}

fn refuse_large(length: u64) -> io::Result<()> {
    if length > MAX_BYTES { unsupported("it is larger than 4 MiB") } else { Ok(()) }
}

fn unsupported(what: &str) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

/// Refuses a file that [`has_end`] does not accept. A missing or inaccessible file is left for sshd to report.
///
/// # Errors
/// Refused: sshd would not read it to its end.
pub(crate) fn refuse_endless(path: &Path, keyword: &str) -> Result<()> {
    match has_end(path) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Err(endless(path, keyword, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The refusal of a configuration whose files sshd would never finish reading.
pub(crate) fn endless(path: &Path, keyword: &str, error: &io::Error) -> Error {
    Error::refused(format!("{keyword} names {}, which sshd cannot read to its end", path.display()))
        .cause(error)
        .next("put a regular file in its place, or take that line out of sshd's configuration")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_has_an_end_is_read() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink("/dev/null", at("null")).unwrap();
        fs::write(at("file"), "text").unwrap();
        fs::File::create(at("large")).unwrap().set_len(MAX_BYTES + 1).unwrap();
        for name in ["fifo", "zero", "large"] {
            assert_eq!(read(&at(name)).unwrap_err().kind(), io::ErrorKind::Unsupported, "{name}");
            let error = refuse_endless(&at(name), "HostKey").unwrap_err();
            assert!(error.message().starts_with("HostKey names "), "{error}");
        }
        assert_eq!((read(&at("file")).unwrap(), read(&at("null")).unwrap()), (b"text".to_vec(), Vec::new()));
        for name in ["file", "null", "gone"] {
            refuse_endless(&at(name), "HostKey").unwrap();
        }
        assert_eq!(read(&at("gone")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
