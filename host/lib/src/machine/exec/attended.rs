//! Tools of the user who runs this, such as a compiler. They are found in the user's own PATH, get the user's own
//! environment, and have no time limit. Ctrl-C ends such a tool together with this program. Nothing that changes a
//! machine is started in this way.

use super::{Program, WATCHER};
use std::{
    io,
    os::fd::AsFd as _,
    process::{Command, Stdio},
};

impl Program {
    /// Runs it with both its outputs on our stderr; returns whether it succeeded.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run_attended(&self) -> io::Result<bool> {
        let shown = io::stderr().as_fd().try_clone_to_owned()?;
        Ok(self.attended().stdout(Stdio::from(shown)).status()?.success())
    }

    /// Runs it and returns its stdout. None: it failed, and its message is on our stderr.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn ask_attended(&self) -> io::Result<Option<Vec<u8>>> {
        let output = self.attended().stderr(Stdio::inherit()).output()?;
        Ok(output.status.success().then_some(output.stdout))
    }

    fn attended(&self) -> Command {
        if let Some(watcher) = WATCHER.get() {
            watcher(self);
        }
        let mut command = Command::new(&self.path);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command.args(&self.arguments).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
