//! `--record FILE` of `plan` and `apply`.

use super::output::Output;
use crate::{
    broker::recording::{Recorder, Tape},
    sandbox::granting::BoundPolicy,
};
use std::{
    path::{Path, PathBuf},
    rc::Rc,
};
use warded_artifact::recording::Head;
use warded_lib::{
    error::{Error, Result},
    machine::durable,
    name::Name,
    policy::setting::Setting,
    text::neutral_path,
};

/// A recording of a run that is about to begin.
pub(super) struct NewRecording {
    file: PathBuf,
    recorder: Rc<Recorder>,
}

impl NewRecording {
    /// A recording into a file that must not exist yet.
    pub(super) fn at(file: &Path) -> Result<Self> {
        if file.symlink_metadata().is_ok() {
            return Err(Error::refused(format!("{} is there already", neutral_path(file)))
                .state("nothing was run")
                .next("name a new file with --record"));
        }
        Ok(Self { file: file.to_owned(), recorder: Rc::default() })
    }

    pub(super) fn tape(&self) -> Tape {
        Tape::Recording(Rc::clone(&self.recorder))
    }

    /// Writes the recording, however the run ended; nothing if the run failed before its first call.
    pub(super) fn write(
        &self,
        granting: &BoundPolicy,
        (procedure, settings): (&Name, Vec<Setting>),
        error: Option<&Error>,
        output: Output,
    ) -> Result<()> {
        if self.recorder.is_empty() && error.is_some() {
            return Ok(());
        }
        let policy = &granting.policy;
        let of = (policy.name.clone(), policy.version.clone(), granting.digest);
        let head = Head::new(of, procedure.clone(), settings, error.map(|error| error.message().to_owned()));
        let bytes = self.recorder.recording(head).to_bytes()?;
        durable::create(&self.file, &bytes, 0o600).map_err(|error| {
            Error::failed(format!("cannot write the recording {}", neutral_path(&self.file))).cause(error).unchanged()
        })?;
        output.line(format!("Recorded in {}: it holds what the procedure read.", neutral_path(&self.file)))
    }
}
