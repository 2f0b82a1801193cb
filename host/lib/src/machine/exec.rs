//! Running programs: the only file that starts a process or sends a signal. The caller decides what runs and why;
//! nothing here knows sshd or systemd.
#![expect(clippy::disallowed_methods, reason = "the one file that starts processes")]

mod attended;
mod companion;
mod find;
mod input;
mod isolated;
mod output;
mod room;
mod running;
mod service;

pub use companion::{Companion, StartingCompanion};
pub use find::{find, find_below};
pub use isolated::{IsolatedOutput, run_self_apart};
pub use output::{Output, RawOutput};
pub use room::caused;
pub use running::end_all;
pub use service::Service;

use super::{scratch::Scratch, users};
use crate::{
    error::{Error, Result},
    text::shell_word,
};
use input::Input;
use running::Running;
use std::{
    ffi::{OsStr, OsString},
    io::{self, Read},
    mem,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// Where programs are looked for. The caller's own PATH is never used, since sudo may have let it through.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where some systems keep programs that are run only by other programs.
const LIBEXEC: &str = "/usr/libexec";
/// Set in the environment of programs that Warded starts. If one of them is an `ssh` whose `Match exec` runs
/// `warded login --on-demand`, that command then does nothing.
pub const NO_LOGIN: &str = "WARDED_NO_LOGIN";
/// How long a program may take unless its caller says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// How many bytes of each output stream are kept; the rest is read and dropped.
const KEPT: usize = 1 << 20;
/// How long the outputs are still read after the program itself has ended: a grandchild may keep them open.
const DRAIN: Duration = Duration::from_secs(2);
/// How often a running program is polled for whether it has ended.
const TICK: Duration = Duration::from_millis(2);
/// How long a daemon gets to exit after SIGTERM.
const TERM: Duration = Duration::from_secs(1);

/// The function that prints each program before it is started (`--verbose`).
static WATCHER: OnceLock<fn(&Program)> = OnceLock::new();

/// Registers a function that is called with each program before it is started. Only the first registration counts.
pub fn watch_programs(watcher: fn(&Program)) {
    WATCHER.get_or_init(|| watcher);
}

/// A program to run, with its arguments. Its environment holds only PATH, LC_ALL=C, HOME, [`NO_LOGIN`] and what
/// [`Program::env`] adds; its standard input is empty unless [`Program::input`] sets one.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    input: Option<Input>,
    directory: Option<PathBuf>,
    timeout: Duration,
}

impl Program {
    /// The program at this path.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            input: None,
            directory: None,
            timeout: TIMEOUT,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Adds a variable to its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the file that it reads as its standard input.
    #[must_use]
    pub fn input(mut self, file: impl AsRef<Path>) -> Self {
        self.input = Some(Input::File(file.as_ref().to_owned()));
        self
    }

    /// Sets the bytes that it reads as its standard input.
    #[must_use]
    pub fn input_bytes(mut self, bytes: Zeroizing<Vec<u8>>) -> Self {
        self.input = Some(Input::Bytes(bytes));
        self
    }

