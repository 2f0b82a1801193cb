//! Runs actions: the programs of this machine, or a substitute for them.

use super::{CHANGE_SECONDS, Invocation, Kind, QueryAnswer};
use crate::{
    error::Error,
    machine::{
        exec::{Program, RawOutput},
        files::Root,
        keys::holds_private_key,
        path::AbsolutePath,
    },
    name::Name,
    text::neutral,
};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// A variable in the environment of a program that may change something. By it the program is found after the process
/// that started it has gone.
const MARK: &str = "WARDED_CHANGE";
/// The most bytes of an answer in a file.
const ANSWER_BYTES: usize = 1 << 20;
/// The most characters that are quoted of a program's error message.
const WORDS: usize = 300;

/// A program to run, with all placeholders filled in.
#[derive(Debug)]
pub struct Call {
    pub name: Name,
    /// The program, by its absolute path, and its arguments.
    pub argv: Vec<String>,
    /// Its standard input; none: it is empty.
    pub stdin: Option<Zeroizing<Vec<u8>>>,
    /// The file to which it writes its answer; none: it prints the answer.
    pub file: Option<PathBuf>,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether it may change something.
    pub is_change: bool,
}

/// Runs programs.
pub trait Runner: fmt::Debug + Send + Sync {
    /// Runs one to its end. A program that fails is no error here.
    ///
    /// # Errors
    /// The program cannot be started, or is not trusted.
    fn run(&self, call: &Call) -> Result<RawOutput, Fault>;

    /// Waits until no program is left that a run which no longer exists had started to change something. `begins` is
    /// called repeatedly meanwhile.
    fn wait_for_left(&self, _begins: &mut dyn FnMut()) {}
}

/// The programs of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Programs;

impl Runner for Programs {
    fn run(&self, call: &Call) -> Result<RawOutput, Fault> {
        let Some((path, arguments)) = call.argv.split_first() else {
            return Err(Fault::new(Code::NoProgram, format!("{} names no program", call.name)));
        };
        trusted(path)?;
        let mut program = Program::new(path).args(arguments).env("HOME", "/").directory("/").timeout(call.timeout);
        if call.is_change {
            program = program.env(MARK, "1");
        }
        if let Some(stdin) = &call.stdin {
            program = program.input_bytes(stdin.clone());
        }
        let ran = program.run_unread().map_err(|error| Fault::new(Code::NoProgram, error.message()))?;
        match &call.file {
            Some(file) if ran.status == Some(0) => written(call, file, ran),
            Some(_) | None => Ok(ran),
        }
    }

    /// The program's own time limit ended together with the process that started it, so this waits no longer than the
    /// longest limit.
    fn wait_for_left(&self, begins: &mut dyn FnMut()) {
        let deadline = Instant::now() + Duration::from_secs(CHANGE_SECONDS);
        while is_left() && Instant::now() < deadline {
            begins();
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Replaces the printed output by the answer in a file.
fn written(call: &Call, file: &Path, ran: RawOutput) -> Result<RawOutput, Fault> {
    let none = |why: &dyn fmt::Display| Fault::unexpected(format!("{} left no answer: {why}", call.name));
    let root = Root::ambient().map_err(|error| none(&error))?;
    let path = AbsolutePath::try_from(file).map_err(|why| none(&why))?;
    // No link is followed: the program may have run commands from a configuration fragment.
    let place = root.place(&path, path.segments().count().saturating_sub(1)).map_err(|error| none(&error.message))?;
    let found = place.map(|place| place.snapshot()).transpose().map_err(|error| none(&error.message))?.flatten();
    let stdout = found.ok_or_else(|| none(&"there is no such file"))?.contents;
    Ok(RawOutput { overflowed: stdout.len() > ANSWER_BYTES, stdout, ..ran })
}

/// Whether a program that was started to change something still runs.
fn is_left() -> bool {
    let marked = |process: fs::DirEntry| {
        let is_process = process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        // Any user can mark processes of their own, and would delay a rollback.
        let environment = if is_process && is_own(&process.path()) {
            fs::read(process.path().join("environ")).unwrap_or_default()
        } else {
            Vec::new()
        };
        environment.split(|byte| *byte == 0).any(|variable| variable.strip_prefix(MARK.as_bytes()) == Some(b"=1"))
    };
    fs::read_dir("/proc").is_ok_and(|processes| processes.flatten().any(marked))
}

/// Whether a process runs as the same real user as this one (proc_pid_status(5), `Uid`). The owner of its directory in
/// /proc would not tell: that is root for any process that cannot be traced.
fn is_own(process: &Path) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let real = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse().ok());
    real == Some(rustix::process::getuid().as_raw())
}

/// Checks that only root can have put the program there: the file itself, and every directory and link on its path.
fn trusted(path: &str) -> Result<(), Fault> {
    let none = |why: String| Fault::new(Code::NoProgram, why);
    if !Path::new(path).exists() {
        return Err(none(format!("there is no {path}")));
    }
    let root = Root::ambient().map_err(|error| none(error.to_string()))?;
    root.program(Path::new(path)).map_err(|error| Fault::new(Code::UntrustedProgram, error.message))
}

/// Why an action could not be carried out: the error codes of the interface `actions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// An input is not of the form that the policy requires.
    InvalidInput,
    /// There is no such program.
    NoProgram,
    /// Another user than root could have put it there.
    UntrustedProgram,
    Failed,
    /// It did not end in time.
    Timeout,
    /// It printed something that the policy does not expect.
    UnexpectedOutput,
    /// The state was changed by someone else meanwhile.
    Changed,
}

