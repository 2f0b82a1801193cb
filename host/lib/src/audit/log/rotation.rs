//! A file that has become large is closed, and the log goes on in a new one. Both ends name each other, and the chain goes
//! through both; so no more than before can be taken away unseen.

use super::{
    super::{
        LOG,
        chain::{self, Account, Head},
        files,
        record::{Event, Kind},
    },
    Appender, Tail,
};
use crate::machine::durable;
use rustix::{
    fs::{AtFlags, CWD, RenameFlags, StatxAttributes, StatxFlags, renameat_with, statx},
    io::Errno,
};
use std::{io, path::Path};

/// A file that is so long is closed.
pub(super) const LIMIT: u64 = 8 * 1024 * 1024;

impl Appender {
    /// The end of a file that has room for another record. Wherever this is interrupted, the next append goes on from
    /// there: a file that ends with `rotated` is closed, and an empty one continues the closed one.
    pub(super) fn room(&mut self, directory: &Path) -> io::Result<Tail> {
        let tail = self.tail(directory)?;
        if tail.length < self.limit || !self.may_be_renamed() {
            return Ok(tail);
        }
        let number = files::closed(directory)?.last().map_or(1, |last| last.saturating_add(1));
        if !tail.is_closing {
            let event =
                Event::new(0, Kind::Rotated).detail(&format!("the log goes on after {}", files::closed_name(number)));
            let (line, head) = chain::line(tail.head, &event, Account::default())?;
            self.write(&line, Tail { head, ..tail })?;
        }
        self.seal(directory)?;
        if close(&directory.join(LOG), &directory.join(files::closed_name(number))).is_err() {
            // A longer file is no reason to record nothing. Another process tries it again.
            self.limit = u64::MAX;
            return self.tail(directory);
        }
        // Before a new file takes the name: the closed one must not lose its own.
        durable::sync_directory(directory)?;
        self.lock(directory)?;
        self.tail(directory)
    }

    /// A file that an administrator has made append-only keeps its name, and grows.
    fn may_be_renamed(&self) -> bool {
        let found = statx(&self.file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
        let keeps = StatxAttributes::APPEND | StatxAttributes::IMMUTABLE;
        // Where the kernel is too old to say so, the renaming shows it.
        found.map_or(true, |found| !found.stx_attributes.intersects(keeps))
    }
}

/// Gives a file the name of a closed one, which no other file has: not even one that was put there a moment ago.
fn close(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot say so.
        Err(Errno::INVAL | Errno::NOSYS) if !to.try_exists()? => std::fs::rename(from, to),
        other => Ok(other?),
    }
}

/// The first record of a new file.
pub(super) fn continued(number: u64, end: Head) -> Event {
    let Head { count, hash } = end;
    let closed = files::closed_name(number);
    Event::new(0, Kind::Continued).detail(&format!("{closed} ends with record {count}, {hash}"))
}

#[cfg(test)]
mod tests;
