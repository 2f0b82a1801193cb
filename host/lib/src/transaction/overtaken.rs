//! Which run made a file what it is now. Two people may work at the same time.

use super::{
    change::Version,
    damaged,
    journal::{Journal, State},
    run_directory::{Run, numbers},
};
use crate::{digest::Digest, error::Result, machine::private::StateDir};
use std::path::Path;

/// The journal of the newest run that changed a file or put it back, if the file is still as that run left it. `now`
/// is the digest of the file; none: there is no file.
///
/// # Errors
/// When a journal cannot be read.
pub fn last_to_change(state: &StateDir, path: &Path, now: Option<Digest>) -> Result<Option<Journal>> {
    for number in numbers(state)? {
        let Some(journal) = damaged::look(state, number)?.map(Run::into_journal) else { continue };
        let is_of_file = |at: &str, name: &str| Path::new(at).join(name) == path;
        let entry = journal.entries.iter().find(|entry| is_of_file(&entry.at.directory, &entry.name));
        let Some(entry) = entry.filter(|_| journal.state != State::Prepared) else { continue };
        let is = |version: &Option<Version>| version.as_ref().map(|version| version.digest) == now;
        let is_as_left = match journal.state {
            State::Kept | State::Unconfirmed => is(&entry.after),
            State::RolledBack => is(&entry.before),
            State::Prepared | State::Committing | State::RollingBack => is(&entry.before) || is(&entry.after),
        };
        return Ok(is_as_left.then_some(journal));
    }
    Ok(None)
}
