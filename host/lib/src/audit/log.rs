//! Appends to the log, from any number of processes: each record under a lock, in one write.
#![expect(clippy::disallowed_methods, reason = "the audit log")]

mod rotation;

use super::{
    HEAD, LOG,
    chain::{self, Account, Head},
    end::{self, End},
    files,
    lock::{PATIENCE, lock},
    record::{Event, Kind},
    syslog::{Ending, Line, Urgency},
};
use crate::{
    digest::Digest,
    error::{Error, Result},
    machine::{
        durable,
        ownership::{chmod_unwritable, chown, is_ours},
    },
};
use rustix::fs::{FlockOperation, OFlags, flock};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// More bytes than a head can need.
const HEAD_BYTES: usize = 127;

/// An open audit log.
#[derive(Debug)]
pub struct Log {
    directory: PathBuf,
    state: Mutex<Appender>,
    concluded: AtomicUsize,
}

/// The open file, and its end as far as this process knows it.
#[derive(Debug)]
struct Appender {
    file: File,
    tail: Option<Tail>,
    /// Whether the directory entry of the file is known to be on disk.
    is_named: bool,
    /// The last record that this process has seen in the log, in whichever file. The head on disk does not cover
    /// records that are not sealed yet.
    seen: Option<Head>,
    /// A file that has reached this length is closed.
    limit: u64,
}

/// The end of the log.
#[derive(Clone, Copy, Debug)]
struct Tail {
    /// The file's length: if it differs from the actual one, another process has appended.
    length: u64,
    head: Head,
    /// Whether the last record closes this file (`rotated`).
    is_closing: bool,
}

impl Log {
    /// Opens the log in `directory` (0700); creates both if they do not exist.
    ///
    /// # Errors
    /// The directory or the log cannot be used, or other users can access it.
    pub fn open(directory: &Path) -> Result<Self> {
        let failed = |error: io::Error| cannot("open", directory, &error);
        durable::private_directory(directory).map_err(failed)?;
        let file = open_file(directory).map_err(failed)?;
        let appender = Appender { file, tail: None, is_named: false, seen: None, limit: rotation::LIMIT };
        let log = Self { directory: directory.to_owned(), state: Mutex::new(appender), concluded: AtomicUsize::new(0) };
        // The first head is written before the first record: so a log without a head was tampered with.
        log.locked(|appender| {
            let is_new =
                || Ok::<_, io::Error>(appender.file.metadata()?.len() == 0 && files::closed(directory)?.is_empty());
            if !directory.join(HEAD).try_exists()? && is_new()? {
                write_head(directory, Head::empty())?;
            }
            Ok(())
        })
        .map_err(failed)?;
        Ok(log)
    }

    /// The log's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Appends a record. The kernel writes it to disk later; if only this process crashes, nothing is lost.
    ///
    /// # Errors
    /// The record cannot be written; the log then stays as it was.
    pub fn append(&self, event: &Event) -> Result<()> {
        self.locked(|appender| appender.append(&self.directory, event, |_| Ok(Account::default())))
            .map_err(|error| cannot("write to", &self.directory, &error))
    }

    /// Appends a record, and waits until this record and all before it are on disk and the head covers them. For use
    /// before an effect that must not happen unrecorded. The record says how many unsealed records before it are sealed
    /// with it.
    ///
    /// # Errors
    /// The record cannot be written or synced.
    pub fn append_synced(&self, event: &Event) -> Result<()> {
        self.append_sealed(event).map(drop)
    }

    /// Appends the last record of a run as [`Log::append_synced`] does, and sends the system log a line that says how
    /// the run ended and contains the head of this log.
    ///
    /// # Errors
    /// As for [`Log::append_synced`]; the line is sent nevertheless.
    pub fn conclude(&self, event: &Event, ending: Ending, text: &str) -> Result<()> {
        self.conclude_with(event, (ending, Urgency::Usual), text)
    }

    /// As [`Log::conclude`], for a run that was to renew certificates.
    ///
    /// # Errors
    /// As for [`Log::conclude`].
    pub fn conclude_with(&self, event: &Event, (ending, urgency): (Ending, Urgency), text: &str) -> Result<()> {
        let sealed = self.append_sealed(event);
        Line { event, ending, urgency, text, head: sealed.as_ref().ok().copied() }.send();
        self.concluded.fetch_add(1, Ordering::Relaxed);
        sealed.map(drop)
    }

