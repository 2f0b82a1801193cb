//! Checks that a log is intact.

use super::{
    HEAD, LOG,
    chain::{self, Head, Link},
    checkpoint::Checkpoint,
    files::{self, Files, Section},
    lock::{PATIENCE, lock},
};
use crate::{
    error::{Error, Result},
    text,
};
use rustix::fs::FlockOperation;
use std::{
    fmt,
    io::{self, BufRead as _, BufReader},
    path::Path,
    time::Duration,
};

/// After this many bytes a new checkpoint is written; a shorter log is verified quickly as a whole.
const STEP: u64 = 1024 * 1024;

/// The result for an intact log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedLog {
    /// How many records it has.
    pub records: u64,
    /// How many of the last records are not sealed: if some of those were cut off, nothing would show it.
    pub unsealed: u64,
    /// The first record that was checked this time; an earlier verification checked those before it.
    pub from: u64,
}

impl fmt::Display for VerifiedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |count| text::count(usize::try_from(count).unwrap_or(usize::MAX), "record");
        write!(f, "{}, chain intact", counted(self.records))?;
        if self.unsealed > 0 {
            write!(f, "; the last {} not sealed", counted(self.unsealed))?;
        }
        if self.from > 1 {
            write!(f, "; those before record {} were checked earlier (--all checks them again)", self.from)?;
        }
        Ok(())
    }
}

/// Where a log is not intact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {what}", self.place())]
pub struct ChainBreak {
    /// The number of the first record that is changed, missing or out of place, counted from 1; 0: the head.
    pub record: u64,
    /// What is wrong with it, as the rest of a sentence.
    pub what: String,
}

impl ChainBreak {
    /// The record or file that is meant.
    fn place(&self) -> String {
        if self.record == 0 { "its head".to_owned() } else { format!("record {}", self.record) }
    }
}

/// Checks the records that were added since the last verification, and the head. It works on a snapshot, since other
/// processes may be appending. The inner result names the first record that is changed, missing, out of place or
/// unfinished. If the log cannot be read, it counts as broken at the record that was to be read.
///
/// # Errors
/// Another process keeps the log locked, so it was not checked.
pub fn verify(directory: &Path) -> Result<Result<VerifiedLog, ChainBreak>> {
    Check { patience: PATIENCE, from_beginning: false, step: STEP }.run(directory)
}

/// As [`verify`], but from the first record on.
///
/// # Errors
/// As for [`verify`].
pub fn verify_all(directory: &Path) -> Result<Result<VerifiedLog, ChainBreak>> {
    Check { patience: PATIENCE, from_beginning: true, step: STEP }.run(directory)
}

/// The parameters of a check.
struct Check {
    /// How long to wait for another process's lock.
    patience: Duration,
    from_beginning: bool,
    /// After this many bytes a new checkpoint is written.
    step: u64,
}

impl Check {
    fn run(&self, directory: &Path) -> Result<Result<VerifiedLog, ChainBreak>> {
        let broken = |why: io::Error| ChainBreak { record: 1, what: format!("cannot be read: {why}") };
        let (files, sealed) = match self.snapshot(directory) {
            Ok(snapshot) => snapshot,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(in_use(directory, &error)),
            Err(error) => return Ok(Err(broken(error))),
        };
        Ok(sealed.and_then(|sealed| self.check(directory, &files, sealed)))
    }

    /// Takes the files and the head under a lock, so that no line is half written and the head is not ahead of the log.
    /// Records that are appended afterwards do not belong to the snapshot.
    fn snapshot(&self, directory: &Path) -> io::Result<(Files, Result<Option<Head>, ChainBreak>)> {
        loop {
            let held = files::newest(directory)?;
            if let Some(file) = &held {
                lock(file, FlockOperation::NonBlockingLockShared, self.patience)?;
            }
            let snapshot = (Files::open(directory)?, head(directory));
            // Retry if a rotation has created a newer file in the meantime.
            if files::is_same(held.as_ref(), files::newest(directory)?.as_ref())? {
                return Ok(snapshot);
            }
        }
    }

    fn check(&self, directory: &Path, files: &Files, sealed: Option<Head>) -> Result<VerifiedLog, ChainBreak> {
        let last = Checkpoint::read(directory);
        let start = last.filter(|checkpoint| {
            !self.from_beginning
                && sealed.is_some_and(|sealed| sealed.count >= checkpoint.n)
                && checkpoint.fits(files).unwrap_or(false)
        });
        let mut walk = Walk::new(files, sealed, last, start)?;
        let checked = walk.files(start).and_then(|()| walk.end());
        if let (Ok(_), Some(mark)) = (&checked, walk.mark)
            && walk.marked_after >= self.step
        {
            // Without a checkpoint the next verification takes longer, but finds the same.
            mark.write(directory).unwrap_or_default();
        }
        checked
    }
}

fn in_use(directory: &Path, why: &io::Error) -> Error {
    Error::failed(format!("the audit log in {} was not checked: it is in use", directory.display()))
        .cause(why)
        .next(format!("try again; `fuser -v {}` names the process", directory.join(LOG).display()))
}

/// The state of the check.
struct Walk<'a> {
    files: &'a Files,
    /// The last record before those that are checked.
    start: Head,
    head: Head,
    /// Lines that are not records, until a `recovered` record accounts for them.
    unfinished: Option<Vec<u8>>,
    /// The head: what was known to be on disk.
    sealed: Option<Head>,
    /// The last record of the last verification.
    seen: Option<Head>,
    /// The last sealed record so far.
    mark: Option<Checkpoint>,
    /// How many bytes were checked up to `mark`.
    marked_after: u64,
}

