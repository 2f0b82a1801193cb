//! The files of a log: the current one, to which records are appended, and those that a rotation has closed. Read one
//! after the other they form one chain.

use super::LOG;
use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// The files of a log as they were at one moment, oldest first.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    closed: Vec<u64>,
    current: Option<(File, u64)>,
}

impl Files {
    /// Finds the files, without waiting for a lock.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        loop {
            let current = open(&directory.join(LOG))?;
            let closed = closed(directory)?;
            // A file that was closed in the meantime would count twice.
            if is_same(current.as_ref(), open(&directory.join(LOG))?.as_ref())? {
                let current = current.map(|file| file.metadata().map(|found| (file, found.len()))).transpose()?;
                return Ok(Self { directory: directory.to_owned(), closed, current });
            }
        }
    }

    /// Their numbers, oldest first. The current file has the number that it will get when it is closed.
    pub(super) fn numbers(&self) -> impl DoubleEndedIterator<Item = u64> + use<> {
        let next = self.closed.last().map_or(1, |last| last.saturating_add(1));
        self.closed.clone().into_iter().chain(self.current.is_some().then_some(next))
    }

    /// The file that a `continued` record names (`continued`: its detail), if that file does not exist.
    pub(super) fn lacks(&self, continued: &str) -> Option<String> {
        let name = continued.split(' ').next()?;
        number(name).filter(|number| self.closed.binary_search(number).is_err()).map(closed_name)
    }

    /// Whether there is a current file.
    pub(super) fn has_current(&self) -> bool {
        self.current.is_some()
    }

    /// A file with its length at that moment; `None` if no file has this number.
    pub(super) fn file(&self, number: u64) -> io::Result<Option<(File, u64)>> {
        if self.closed.binary_search(&number).is_ok() {
            let file = File::open(self.directory.join(closed_name(number)))?;
            let length = file.metadata()?.len();
            return Ok(Some((file, length)));
        }
        match &self.current {
            Some((file, length)) if self.numbers().next_back() == Some(number) => {
                Ok(Some((file.try_clone()?, *length)))
            }
            Some(_) | None => Ok(None),
        }
    }
}

/// The numbers of the closed files, oldest first.
pub(super) fn closed(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        entries => {
            for entry in entries? {
                numbers.extend(entry?.file_name().to_str().and_then(number));
            }
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The name of a closed file.
pub(super) fn closed_name(number: u64) -> String {
    format!("log.{number}.jsonl")
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("log.")?.strip_suffix(".jsonl")?;
    digits.parse().ok().filter(|number| (1..u64::MAX).contains(number) && closed_name(*number) == name)
}

/// The file whose lock keeps every other process from appending: the current one or, while there is none, the one that
/// was closed last.
pub(super) fn newest(directory: &Path) -> io::Result<Option<File>> {
    if let Some(file) = open(&directory.join(LOG))? {
        return Ok(Some(file));
    }
    match closed(directory)?.last() {
        Some(number) => open(&directory.join(closed_name(*number))),
        None => Ok(None),
    }
}

/// Whether both are the same file, or both are `None`.
pub(super) fn is_same(one: Option<&File>, other: Option<&File>) -> io::Result<bool> {
    let identity = |found: Metadata| (found.dev(), found.ino());
    let of = |file: Option<&File>| file.map(|file| file.metadata().map(identity)).transpose();
    Ok(of(one)? == of(other)?)
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// A part of a file. Reads by offset, so that it does not move the position of others that share the descriptor.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) file: File,
    pub(super) at: u64,
    pub(super) end: u64,
}

impl Read for Section {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(into.len());
        let read = self.file.read_at(into.get_mut(..left).unwrap_or_default(), self.at)?;
        self.at = self.at.saturating_add(u64::try_from(read).map_err(io::Error::other)?);
        Ok(read)
    }
}
