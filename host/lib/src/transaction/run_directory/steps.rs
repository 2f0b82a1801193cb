//! Which programs of a run may have run: each is noted before it begins.

use super::Run;
use crate::{error::Result, machine::interruption};

/// The directory with a file for each program of the run. The file is removed before the program begins: without it,
/// the program may have run.
pub(super) const STEPS: &str = "steps";

impl Run {
    /// Writes the file for each program, so that beginning one needs no disk space.
    pub(super) fn write_steps(&self) -> Result<()> {
        if self.journal.steps.is_empty() {
            return Ok(());
        }
        let steps = self.directory.sub_of_many(STEPS)?;
        (0..self.journal.steps.len()).try_for_each(|one| steps.write_one_of_many(&one.to_string(), b"", 0o600))?;
        steps.sync()
    }

    /// Notes that a program of the run is about to start. This is synced, because what the program does outlasts a
    /// power cut.
    pub(in crate::transaction) fn note_step(&self, index: usize) -> Result<()> {
        let steps = self.directory.sub(STEPS)?;
        steps.remove(&index.to_string())?;
        steps.sync()?;
        interruption::point("noted that a program begins");
        Ok(())
    }

    /// The indices of the programs that may have run.
    pub(in crate::transaction) fn steps_begun(&self) -> Result<Vec<usize>> {
        let Some(steps) = self.directory.find_sub(STEPS)? else { return Ok((0..self.journal.steps.len()).collect()) };
        let waiting = steps.names()?;
        Ok((0..self.journal.steps.len()).filter(|index| !waiting.contains(&index.to_string())).collect())
    }
}
