//! A run that another run has overtaken: the state that it was computed from has changed.

use super::Work;
use crate::context::Context;
use jiff::Timestamp;
use std::path::Path;
use warded_lib::{
    error::{Error, Exit, Result},
    guard::config_digest::{self, Digests},
    moment::distance,
    text::neutral,
    transaction::{self, Journal, ReadSet, RunIdentity},
};

/// The inputs that a piece of work was computed from.
#[derive(Debug)]
pub struct PlanInputs {
    files: ReadSet,
    configuration: Option<Digests>,
    shows_rest: String,
}

impl PlanInputs {
    /// The inputs of this work.
    #[must_use]
    pub fn of(work: &Work) -> Self {
        let (configuration, shows_rest) = (work.configuration.clone(), work.shows_rest.clone());
        Self { files: work.expected(), configuration, shows_rest }
    }

    /// Refuses work that another run has overtaken, before a password is asked for or the CA is asked.
    ///
    /// # Errors
    /// Refused: the error names that run, and the command that shows what is left to do.
    pub fn refuse_overtaken(&self, context: &Context) -> Result<()> {
        self.overtaken(context).map_or(Ok(()), Err)
    }

    /// Names the other run if it is the reason for this refusal, whichever stage was refused.
    pub(super) fn explained(&self, error: Error, context: &Context) -> Error {
        if error.exit() == Exit::Refused { self.overtaken(context).unwrap_or(error) } else { error }
    }

    fn overtaken(&self, context: &Context) -> Option<Error> {
        // A journal or a file that cannot be read now tells nothing here: the transaction meets the same error.
        let by = |path: &Path, now| transaction::last_to_change(&context.state, path, now).ok().flatten();
        for (place, expected) in &self.files {
            let Ok(now) = place.snapshot() else { continue };
            let (now, then) = (now.map(|now| now.digest), expected.map(|(digest, _)| digest));
            if now != then
                && let Some(run) = by(&place.resolved(), now)
            {
                return Some(self.told(&run, &place.resolved()));
            }
        }
        let then = self.configuration.as_ref()?;
        let now = config_digest::now(context.places.sshd_config.as_path()).ok()?;
        let path = config_digest::difference(then, &now)?;
        by(path, now.get(path).copied()).map(|run| self.told(&run, path))
    }

    fn told(&self, journal: &Journal, path: &Path) -> Error {
        let RunIdentity { run: number, procedure, started, by, undoes, .. } = &journal.run;
        let what = undoes.map_or_else(|| neutral(procedure), |undone| format!("undo of run {undone}"));
        let by = by.as_deref().map(|by| format!(" by {}", neutral(by))).unwrap_or_default();
        let ago = distance(Timestamp::now().duration_since(*started).unsigned_abs());
        let path = neutral(&path.to_string_lossy());
        let refused = Error::refused(format!("run {number} ({what}{by}, {ago} ago) changed {path} in the meantime"));
        let refused = if journal.is_final() {
            refused
        } else {
            refused.cause("that run is still at work or unconfirmed, and may be rolled back")
        };
        refused.state("this run changed nothing").next(format!("{} shows what is left to do", self.shows_rest))
    }
}