impl Code {
    /// The code that a guest gets.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid-input",
            Self::NoProgram => "no-program",
            Self::UntrustedProgram => "untrusted-program",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::UnexpectedOutput => "unexpected-output",
            Self::Changed => "changed",
        }
    }
}

/// A failure of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: Code,
    /// One sentence.
    pub message: String,
    /// The exit status, if the program failed with one.
    pub status: Option<i32>,
}

impl Fault {
    /// A fault without an exit status.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), status: None }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidInput, message)
    }

    pub(super) fn unexpected(message: impl Into<String>) -> Self {
        Self::new(Code::UnexpectedOutput, message)
    }

    pub(super) fn changed(message: impl Into<String>) -> Self {
        Self::new(Code::Changed, message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault.code {
            Code::Changed => Self::refused(fault.message)
                .cause("it was changed after the plan was made, by another program or person")
                .next("run this again: it starts from what is there then"),
            Code::UntrustedProgram => Self::refused(fault.message),
            Code::InvalidInput | Code::NoProgram | Code::Failed | Code::Timeout | Code::UnexpectedOutput => {
                Self::failed(fault.message)
            }
        }
    }
}

impl Invocation {
    /// Runs a query.
    ///
    /// # Errors
    /// The query cannot be run, fails, or prints something that the policy does not expect.
    pub fn ask(&self, runner: &dyn Runner) -> Result<QueryAnswer, Fault> {
        let ran = self.run(runner, &self.call(None)?)?;
        QueryAnswer::of(self, &ran)
    }

    /// Runs it, and checks that it succeeded.
    pub(super) fn run(&self, runner: &dyn Runner, call: &Call) -> Result<RawOutput, Fault> {
        let ran = runner.run(call)?;
        let (name, program) = (&self.name, self.action.program());
        if ran.timed_out {
            let (seconds, is_change) = (call.timeout.as_secs(), self.action.kind == Kind::Change);
            let rest = if is_change { "; what it has asked for may still happen" } else { "" };
            return Err(Fault::new(Code::Timeout, format!("{name} ({program}) did not end within {seconds} s{rest}")));
        }
        if ran.overflowed {
            return Err(Fault::unexpected(format!("{name} ({program}) gave more than 1 MiB")));
        }
        if self.action.succeeded(&ran) {
            return Ok(ran);
        }
        let how = match ran.status {
            Some(status) if status == self.action.ok.status => "did not print the text that means success".to_owned(),
            Some(status) => format!("ended with status {status}"),
            None => "was ended by a signal".to_owned(),
        };
        let said = words(&ran.stderr).map(|words| format!(": {words}")).unwrap_or_default();
        Err(Fault { status: ran.status, ..Fault::new(Code::Failed, format!("{name} ({program}) {how}{said}")) })
    }
}