    /// How many runs this process has reported to the system log.
    #[must_use]
    pub fn concluded(&self) -> usize {
        self.concluded.load(Ordering::Relaxed)
    }

    fn append_sealed(&self, event: &Event) -> Result<Head> {
        self.locked(|appender| {
            appender.append(&self.directory, event, |end| {
                let sealed = read_head(&self.directory)?.map_or(0, |sealed| sealed.count);
                let seals = Some(end.count.saturating_sub(sealed)).filter(|count| *count > 0);
                Ok(Account { seals, ..Account::default() })
            })?;
            appender.seal(&self.directory)
        })
        .map_err(|error| cannot("write to", &self.directory, &error))
    }

    /// Seals the records so far, without adding one.
    ///
    /// # Errors
    /// The log cannot be synced, or the head cannot be written.
    pub fn seal(&self) -> Result<Head> {
        self.locked(|appender| appender.seal(&self.directory)).map_err(|error| cannot("seal", &self.directory, &error))
    }

    /// The same log, which closes its file at this length.
    #[cfg(test)]
    pub(super) fn rotating_at(self, limit: u64) -> Self {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).limit = limit;
        self
    }

    /// Runs `work` while no other thread or process appends.
    fn locked<T>(&self, work: impl FnOnce(&mut Appender) -> io::Result<T>) -> io::Result<T> {
        // A panic in another thread leaves at worst an outdated tail, and the length of the file shows that.
        let mut appender = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        appender.lock(&self.directory)?;
        let result = work(&mut appender);
        flock(&appender.file, FlockOperation::Unlock)?;
        result
    }
}

impl Appender {
    /// Locks the file that has the log's name now, which may be another one than this process has open.
    fn lock(&mut self, directory: &Path) -> io::Result<()> {
        loop {
            lock(&self.file, FlockOperation::NonBlockingLockExclusive, PATIENCE)?;
            let (ours, named) = (self.file.metadata()?, std::fs::metadata(directory.join(LOG)));
            if named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
                return Ok(());
            }
            (self.file, self.tail, self.is_named) = (open_file(directory)?, None, false);
        }
    }

    /// `account` is given the end of the log before this record, and returns what the record says about the log.
    fn append(
        &mut self,
        directory: &Path,
        event: &Event,
        account: impl FnOnce(Head) -> io::Result<Account>,
    ) -> io::Result<()> {
        let tail = self.room(directory)?;
        let (line, head) = chain::line(tail.head, event, account(tail.head)?)?;
        self.write(&line, Tail { head, ..tail })
    }

    /// Writes at the end of the file. If only a part of the text was written (a full disk), truncates the file again,
    /// if possible.
    fn write(&mut self, text: &[u8], Tail { length, head, .. }: Tail) -> io::Result<()> {
        self.tail = None;
        // `write_all` repeats a partial write: it is the next write that returns the reason, such as a full disk.
        if let Err(error) = self.file.write_all(text) {
            // An append-only file cannot be truncated: the next append then records the part as unfinished bytes.
            drop(self.file.set_len(length));
            return Err(error);
        }
        let length = length.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        self.ends_with(Tail { length, head, is_closing: false });
        Ok(())
    }

    fn ends_with(&mut self, tail: Tail) {
        self.tail = Some(tail);
        self.seen = Some(tail.head);
    }

    fn seal(&mut self, directory: &Path) -> io::Result<Head> {
        let tail = self.tail(directory)?;
        self.file.sync_data()?;
        if !self.is_named {
            // If the head on disk covers a record of this file, the file's name was synced before that head was
            // written. Whoever created the file may have ended before syncing.
            let is_named = match read_head(directory)? {
                Some(sealed) => end::is_in(&self.file, tail.length, sealed)?,
                None => false,
            };
            if !is_named {
                durable::sync_directory(directory)?;
            }
            self.is_named = true;
        }
        write_head(directory, tail.head)?;
        Ok(tail.head)
    }

    /// The end of the log: the remembered one, unless the file's length shows that another process has appended.
    fn tail(&mut self, directory: &Path) -> io::Result<Tail> {
        let length = self.file.metadata()?.len();
        match self.tail {
            Some(tail) if tail.length == length => Ok(tail),
            Some(_) | None => self.read_tail(directory, length),
        }
    }

    /// Reads the end of the log. If something is wrong there, appends a record of that before anything else: about
    /// bytes that a crash left unfinished, or about records that the head or this process knows and that are no longer
    /// in the log. The head may then advance, since `verify` stops at such a record for ever.
    fn read_tail(&mut self, directory: &Path, length: u64) -> io::Result<Tail> {
        let End { mut head, unfinished, is_closing, continues } = end::find(directory, &self.file, length)?;
        let mut text = Vec::new();
        // The bytes are a complete record that lacks only its newline.
        let whole = chain::link(&unfinished).filter(|link| link.follows(head));
        if !unfinished.is_empty() {
            text.push(b'\n');
        }
        if let Some(whole) = &whole {
            head = whole.head;
        }
        // Checked before the bytes are attributed to a crash: no crash loses what was known to be on disk.
        let account = match self.lost(directory, length, head)? {
            Some((known, detail)) => {
                Some((Kind::Missing, detail, Account { known: Some(known), ..Account::default() }))
            }
            None if unfinished.is_empty() || whole.is_some() => None,
            None => {
                let detail = format!("{} unfinished bytes stand before this record", unfinished.len());
                Some((Kind::Recovered, detail, Account { torn: Some(Digest::of(&unfinished)), ..Account::default() }))
            }
        };
        if let Some((kind, detail, account)) = account {
            let (line, next) = chain::line(head, &Event::new(0, kind).detail(&detail), account)?;
            text.extend(line);
            head = next;
        }
        if let Some(number) = continues.filter(|_| whole.is_none()) {
            let (line, next) = chain::line(head, &rotation::continued(number, head), Account::default())?;
            text.extend(line);
            head = next;
        }
        if text.is_empty() {
            self.ends_with(Tail { length, head, is_closing });
        } else {
            self.write(&text, Tail { length, head, is_closing: false })?;
            self.seal(directory)?;
        }
        self.tail.ok_or_else(|| io::Error::other("the end of the log is unknown"))
    }

    /// If a record is known to have been in the log and is no longer there: its number, and how it is known. `length`
    /// and `end` describe the log now.
    fn lost(&self, directory: &Path, length: u64, end: Head) -> io::Result<Option<(u64, String)>> {
        let Some(sealed) = read_head(directory)? else {
            return Ok(Some((end.count, "there was no head".to_owned())));
        };
        for (known, who) in [(Some(sealed), "the head knew it"), (self.seen, "this run saw it")] {
            if let Some(known) = known
                && known != end
                && !end::holds(directory, &self.file, length, known)?
            {
                let Head { count, .. } = known;
                return Ok(Some((count, format!("the log no longer has record {count} as {who}"))));
            }
        }
        Ok(None)
    }
}

