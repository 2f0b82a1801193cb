//! Reading the log back, and checking that it is whole.

use super::{
    HEAD, LOG,
    chain::{self, Head, Link},
    lock::{PATIENCE, lock},
    record::Record,
};
use crate::{
    error::{Error, Result},
    text,
};
use rustix::fs::{FlockOperation, flock};
use std::{
    fmt,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::Path,
    time::Duration,
};

/// A log that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many records it has.
    pub records: u64,
    /// How many of them, the last ones, are not sealed: if some of those were cut off, nothing shows it.
    pub unsealed: u64,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |count| text::count(usize::try_from(count).unwrap_or(usize::MAX), "record");
        write!(f, "{}, chain intact", counted(self.records))?;
        match self.unsealed {
            0 => Ok(()),
            unsealed => write!(f, "; the last {} not sealed", counted(unsealed)),
        }
    }
}

/// Where a log is not whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {record} {what}")]
pub struct Broken {
    /// The number of the first record that is changed, missing or out of place.
    pub record: u64,
    /// What is wrong with it, as the rest of a sentence.
    pub what: String,
}

/// A line of the log that is no record: what a crash left unfinished, or what somebody wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {bytes} unfinished bytes, not a record")]
pub struct Unreadable {
    /// The line's number, from 1.
    pub line: u64,
    /// How long it is.
    pub bytes: usize,
}

/// Checks every record and the head, as they are at one moment: others may be appending. The inner
/// result names the first record that is changed, missing, out of place or unfinished. A log that
/// cannot be read counts as broken at the record that was to be read.
///
/// # Errors
/// Somebody else holds the log, and so it cannot be told.
pub fn verify(directory: &Path) -> Result<Result<Verified, Broken>> {
    verify_within(directory, PATIENCE)
}

fn verify_within(directory: &Path, patience: Duration) -> Result<Result<Verified, Broken>> {
    let broken = |why: io::Error| Broken { record: 1, what: format!("cannot be read: {why}") };
    let opened = match open(directory) {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(broken(error))),
    };
    // While nobody appends: neither is a line half written, nor is the head ahead of the log.
    if let Some(file) = &opened
        && let Err(error) = lock(file, FlockOperation::NonBlockingLockShared, patience)
    {
        let is_held = error.kind() == io::ErrorKind::WouldBlock;
        return if is_held { Err(in_use(directory, &error)) } else { Ok(Err(broken(error))) };
    }
    let sealed = head(directory);
    let log = match opened.map(|file| file.metadata().map(|found| (found.len(), file))).transpose() {
        Ok(log) => log,
        Err(error) => return Ok(Err(broken(error))),
    };
    // What is appended from here on is no part of the log that is checked.
    if let Some((_, file)) = &log {
        flock(file, FlockOperation::Unlock).unwrap_or_default();
    }
    Ok(sealed.and_then(|sealed| check(log, sealed)))
}

fn in_use(directory: &Path, why: &io::Error) -> Error {
    Error::failed(format!("the audit log in {} was not checked: it is in use", directory.display()))
        .cause(why)
        .next(format!("try again; `fuser -v {}` names the process", directory.join(LOG).display()))
}

/// Checks a log as far as it went when its head was read.
fn check(log: Option<(u64, File)>, sealed: Option<Head>) -> Result<Verified, Broken> {
    let mut walk = Walk { head: Head::empty(), unfinished: None, sealed };
    if let Some((length, file)) = log {
        let mut reader = BufReader::new(file.take(length));
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.read_until(b'\n', &mut line) {
                Err(error) => return Err(walk.broken(format!("cannot be read: {error}"))),
                Ok(0) => break,
                Ok(_) => walk.line(&line)?,
            }
        }
    }
    walk.end()
}