impl<'a> Walk<'a> {
    fn new(
        files: &'a Files,
        sealed: Option<Head>,
        last: Option<Checkpoint>,
        start: Option<Checkpoint>,
    ) -> Result<Self, ChainBreak> {
        let head = start.map_or_else(Head::empty, |start| start.head());
        let seen = last.map(|last| last.head());
        let walk = Self { files, start: head, head, unfinished: None, sealed, seen, mark: None, marked_after: 0 };
        walk.compare()?;
        Ok(walk)
    }

    fn files(&mut self, start: Option<Checkpoint>) -> Result<(), ChainBreak> {
        let files = self.files;
        let mut checked = 0;
        for number in files.numbers().filter(|number| start.is_none_or(|start| start.file <= *number)) {
            let unreadable = |walk: &Self, error: io::Error| walk.broken(format!("cannot be read: {error}"));
            let Some((file, end)) = files.file(number).map_err(|error| unreadable(self, error))? else { continue };
            let mut at = start.filter(|start| start.file == number).map_or(0, |start| start.offset);
            let mut reader = BufReader::new(Section { file, at, end });
            let mut line = Vec::new();
            loop {
                line.clear();
                let read = reader.read_until(b'\n', &mut line).map_err(|error| unreadable(self, error))?;
                if read == 0 {
                    break;
                }
                let before = self.head.count;
                self.line(&line)?;
                (at, checked) = (at + u64::try_from(read).unwrap_or(0), checked + u64::try_from(read).unwrap_or(0));
                let Head { count, hash } = self.head;
                if count > before && self.sealed.is_some_and(|sealed| sealed.count >= count) {
                    self.mark = Some(Checkpoint { file: number, offset: at, n: count, hash });
                    self.marked_after = checked;
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), ChainBreak> {
        let link = line.strip_suffix(b"\n").and_then(chain::link);
        let Some(link) = link else {
            self.unfinished.get_or_insert_default().extend_from_slice(line);
            return Ok(());
        };
        if link.kind == "missing" && link.follows(self.head) {
            let record = link.known.unwrap_or(u64::MAX).clamp(1, link.head.count);
            return Err(ChainBreak { record, what: "had been changed or removed when the log continued".to_owned() });
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

    fn record(&mut self, link: &Link) -> Result<(), ChainBreak> {
        let expected = self.head.count.saturating_add(1);
        if link.head.count != expected {
            let file = link.continued.as_deref().and_then(|continued| self.files.lacks(continued));
            let file = file.map_or_else(String::new, |name| format!(", and continues {name}, which is not there"));
            return Err(self.broken(format!("is missing: record {} stands in its place{file}", link.head.count)));
        }
        if link.previous != self.head.hash {
            return Err(self.broken("does not follow the record before it"));
        }
        self.head = link.head;
        self.compare()
    }

    /// Compares the last record so far with what the head and the last verification know of it.
    fn compare(&self) -> Result<(), ChainBreak> {
        for (known, who) in [(self.sealed, "the head knows"), (self.seen, "the last verification saw")] {
            let is_other = known.is_some_and(|known| known.count == self.head.count && known.hash != self.head.hash);
            if is_other && self.head.count > 0 {
                return Err(ChainBreak { record: self.head.count, what: format!("is not the one that {who}") });
            }
        }
        Ok(())
    }

    fn end(&self) -> Result<VerifiedLog, ChainBreak> {
        if self.unfinished.is_some() {
            return Err(self.broken("is changed or unfinished; after a crash the next run accounts for it"));
        }
        match self.sealed {
            None if self.head.count > 0 => Err(ChainBreak {
                record: self.head.count,
                what: "is the last one, but the head that confirms it is missing".into(),
            }),
            Some(sealed) if sealed.count > self.head.count => {
                let file = if self.files.has_current() { String::new() } else { format!("; there is no {LOG}") };
                Err(self.broken(format!("and all after it are gone: the head knows {} records{file}", sealed.count)))
            }
            Some(sealed) if sealed.count == 0 && sealed != Head::empty() => {
                Err(self.broken("follows another beginning than the head knows"))
            }
            None | Some(_) => {
                if let Some(seen) = self.seen.filter(|seen| seen.count > self.head.count) {
                    let what = format!("and all after it are gone: the last verification saw {} records", seen.count);
                    return Err(self.broken(what));
                }
                let sealed = self.sealed.map_or(0, |sealed| sealed.count);
                Ok(VerifiedLog {
                    records: self.head.count,
                    unsealed: self.head.count.saturating_sub(sealed),
                    from: self.start.count.saturating_add(1),
                })
            }
        }
    }

    /// Reports the next record as the one at which the log is broken.
    fn broken(&self, what: impl Into<String>) -> ChainBreak {
        ChainBreak { record: self.head.count.saturating_add(1), what: what.into() }
    }
}

fn head(directory: &Path) -> Result<Option<Head>, ChainBreak> {
    match std::fs::read(directory.join(HEAD)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| ChainBreak { record: 0, what: format!("cannot be read: {error}") }),
        Err(error) => Err(ChainBreak { record: 0, what: format!("cannot be read: {error}") }),
    }
}

#[cfg(test)]
mod checkpoint_tests;
#[cfg(test)]
mod tests;
