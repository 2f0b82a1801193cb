//! Runs this program again as a separate process that turns bytes into bytes.

use super::{caused, own_environment, own_program, running::Running};
use crate::error::{Error, Result};
use std::{
    ffi::OsStr,
    io::{self, Read, Write as _},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// The most bytes that are kept of its standard error.
const SAID: u64 = 4096;

/// The result of the separate process.
#[derive(Debug)]
pub struct IsolatedOutput {
    /// What it wrote, up to the limit.
    pub output: Vec<u8>,
    /// What it wrote to standard error.
    pub said: String,
    /// It was killed because its time was up.
    pub timed_out: bool,
}

/// Runs this program with these arguments and this input, in an environment of ours, until it ends or its time is up.
/// At most `most` bytes of its output are read. The caller has to tell from the output whether the process finished its
/// work.
///
/// # Errors
/// When it cannot be started.
pub fn run_self_apart<A: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    input: &[u8],
    most: usize,
    time: Duration,
) -> Result<IsolatedOutput> {
    let failed = |why: &io::Error| caused(Error::failed("cannot start a second process of warded"), why);
    let deadline = Instant::now() + time;
    let mut command = Command::new(own_program().map_err(|error| failed(&error))?);
    own_environment(&mut command)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut running = Running::start(&mut command).map_err(|error| failed(&error))?;
    let child = &mut running.child;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (done, ended) = mpsc::channel::<()>();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    thread::scope(|scope| {
        // The process may end or be killed before it has read everything; the write error of the rest does not matter.
        let thread = thread::Builder::new;
        let writing = thread().spawn_scoped(scope, move || stdin.map(|mut stdin| stdin.write_all(input)));
        let output = writing.and_then(|_| thread().spawn_scoped(scope, move || (read(stdout, most), drop(done)).0));
        let readers = output.and_then(|output| Ok((output, thread().spawn_scoped(scope, move || read(stderr, SAID))?)));
        let (output, said) = match readers {
            Ok(readers) => readers,
            Err(error) => {
                running.finish(Duration::ZERO);
                return Err(failed(&error));
            }
        };
        let (_, timed_out) = running.wait(&ended, deadline);
        let (output, said) = (output.join().unwrap_or_default(), said.join().unwrap_or_default());
        Ok(IsolatedOutput { output, said: String::from_utf8_lossy(&said).into_owned(), timed_out })
    })
}

fn read(stream: Option<impl Read>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // After a read error, the bytes read so far are the result.
    stream.map(|stream| stream.take(most).read_to_end(&mut bytes));
    bytes
}