/// The last line of a program's error message, unless the message contains a private key.
fn words(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    if holds_private_key(stderr) {
        return None;
    }
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(neutral(&line.chars().take(WORDS).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn call(path: &Path, arguments: &[&str]) -> Call {
        let argv = std::iter::once(path.to_str().unwrap()).chain(arguments.iter().copied());
        let (argv, timeout) = (argv.map(str::to_owned).collect(), Duration::from_secs(5));
        Call { name: "x".parse().unwrap(), argv, stdin: None, file: None, timeout, is_change: false }
    }

    #[test]
    fn a_program_gets_what_it_is_given_and_nothing_else() {
        let environment = Programs.run(&call(Path::new("/usr/bin/env"), &[])).unwrap();
        let mut names: Vec<String> = String::from_utf8(environment.stdout.to_vec())
            .unwrap()
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
            .collect();
        names.sort();
        assert_eq!(names, ["HOME", "LC_ALL", "PATH", "WARDED_NO_LOGIN"]);
        let stdin = Some(Zeroizing::new(b"a\nb".to_vec()));
        let read = Programs.run(&Call { stdin, ..call(Path::new("/bin/cat"), &[]) }).unwrap();
        assert_eq!((read.stdout.as_slice(), read.status), (b"a\nb".as_slice(), Some(0)));
        let long = Programs.run(&call(Path::new("/usr/bin/head"), &["-c", "1048577", "/dev/zero"])).unwrap();
        assert!(long.overflowed);
        let most = Programs.run(&call(Path::new("/usr/bin/head"), &["-c", "1048576", "/dev/zero"])).unwrap();
        assert!(!most.overflowed && most.stdout.len() == 1 << 20);
        let timeout = Duration::from_millis(100);
        assert!(Programs.run(&Call { timeout, ..call(Path::new("/bin/sleep"), &["60"]) }).unwrap().timed_out);
    }

    #[test]
    fn only_root_could_have_put_it_there() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().canonicalize().unwrap().join(name);
        let tool = |name: &str, mode| {
            fs::write(at(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        tool("good", 0o755);
        tool("open", 0o757);
        fs::create_dir(at("wide")).unwrap();
        tool("wide/tool", 0o755);
        fs::set_permissions(at("wide"), fs::Permissions::from_mode(0o777)).unwrap();
        symlink(at("open"), at("to-open")).unwrap();
        symlink(at("good"), at("to-good")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        for (name, code) in [
            ("good", None),
            ("to-good", None),
            ("open", Some(Code::UntrustedProgram)),
            ("to-open", Some(Code::UntrustedProgram)),
            ("wide/tool", Some(Code::UntrustedProgram)),
            ("none", Some(Code::NoProgram)),
            ("none/tool", Some(Code::NoProgram)),
            ("directory", Some(Code::UntrustedProgram)),
        ] {
            assert_eq!(Programs.run(&call(&at(name), &[])).err().map(|fault| fault.code), code, "{name}");
        }
    }

    #[test]
    fn only_programs_of_the_same_user_are_waited_for() {
        if crate::machine::root_only::is_skipped("only_programs_of_the_same_user_are_waited_for") {
            return;
        }
        // Other processes on the machine may be marked or not; this tests only whose process it is.
        for (uid, expected) in [("0", true), ("65534", false)] {
            let mut child = std::process::Command::new("setpriv")
                .args(["--reuid", uid, "--clear-groups", "sh", "-c", "echo; read line"])
                .env("LC_ALL", "C")
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            // The process has changed its user by the time it prints.
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
            assert_eq!(is_own(Path::new(&format!("/proc/{}", child.id()))), expected, "{uid}");
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_failure_says_no_secret() {
        for (said, expected) in [
            ("", None),
            ("Traceback\n  no such job \n\n", Some("no such job")),
            ("\u{1b}[2Jx", Some("\\u{1b}[2Jx")),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nno", None),
            ("PuTTY-User-Key-File-3: ssh-ed25519\nno", None),
        ] {
            assert_eq!(words(said.as_bytes()).as_deref(), expected, "{said}");
        }
    }
}
