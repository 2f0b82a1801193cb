//! Puts the new files in place with one rename each. After every exchange, the file that came out is compared with
//! the expected one: an edit that slipped in between is put back.

use super::{change::Order, precondition, temporary::PreparedChange};
use crate::{
    error::{Error, Result},
    machine::files::{Place, Step},
    machine::interruption,
};
use rustix::io::Errno;
use std::{collections::BTreeMap, io};

/// How many times another program may replace a file while it is being put back.
const MAX_EXCHANGES: u8 = 100;

/// Makes the changes that come before the reload of sshd, in order. Files that sshd uses until then are removed after
/// it.
pub(super) fn put_in(changes: &[PreparedChange]) -> Result<()> {
    carry_out(changes.split_at(reload_at(changes)).0)
}

/// Removes the files that no process reads once sshd has been reloaded.
pub(super) fn remove_retired(changes: &[PreparedChange]) -> Result<()> {
    let retired = changes.split_at(reload_at(changes)).1;
    carry_out(retired.split_at(retired.partition_point(|change| change.change.order.goes_after_reload())).0)
}

fn reload_at(changes: &[PreparedChange]) -> usize {
    changes.partition_point(|change| change.change.order <= Order::RemoveOther)
}

/// Makes the changes, and syncs the directories after each group.
fn carry_out(changes: &[PreparedChange]) -> Result<()> {
    for group in changes.chunk_by(|a, b| a.change.order == b.change.order) {
        let mut directories = BTreeMap::new();
        for change in group {
            put(change)?;
            interruption::point("changed");
            directories.extend(change.places().map(|place| ((place.key().device, place.key().inode), (place, change))));
        }
        for (place, change) in directories.into_values() {
            place.sync_directory().map_err(|error| failed(change, &error))?;
        }
        interruption::point("group synced");
    }
    Ok(())
}

/// Why a change could not be made.
enum Failure {
    /// Another program was faster.
    Changed,
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::EXIST) => Self::Changed,
            _ => Self::Io(error),
        }
    }
}

fn put(change: &PreparedChange) -> Result<()> {
    precondition::check(change)?;
    interruption::point("checked");
    let (target, temporary) = (&change.change.place, &change.temporary);
    let done = match (&change.change.before, &change.change.after) {
        (Some(_), Some(_)) => replace(change, temporary, target),
        (None, Some(_)) => move_to_free(temporary, target).map_err(Failure::from),
        (Some(_), None) => remove(change, temporary, target),
        (None, None) => Ok(()),
    };
    done.map_err(|failure| match failure {
        Failure::Changed => precondition::changed(change.path()),
        Failure::Io(error) => failed(change, &error),
    })
}

fn replace(change: &PreparedChange, temporary: &Place, target: &Place) -> Result<(), Failure> {
    let new = temporary.inode().map_err(io::Error::other)?;
    match temporary.exchange(target)? {
        // The old file is now only in the journal's copy: its inode is lost.
        Step::Unsupported => Ok(temporary.move_over(target)?),
        Step::Taken if came_out(change, temporary) => Ok(()),
        Step::Taken => {
            put_back(temporary, target, new)?;
            Err(Failure::Changed)
        }
    }
}

fn remove(change: &PreparedChange, temporary: &Place, target: &Place) -> Result<(), Failure> {
    move_to_free(target, temporary)?;
    if came_out(change, temporary) {
        return Ok(());
    }
    // If the other program has already made a newer file, this fails too, and the file that was moved away stays in
    // the temporary place: nobody wants it in its old place any more.
    move_to_free(temporary, target)?;
    Err(Failure::Changed)
}

/// Whether the file in the temporary place is the one from which the change was computed.
fn came_out(change: &PreparedChange, temporary: &Place) -> bool {
    let expected = change.change.before.as_ref().map(|before| (before.digest, before.inode));
    temporary.snapshot().is_ok_and(|found| found.map(|found| (found.digest, found.inode)) == expected)
}

/// Puts back what an exchange took out by mistake. If this takes out anything but what was put in last, that is
/// somebody's newer file, and goes back in its turn.
pub(super) fn put_back(temporary: &Place, target: &Place, put_in: Option<u64>) -> io::Result<()> {
    let mut put_in = put_in;
    for _ in 0..MAX_EXCHANGES {
        let goes_in = temporary.inode().map_err(io::Error::other)?;
        if temporary.exchange(target)? == Step::Unsupported {
            return Err(Errno::NOSYS.into());
        }
        if temporary.inode().map_err(io::Error::other)? == put_in {
            return Ok(());
        }
        put_in = goes_in;
    }
    Err(Errno::BUSY.into())
}

/// Renames to a place that must be free: in one step, or in two on a file system that cannot do that.
pub(super) fn move_to_free(from: &Place, to: &Place) -> io::Result<()> {
    match from.move_to_free(to)? {
        Step::Taken => Ok(()),
        Step::Unsupported if to.inode().map_err(io::Error::other)?.is_some() => Err(Errno::EXIST.into()),
        Step::Unsupported => from.move_over(to),
    }
}

fn failed(change: &PreparedChange, error: &io::Error) -> Error {
    let verb = if change.change.after.is_some() { "put the new file in the place of" } else { "remove" };
    Error::failed(format!("could not {verb} {}", change.path())).cause(error)
}
