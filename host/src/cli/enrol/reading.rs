//! Reads the code from a terminal that does not echo it, from standard input, or from a file. Every buffer is wiped.

use rustix::{
    io::Errno,
    termios::{LocalModes, OptionalActions, tcsetattr},
};
use std::{
    io::{self, IsTerminal as _, Stdin, Write as _},
    path::Path,
};
use warded_lib::{
    ca::step::{
        code::{Code, CodeError},
        credential::read_secret,
    },
    error::{Error, Result},
    machine::terminal::TerminalGuard,
};
use zeroize::Zeroizing;

/// What to do if a code does not work.
pub(super) const ANOTHER: &str = "make another one on the admin's machine: warded invite NAME";

/// Reads the code.
///
/// # Errors
/// It cannot be read, or is not a code.
pub(super) fn read(file: Option<&Path>) -> Result<Code> {
    let stdin = io::stdin();
    let text = match file {
        None if stdin.is_terminal() => typed(&stdin)?,
        None => contents(Path::new("-"))?,
        Some(file) => contents(file)?,
    };
    Code::parse(&text).map_err(|error| {
        let next = match &error {
            CodeError::CutOff { .. } | CodeError::TooLong { .. } | CodeError::Changed | CodeError::Empty => {
                "copy all of it again; where it does not get through a terminal: --code-file FILE, or standard input"
            }
            CodeError::OtherBeginning => ANOTHER,
        };
        Error::usage("the code cannot be used").cause(error).unchanged().next(next)
    })
}

fn contents(file: &Path) -> Result<Zeroizing<String>> {
    let bytes = read_secret(file).map_err(|error| Error::from(error).unchanged())?;
    let text = str::from_utf8(&bytes)
        .map_err(|error| Error::usage(format!("{} is not text in UTF-8", file.display())).cause(error).unchanged())?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Turns the terminal's echo off until the guard is dropped, or a signal ends the process.
fn silent(terminal: &Stdin) -> Result<TerminalGuard> {
    let restored = TerminalGuard::later(terminal)?;
    let mut silent = restored.before().clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(terminal, OptionalActions::Drain, &silent).map_err(failed)?;
    Ok(restored)
}

fn failed(error: Errno) -> Error {
    Error::failed("cannot read the code from the terminal").cause(error)
}

/// Reads lines until the code is complete, or a line is empty.
fn typed(terminal: &Stdin) -> Result<Zeroizing<String>> {
    let _silent = silent(terminal)?;
    ask("Code from `warded invite` (it is not shown): ");
    let mut text = Zeroizing::new(String::with_capacity(64 * 1024));
    let mut buffer = Zeroizing::new([0; 8 * 1024]);
    loop {
        let read = match rustix::io::read(terminal, &mut *buffer) {
            Err(Errno::INTR) => continue,
            read => read.map_err(failed)?,
        };
        let line = buffer.get(..read).unwrap_or_default();
        let line = str::from_utf8(line).map_err(|error| Error::usage("the code cannot be used").cause(error))?;
        if line.trim().is_empty() {
            return Ok(text);
        }
        text.push_str(line);
        match Code::missing(&text) {
            Some(missing) if text.len() < 32 * 1024 => {
                ask(&format!("{missing} characters are missing. Paste the rest, or press Enter to stop: "));
            }
            Some(_) | None => return Ok(text),
        }
    }
}

fn ask(question: &str) {
    // The user may answer even if the question cannot be printed.
    drop(write!(io::stderr(), "{question}"));
}
