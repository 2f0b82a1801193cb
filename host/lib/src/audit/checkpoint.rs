//! How far a log was verified. The next verification starts there, so that it only checks what was added since.

use super::{
    CHECKPOINT,
    backwards::Backwards,
    chain::{self, Head},
    files::Files,
};
use crate::{digest::Digest, machine::durable};
use serde::{Deserialize, Serialize};
use std::{io, path::Path};

/// A sealed record up to which the chain was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkpoint {
    /// The number of the file that contains the record. For `log.jsonl` it is the number that the file will get when it
    /// is closed.
    pub(super) file: u64,
    /// The offset at which the record's line ends.
    pub(super) offset: u64,
    /// The record's number.
    pub(super) n: u64,
    pub(super) hash: Digest,
}

impl Checkpoint {
    /// Reads the checkpoint. An unreadable one is ignored: the log is then verified from the beginning.
    pub(super) fn read(directory: &Path) -> Option<Self> {
        let bytes = std::fs::read(directory.join(CHECKPOINT)).ok()?;
        serde_json::from_slice(&bytes).ok().filter(|checkpoint: &Self| checkpoint.n > 0)
    }

    /// Writes it without a sync. If a power cut loses it, the next verification only takes longer.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        durable::replace_unsynced(&directory.join(CHECKPOINT), &text, 0o600)
    }

    pub(super) fn head(&self) -> Head {
        Head { count: self.n, hash: self.hash }
    }

    /// Whether the log still has that record at that position.
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
