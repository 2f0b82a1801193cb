//! A program that serves one connection, which is its standard input and output.

use super::{DRAIN, Program, SharedBuffer, collect, running::Running};
use crate::error::Result;
use std::{
    os::fd::OwnedFd,
    process::Stdio,
    sync::{PoisonError, mpsc},
    time::Duration,
};

/// How long it may take to end by itself once its connection is closed.
const PATIENCE: Duration = Duration::from_millis(500);

/// A program that serves one connection, and ends with it. Dropping this kills what is left of it.
#[derive(Debug)]
pub struct Service {
    running: Running,
    stderr: Option<SharedBuffer>,
    ended: mpsc::Receiver<()>,
}

impl Service {
    /// Ends it, and returns what it wrote to standard error.
    #[must_use]
    pub fn end(mut self) -> String {
        self.running.finish(PATIENCE);
        // Its output closes when it ends.
        self.ended.recv_timeout(DRAIN).ok();
        let kept = self.stderr.take().unwrap_or_default();
        let bytes = kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.running.finish(PATIENCE);
    }
}

impl Program {
    /// Starts it with a connection as its standard input and output; it runs until the [`Service`] is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn serve(&self, connection: OwnedFd) -> Result<Service> {
        let output = connection.try_clone().map_err(|error| self.cannot_start(&error))?;
        let mut command = self.command();
        command.stdin(connection).stdout(output).stderr(Stdio::piped());
        let mut running = Running::start(&mut command).map_err(|error| self.cannot_start(&error))?;
        let (done, ended) = mpsc::channel();
        let stderr = running.child.stderr.take().map(|stream| collect(stream, done)).transpose().map_err(|error| {
            running.finish(Duration::ZERO);
            self.cannot_start(&error)
        })?;
        Ok(Service { running, stderr, ended })
    }
}
