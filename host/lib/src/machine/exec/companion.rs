//! A second process of this program, beside this one.

use super::{TICK, caused, find, own_environment, own_program};
use crate::error::{Error, Result};
use std::{
    ffi::OsStr,
    io::{self, BufRead as _, BufReader, Write as _},
    process::{ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Another process of this program, which outlives this one. This process writes lines to it. When this process ends,
/// however that happens, the companion reads the end of its input.
#[derive(Debug)]
pub struct Companion {
    process: std::process::Child,
    input: ChildStdin,
}

/// A companion that was started and has not written its line yet.
#[derive(Debug)]
pub struct StartingCompanion {
    companion: Companion,
    said: mpsc::Receiver<bool>,
}

impl Companion {
    /// Starts this program again with these arguments, without waiting.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn begin<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<StartingCompanion> {
        let program = own_program().map_err(|error| cannot_start(&error))?;
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts this program again with these arguments, and waits until it has written a line.
    ///
    /// # Errors
    /// When it cannot be started, ends, or writes nothing in time.
    pub fn start<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>, patience: Duration) -> Result<Self> {
        Self::begin(arguments)?.ready(patience)
    }

    /// Like [`Companion::start`], but in a systemd scope of its own, which a logout does not end (`KillUserProcesses=`
    /// in logind.conf(5)).
    ///
    /// # Errors
    /// As [`Companion::start`], or systemd makes no scope.
    pub fn start_in_scope<A: AsRef<OsStr>>(
        description: &str,
        arguments: impl IntoIterator<Item = A>,
        patience: Duration,
    ) -> Result<Self> {
        let systemd_run = find("systemd-run").ok_or_else(|| cannot_accompany(&"there is no systemd-run"))?;
        let mut command = Command::new(systemd_run);
        command.args(["--scope", "--quiet", "--collect", "--no-ask-password", "--description", description]);
        // Its files stay mounted until it has ended, and it does not hold up a shutdown.
        command.args(["--property=After=local-fs.target", "--property=TimeoutStopSec=5s", "--"]);
        // `/proc/self` would be another program where this path is resolved.
        command.arg(format!("/proc/{}/exe", std::process::id())).args(arguments);
        Self::spawn(command)?.ready(patience)
    }

    fn spawn(mut command: Command) -> Result<StartingCompanion> {
        // It stays in our process group until it leaves our session, since setsid(2) fails for the leader of a group.
        // Only then does it write its line.
        let mut process = own_environment(&mut command)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| cannot_start(&error))?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let (input, output) = input.zip(output).ok_or_else(|| cannot_accompany(&"it has no input"))?;
        let (said, line) = mpsc::channel();
        let reading = thread::Builder::new().spawn(move || {
            let mut text = String::new();
            let read = BufReader::new(output).read_line(&mut text);
            said.send(read.is_ok_and(|length| length > 0)).ok();
        });
        if let Err(error) = reading {
            process.kill().ok();
            process.wait().ok();
            return Err(cannot_start(&error));
        }
        Ok(StartingCompanion { companion: Self { process, input }, said: line })
    }

    /// Sends it a line.
    ///
    /// # Errors
    /// When it is gone.
    pub fn tell(&mut self, line: &str) -> io::Result<()> {
        // One write: if our end cut a line short, the companion would read another line.
        self.input.write_all([line, "\n"].concat().as_bytes())
    }

    /// Closes its input, and waits a moment for it to end.
    pub fn release(self, patience: Duration) {
        let Self { mut process, input } = self;
        drop(input);
        let deadline = Instant::now() + patience;
        while matches!(process.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(TICK / 4);
        }
    }
}

impl StartingCompanion {
    /// Sends it a line, as [`Companion::tell`].
    ///
    /// # Errors
    /// When it is gone.
    pub fn tell(&mut self, line: &str) -> io::Result<()> {
        self.companion.tell(line)
    }

    /// Waits until it has written its line.
    ///
    /// # Errors
    /// When it ends, or writes nothing in time.
    pub fn ready(self, patience: Duration) -> Result<Companion> {
        let Self { mut companion, said } = self;
        if said.recv_timeout(patience) == Ok(true) {
            return Ok(companion);
        }
        companion.process.kill().ok();
        companion.process.wait().ok();
        Err(cannot_accompany(&format!("it was not ready within {} s", patience.as_secs())))
    }

    /// Lets go of it, as [`Companion::release`].
    pub fn release(self, patience: Duration) {
        self.companion.release(patience);
    }
}

fn cannot_start(error: &io::Error) -> Error {
    caused(Error::failed("cannot start a second process of warded"), error)
}

fn cannot_accompany(why: &dyn std::fmt::Display) -> Error {
    Error::failed("cannot start a second process of warded").cause(why)
}
