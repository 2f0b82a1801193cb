//! How far a log was checked. The next verification goes on from there, so that it costs no more than what was added.

use super::{
    CHECKPOINT,
    backwards::Backwards,
    chain::{self, Head},
    files::Files,
};
use crate::{digest::Digest, machine::durable};
use serde::{Deserialize, Serialize};
use std::{io, path::Path};

/// A sealed record that is known to continue a whole chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkpoint {
    /// The number of the file that has it, as it is or will be once the file is closed.
    pub(super) file: u64,
    /// Where its line ends.
    pub(super) offset: u64,
    /// The record's number.
    pub(super) n: u64,
    pub(super) hash: Digest,
}

impl Checkpoint {
    /// Reads the last one. One that cannot be read says nothing: the log is then checked from the beginning.
    pub(super) fn read(directory: &Path) -> Option<Self> {
        let bytes = std::fs::read(directory.join(CHECKPOINT)).ok()?;
        serde_json::from_slice(&bytes).ok().filter(|checkpoint: &Self| checkpoint.n > 0)
    }

    /// Writes it. After a power cut it may be gone, which only costs time.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        durable::replace_unsynced(&directory.join(CHECKPOINT), &text, 0o600)
    }

    pub(super) fn head(&self) -> Head {
        Head { count: self.n, hash: self.hash }
    }

    /// Whether that record stands where it stood.
    pub(super) fn fits(&self, files: &Files) -> io::Result<bool> {
        let Some((file, length)) = files.file(self.file)? else { return Ok(false) };
        if self.offset > length {
            return Ok(false);
        }
        let line = Backwards::new(&file, self.offset).line()?.filter(|line| line.is_ended);
        let link = line.and_then(|line| line.bytes).and_then(|bytes| chain::link(&bytes));
        Ok(link.is_some_and(|link| link.head == self.head()))
    }
}