    /// Sets its working directory; the default is that of this process.
    #[must_use]
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets the time limit. When it is over, the program and everything in its process group is killed.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Runs it to its end. A program that fails is no error here: see [`Output::status`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self) -> Result<Output> {
        let RawOutput { status, timed_out, stdout, stderr, .. } = self.run_unread()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Output { status, stdout: text(&stdout), stderr: text(&stderr), timed_out })
    }

    /// Like [`Program::run`], but returns the output as raw bytes.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn run_unread(&self) -> Result<RawOutput> {
        let deadline = Instant::now() + self.timeout;
        let mut command = self.command();
        if let Some(input) = &self.input {
            command.stdin(input.open().map_err(|error| self.cannot_start(&error))?);
        }
        let mut running = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
            .map_err(|error| self.cannot_start(&error))?;
        let (done, ended) = mpsc::channel();
        let (stdout, stderr) = (running.child.stdout.take(), running.child.stderr.take());
        let stdout = stdout.map(|stream| collect(stream, done.clone())).transpose();
        let collected = stdout.and_then(|stdout| Ok((stdout, stderr.map(|stream| collect(stream, done)).transpose()?)));
        let (stdout, stderr) = collected.map_err(|error| {
            running.finish(Duration::ZERO);
            self.cannot_start(&error)
        })?;
        let (status, timed_out) = running.wait(&ended, deadline);
        // Each reader ends when its pipe is closed; when both have ended, the channel is disconnected.
        let drained = Instant::now() + DRAIN;
        while !matches!(
            ended.recv_timeout(drained.saturating_duration_since(Instant::now())),
            Err(mpsc::RecvTimeoutError::Disconnected | mpsc::RecvTimeoutError::Timeout)
        ) {}
        let mut overflowed = false;
        let mut taken = |kept: Option<SharedBuffer>| {
            let kept = kept.unwrap_or_default();
            let mut bytes = Zeroizing::new(mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner)));
            overflowed |= bytes.len() > KEPT;
            bytes.truncate(KEPT);
            bytes
        };
        let (stdout, stderr) = (taken(stdout), taken(stderr));
        Ok(RawOutput { status: status.and_then(|status| status.code()), timed_out, overflowed, stdout, stderr })
    }

    /// Starts it and leaves it running until the [`Child`] is dropped, its outputs thrown away: for a private daemon.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self) -> Result<Child> {
        let child = self
            .command()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| self.cannot_start(&error))?;
        Ok(Child(child))
    }

    /// Starts it and does not wait for it, its outputs thrown away: for a user's own program, such as a browser.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&self) -> Result<()> {
        let started = self.command().env_remove(NO_LOGIN).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        started.map(drop).map_err(|error| self.cannot_start(&error))
    }

    fn command(&self) -> Command {
        if let Some(watcher) = WATCHER.get() {
            watcher(self);
        }
        let mut command = Command::new(&self.path);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        own_environment(&mut command)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            // Its own process group: a Ctrl-C at our terminal does not end it half-way, and a time limit also kills
            // what it started.
            .process_group(0);
        command
    }

    /// The program and its arguments as a shell command line, without the environment.
    #[must_use]
    pub fn shell_line(&self) -> String {
        let words = std::iter::once(self.path.as_os_str()).chain(self.arguments.iter().map(OsString::as_os_str));
        words.map(|word| shell_word(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
    }

    fn cannot_start(&self, error: &io::Error) -> Error {
        caused(Error::failed(format!("cannot start {}", self.path.display())), error)
    }
}

/// The executable that this process runs, even if an upgrade has since replaced the file at its path.
fn own_program() -> io::Result<PathBuf> {
    let running = Some(PathBuf::from("/proc/self/exe")).filter(|path| path.exists());
    running.map_or_else(std::env::current_exe, Ok)
}

fn own_environment(command: &mut Command) -> &mut Command {
    let home = std::env::var_os("HOME").unwrap_or_else(|| "/".into());
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C").env("HOME", home).env(NO_LOGIN, "1")
}

/// A daemon of our own. Dropping this ends it by its pid: SIGTERM first, then SIGKILL.
#[derive(Debug)]
pub struct Child(std::process::Child);

impl Child {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap_or(i32::MAX)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        let deadline = Instant::now() + TERM;
        if signal(self.pid(), Signal::Terminate).is_ok() {
            while Instant::now() < deadline {
                if self.has_ended() {
                    return;
                }
                thread::sleep(TICK);
            }
        }
        // An error here means that the process is gone already, which is what we want.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs this program again as the user `nobody`, with these arguments and our outputs, and returns its exit status. A
/// copy is run, because `nobody` may not have access to the directory of this executable.
///
/// # Errors
/// When there is no such user, or the copy cannot be made or started.
pub fn run_self_as_nobody(arguments: &[&str]) -> Result<i32> {
    let failed = |error: io::Error| Error::failed("cannot start again as the user nobody").cause(error);
    let nobody = users::all().into_iter().find(|user| user.name == "nobody");
    let nobody = nobody.ok_or_else(|| Error::failed("there is no user nobody on this machine"))?;
    let directory = Scratch::passable()?;
    let program = std::fs::read(std::env::current_exe().map_err(failed)?).map_err(failed)?;
    let copy = directory.write("warded", &program, 0o755)?;
    let mut command = Command::new(copy);
    command.args(arguments).env_clear().env("PATH", PATH).env("HOME", "/nonexistent");
    for name in ["TERM", "NO_COLOR", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    // std drops the supplementary groups together with the user.
    let status =
        command.current_dir("/").uid(nobody.id).gid(nobody.group).stdin(Stdio::null()).status().map_err(failed)?;
    Ok(status.code().unwrap_or(-1))
}

/// The process that started this one; used to kill it if it hangs.
#[derive(Clone, Copy, Debug)]
pub struct Parent(Option<rustix::process::Pid>);

impl Parent {
    /// The parent of this process now.
    #[must_use]
    pub fn now() -> Self {
        Self(rustix::process::getppid())
    }

    /// Kills it if it still is our parent: otherwise the pid may belong to another process by now.
    pub fn kill(self) {
        if let Some(pid) = self.0.filter(|pid| !pid.is_init() && Self::now().0 == Some(*pid)) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }
}

/// Leaves the session and the process group that this process was started in.
pub fn leave_session() {
    // setsid fails for the leader of a process group; then this process already has a group of its own.
    rustix::process::setsid().ok();
}

/// The signals that Warded sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: reload the configuration.
    Hangup,
    /// SIGTERM: exit.
    Terminate,
}

/// Sends a signal to one process.
///
/// # Errors
/// When there is no such process, it belongs to another user, or `pid` is not above 0. SIGTERM is refused for process
/// 1, which may be the sshd of a container.
pub fn signal(pid: i32, signal: Signal) -> io::Result<()> {
    let least = if signal == Signal::Hangup { 1 } else { 2 };
    let pid = Some(pid).filter(|pid| *pid >= least).and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let signal = match signal {
        Signal::Hangup => rustix::process::Signal::HUP,
        Signal::Terminate => rustix::process::Signal::TERM,
    };
    Ok(rustix::process::kill_process(pid, signal)?)
}

type SharedBuffer = Arc<Mutex<Vec<u8>>>;

/// Reads a stream to its end on a thread of its own. It keeps the first [`KEPT`] bytes, and one more as a sign that
/// there were more. The buffer has its full capacity from the start: growing it would leave copies of a possible secret
/// in memory.
fn collect(mut stream: impl Read + Send + 'static, done: mpsc::Sender<()>) -> io::Result<SharedBuffer> {
    let kept: SharedBuffer = Arc::new(Mutex::new(Vec::with_capacity(KEPT + 1)));
    let shared = Arc::clone(&kept);
    thread::Builder::new().spawn(move || {
        let mut buffer = Zeroizing::new([0; 8192]);
        while let Ok(length @ 1..) = stream.read(buffer.as_mut_slice()) {
            let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let room = (KEPT + 1).saturating_sub(kept.len());
            kept.extend_from_slice(buffer.get(..length.min(room)).unwrap_or_default());
        }
        done.send(()).ok();
    })?;
    Ok(kept)
}

#[cfg(test)]
mod tests;
