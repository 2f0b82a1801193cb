//! Programs of the machine: the one file that starts a process or sends a signal. What is run,
//! and why, belongs to the caller; nothing here knows sshd or systemd.
#![expect(clippy::disallowed_methods, reason = "the one file that starts processes")]

use super::scratch::Scratch;
use crate::error::{Error, Result};
use std::{
    ffi::{OsStr, OsString},
    io::{self, Read},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

/// Where programs are looked for: never the caller's own PATH, which sudo may have let through.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where some systems keep programs that only other programs run.
const LIBEXEC: &str = "/usr/libexec";
/// How long a program may take unless its caller says otherwise.
const TIMEOUT: Duration = Duration::from_secs(15);
/// What is kept of each output stream, in bytes; the rest is read and dropped.
const KEPT: usize = 1 << 20;
/// How long the outputs are still read once the program itself has ended: a grandchild may hold them.
const DRAIN: Duration = Duration::from_secs(2);
/// How often a running program is asked whether it has ended.
const TICK: Duration = Duration::from_millis(2);
/// How long a daemon gets to end after SIGTERM.
const TERM: Duration = Duration::from_secs(1);

/// What a program said and how it ended.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Its exit status; none when a signal or the time limit ended it.
    pub status: Option<i32>,
    /// Its standard output, invalid UTF-8 replaced, at most 1 MiB.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
    /// Whether it was killed because its time was up.
    pub timed_out: bool,
}

impl Output {
    /// Whether it ended with status 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status == Some(0)
    }

    /// How it ended, in words: `exit status 255`.
    #[must_use]
    pub fn ending(&self) -> String {
        match (self.status, self.timed_out) {
            (_, true) => "it did not end in time".to_owned(),
            (Some(status), _) => format!("exit status {status}"),
            (None, _) => "a signal ended it".to_owned(),
        }
    }
}

/// A program to be run, with its arguments. Its environment is empty but for PATH, LC_ALL=C, HOME
/// and what [`Program::env`] adds; its input is empty.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    timeout: Duration,
}

impl Program {
    /// The program at this path.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), arguments: Vec::new(), environment: Vec::new(), timeout: TIMEOUT }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// One more variable in its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// How long it may take: then it and what it started in its own process group is killed.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Runs it to its end. That it fails is no error here: see [`Output::status`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self) -> Result<Output> {
        let deadline = Instant::now() + self.timeout;
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| self.cannot_start(&error))?;
        let (done, ended) = mpsc::channel();
        let stdout = child.stdout.take().map(|stream| collect(stream, done.clone()));
        let stderr = child.stderr.take().map(|stream| collect(stream, done));
        let (status, timed_out) = wait(&mut child, &ended, deadline);
        // Both readers end when their pipe is closed; then the channel says that nobody is left.
        let drained = Instant::now() + DRAIN;
        while !matches!(
            ended.recv_timeout(drained.saturating_duration_since(Instant::now())),
            Err(mpsc::RecvTimeoutError::Disconnected | mpsc::RecvTimeoutError::Timeout)
        ) {}
        let text = |kept: Option<Kept>| {
            let kept = kept.unwrap_or_default();
            let bytes = kept.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ok(Output {
            status: status.and_then(|status| status.code()),
            stdout: text(stdout),
            stderr: text(stderr),
            timed_out,
        })
    }

    /// Starts it and leaves it running, its outputs thrown away, until the [`Child`] is dropped:
    /// for a private daemon.
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

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .env("HOME", std::env::var_os("HOME").unwrap_or_else(|| "/".into()))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            // Its own group: a Ctrl-C at our terminal does not end it half-way, and a time limit
            // reaches what it started, too.
            .process_group(0);
        command
    }

    fn cannot_start(&self, error: &io::Error) -> Error {
        Error::failed(format!("cannot start {}", self.path.display())).cause(error)
    }
}

/// A daemon of our own, ended (SIGTERM, then SIGKILL, by its id) when this is dropped.
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
        // Errors here mean that it is gone, which is what was wanted.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs this program again as the user `nobody`, with these arguments and our outputs: its exit
/// status. A copy is run, because nobody may not be allowed where this file is.
///
/// # Errors
/// When there is no such user, or the copy cannot be made or started.
pub fn run_self_as_nobody(arguments: &[&str]) -> Result<i32> {
    let failed = |error: io::Error| Error::failed("cannot start again as the user nobody").cause(error);
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(failed)?;
    let ids = passwd.lines().find_map(|line| {
        let mut fields = line.strip_prefix("nobody:")?.split(':').skip(1);
        Some((fields.next()?.parse::<u32>().ok()?, fields.next()?.parse::<u32>().ok()?))
    });
    let (uid, gid) = ids.ok_or_else(|| Error::failed("there is no user nobody on this machine"))?;
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
    let status = command.current_dir("/").uid(uid).gid(gid).stdin(Stdio::null()).status().map_err(failed)?;
    Ok(status.code().unwrap_or(-1))
}

