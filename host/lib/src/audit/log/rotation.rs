//! Closes a file that has become large, and continues the log in a new one. The last record of the old file and the
//! first of the new one name each other's file, and the chain runs through both. So records can no more be removed
//! unnoticed than from a single file.

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

/// A file that has reached this length is closed.
pub(super) const LIMIT: u64 = 8 * 1024 * 1024;

impl Appender {
    /// The end of a file that has room for another record. If the rotation is interrupted, wherever that is, the next
    /// append finishes it: a file that ends with `rotated` gets closed, and an empty file continues the closed one.
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
            // An oversized file is no reason to lose records. Another process will try again to close it.
            self.limit = u64::MAX;
            return self.tail(directory);
        }
        // Before a new file takes the name, so that a power cut cannot lose the closed file's new name.
        durable::sync_directory(directory)?;
        self.lock(directory)?;
        self.tail(directory)
    }

    /// Whether the file may be renamed. One that an administrator has made append-only or immutable keeps its name, and
    /// grows.
    fn may_be_renamed(&self) -> bool {
        let found = statx(&self.file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
        let keeps = StatxAttributes::APPEND | StatxAttributes::IMMUTABLE;
        // If the kernel is too old to report the attributes, the attempt to rename the file shows it.
        found.map_or(true, |found| !found.stx_attributes.intersects(keeps))
    }
}

/// Renames the file to the name of a closed one, but never replaces an existing file, not even one that was created
/// just now.
fn close(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system does not support RENAME_NOREPLACE.
        Err(Errno::INVAL | Errno::NOSYS) if !to.try_exists()? => std::fs::rename(from, to),
        other => Ok(other?),
    }
}

/// The first record of a new file, which names the file before.
pub(super) fn continued(number: u64, end: Head) -> Event {
    let Head { count, hash } = end;
    let closed = files::closed_name(number);
    Event::new(0, Kind::Continued).detail(&format!("{closed} ends with record {count}, {hash}"))
}

#[cfg(test)]
mod tests;