fn open_file(directory: &Path) -> io::Result<File> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(directory.join(LOG))?;
    let metadata = file.metadata()?;
    let path = directory.join(LOG);
    let denied = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if !metadata.is_file() {
        return denied(format!("{} is not a file", path.display()));
    }
    if !is_ours(metadata.uid()) {
        return denied(format!("{} belongs to another user: {}", path.display(), chown(&path)));
    }
    if metadata.mode() & 0o022 != 0 {
        let next = chmod_unwritable(&path, metadata.mode());
        return denied(format!("others can write {}: {next}", path.display()));
    }
    Ok(file)
}

/// The head; `None` if it is missing or damaged. A read error is an error, since it is no evidence against the log.
fn read_head(directory: &Path) -> io::Result<Option<Head>> {
    match std::fs::read(directory.join(HEAD)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the head without a sync: it describes only what is on disk already, and after a power cut an earlier head
/// just covers less.
fn write_head(directory: &Path, head: Head) -> io::Result<()> {
    let (path, mut text) = (directory.join(HEAD), serde_json::to_vec(&head)?);
    // Padded to a fixed length, so that it can be overwritten in place.
    text.resize(HEAD_BYTES, b' ');
    text.extend(b"\n");
    if durable::overwrite(&path, &text)? { Ok(()) } else { durable::replace_soon(&path, &text, 0o600) }
}

fn cannot(what: &str, directory: &Path, error: &io::Error) -> Error {
    Error::failed(format!("could not {what} the audit log in {}", directory.display()))
        .cause(error)
        .next("free disk space or repair the directory, then try again: Warded does nothing that it cannot record")
}

#[cfg(test)]
pub(super) mod tests;