/// The signals that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again.
    Hangup,
    /// SIGTERM: end.
    Terminate,
}

/// Sends a signal to one process.
///
/// # Errors
/// When there is no such process, or it belongs to somebody else; `pid` must be above 1.
pub fn signal(pid: i32, signal: Signal) -> io::Result<()> {
    let pid = Some(pid).filter(|pid| *pid > 1).and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let signal = match signal {
        Signal::Hangup => rustix::process::Signal::HUP,
        Signal::Terminate => rustix::process::Signal::TERM,
    };
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// The program of this name in the system's own directories.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    if program.is_empty() || program.contains('/') {
        return None;
    }
    PATH.split(':').chain([LIBEXEC]).map(|directory| Path::new(directory).join(program)).find(|path| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}

type Kept = Arc<Mutex<Vec<u8>>>;

/// Reads a stream to its end on a thread of its own, keeping the first [`KEPT`] bytes.
fn collect(mut stream: impl Read + Send + 'static, done: mpsc::Sender<()>) -> Kept {
    let kept = Kept::default();
    let shared = Arc::clone(&kept);
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let room = KEPT.saturating_sub(kept.len());
            kept.extend_from_slice(buffer.get(..length.min(room)).unwrap_or_default());
        }
        done.send(()).ok();
    });
    kept
}

/// Waits for the end of a program, or kills it and its group at the deadline.
fn wait(child: &mut std::process::Child, ended: &mpsc::Receiver<()>, deadline: Instant) -> (Option<ExitStatus>, bool) {
    let mut closed = false;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return (Some(status), false);
        }
        if Instant::now() >= deadline {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
                rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
            }
            child.kill().ok();
            return (child.wait().ok(), true);
        }
        // A closed output is the usual sign that it is about to end: no need to wait a whole tick.
        if closed || !matches!(ended.recv_timeout(TICK), Err(mpsc::RecvTimeoutError::Timeout)) {
            closed = true;
            thread::sleep(TICK / 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::new("/bin/sh").arg("-c").arg(script)
    }

    #[test]
    fn status_and_outputs_come_back() {
        let output = shell("echo out; echo err >&2; exit 3").run().unwrap();
        assert_eq!((output.status, output.timed_out), (Some(3), false));
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(output.ending(), "exit status 3");
        assert!(shell("kill -9 $$").run().unwrap().status.is_none());
    }

    #[test]
    fn the_environment_is_ours() {
        let output = shell("env").env("EXTRA", "1").run().unwrap();
        let mut names: Vec<_> = output.stdout.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
        names.sort_unstable();
        assert_eq!(names, ["EXTRA", "HOME", "LC_ALL", "PATH"]);
    }

    #[test]
    fn a_time_limit_ends_the_whole_group() {
        let started = Instant::now();
        let output = shell("sleep 20 & echo $!; wait").timeout(Duration::from_millis(200)).run().unwrap();
        assert!(output.timed_out && output.status.is_none());
        assert!(started.elapsed() < Duration::from_secs(5));
        let grandchild: i32 = output.stdout.trim().parse().unwrap();
        let lives = || {
            let state = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
            !state.is_empty() && !state.contains(") Z ")
        };
        while lives() {
            assert!(started.elapsed() < Duration::from_secs(5));
            thread::sleep(TICK);
        }
    }

    #[test]
    fn long_output_is_cut_and_does_not_block() {
        let output = shell("head -c 3000000 /dev/zero | tr '\\0' x").run().unwrap();
        assert_eq!((output.stdout.len(), output.status), (KEPT, Some(0)));
    }

    #[test]
    fn a_daemon_ends_with_its_handle() {
        let mut child = shell("exec sleep 30").spawn().unwrap();
        let pid = child.pid();
        assert!(!child.has_ended());
        drop(child);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        assert!(signal(pid, Signal::Hangup).is_err());
        assert!(signal(1, Signal::Hangup).is_err() && signal(-1, Signal::Hangup).is_err());
    }

    #[test]
    fn only_programs_are_found() {
        assert!(find("sh").is_some_and(|path| path.is_absolute()));
        for name in ["", "/bin/sh", "../bin/sh", "no-such-program-here"] {
            assert_eq!(find(name), None, "{name}");
        }
        assert!(Program::new("/no/such/program").run().is_err());
    }
}
