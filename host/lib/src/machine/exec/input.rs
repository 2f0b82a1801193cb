//! What a program reads as its standard input.

use rustix::fs::MemfdFlags;
use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    path::PathBuf,
    process::Stdio,
};
use zeroize::Zeroizing;

/// A file, or bytes.
#[derive(Clone, Debug)]
pub(super) enum Input {
    File(PathBuf),
    Bytes(Zeroizing<Vec<u8>>),
}

impl Input {
    pub(super) fn open(&self) -> io::Result<Stdio> {
        match self {
            Self::File(path) => Ok(File::open(path)?.into()),
            Self::Bytes(bytes) => {
                let mut file = File::from(rustix::fs::memfd_create("input", MemfdFlags::CLOEXEC)?);
                file.write_all(bytes)?;
                file.rewind()?;
                Ok(file.into())
            }
        }
    }
}