/// The records in order, for showing them: lines whose own hash is right. Whether they hang together
/// [`verify`] says.
///
/// # Errors
/// When there is a log that cannot be opened. A line that is not a record is an item.
pub fn read(directory: &Path) -> Result<impl Iterator<Item = Result<Record, Unreadable>>> {
    let file = open(directory).map_err(|error| {
        Error::failed(format!("could not read the audit log in {}", directory.display())).cause(error)
    })?;
    let lines = file.into_iter().flat_map(|file| BufReader::new(file).split(b'\n').map_while(io::Result::ok));
    let record = |(text, line): (Vec<u8>, u64)| {
        let own = chain::link(&text).and_then(|_| serde_json::from_slice::<Record>(&text).ok());
        // Who wrote the line need not have been Warded.
        own.map(|record| Record { event: record.event.neutralised(), ..record })
            .ok_or(Unreadable { line, bytes: text.len() })
    };
    Ok(lines.zip(1..).map(record))
}

/// How far the check is.
struct Walk {
    head: Head,
    /// Lines that are no records, until a `recovered` record accounts for them.
    unfinished: Option<Vec<u8>>,
    /// What was known to be on disk.
    sealed: Option<Head>,
}

impl Walk {
    fn line(&mut self, line: &[u8]) -> Result<(), Broken> {
        let link = line.strip_suffix(b"\n").and_then(chain::link);
        let Some(link) = link else {
            self.unfinished.get_or_insert_default().extend_from_slice(line);
            return Ok(());
        };
        if link.kind == "missing" && link.follows(self.head) {
            let record = link.known.unwrap_or(u64::MAX).clamp(1, link.head.count);
            return Err(Broken { record, what: "was changed or gone when the log went on".to_owned() });
        }
        if let Some(unfinished) = self.unfinished.take() {
            let known = unfinished.strip_suffix(b"\n").unwrap_or(&unfinished);
            if !link.follows(self.head) || !link.covers(known) {
                return Err(self.broken("is changed"));
            }
        } else if link.kind == "recovered" {
            return Err(self.broken("says that it follows unfinished bytes, which are not there"));
        }
        self.record(&link)
    }

    fn record(&mut self, link: &Link) -> Result<(), Broken> {
        let expected = self.head.count.saturating_add(1);
        if link.head.count != expected {
            return Err(self.broken(format!("is missing: record {} stands in its place", link.head.count)));
        }
        if link.previous != self.head.hash {
            return Err(self.broken("does not follow the record before it"));
        }
        self.head = link.head;
        if self.sealed.is_some_and(|sealed| sealed.count == expected && sealed.hash != self.head.hash) {
            return Err(Broken { record: expected, what: "is another one than the head knows".to_owned() });
        }
        Ok(())
    }

    fn end(self) -> Result<Verified, Broken> {
        if self.unfinished.is_some() {
            return Err(self.broken("is changed or unfinished; after a crash the next run accounts for it"));
        }
        match self.sealed {
            None if self.head.count > 0 => Err(Broken {
                record: self.head.count,
                what: "is the last, and the head that confirms it is gone".into(),
            }),
            Some(sealed) if sealed.count > self.head.count => {
                Err(self.broken(format!("and all after it are gone: the head knows {} records", sealed.count)))
            }
            Some(sealed) if sealed.count == 0 && sealed != Head::empty() => {
                Err(self.broken("follows another beginning than the head knows"))
            }
            None | Some(_) => {
                let sealed = self.sealed.map_or(0, |sealed| sealed.count);
                Ok(Verified { records: self.head.count, unsealed: self.head.count.saturating_sub(sealed) })
            }
        }
    }

    /// The record that comes next is where it breaks.
    fn broken(&self, what: impl Into<String>) -> Broken {
        Broken { record: self.head.count.saturating_add(1), what: what.into() }
    }
}

fn open(directory: &Path) -> io::Result<Option<File>> {
    match File::open(directory.join(LOG)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn head(directory: &Path) -> Result<Option<Head>, Broken> {
    match std::fs::read(directory.join(HEAD)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Broken { record: 0, what: format!("is the head, which cannot be read: {error}") }),
        Err(error) => Err(Broken { record: 0, what: format!("is the head, which cannot be read: {error}") }),
    }
}

#[cfg(test)]
mod tests;
