//! A person at a terminal: what is typed, and what is visible.

use super::Machine;
use std::{
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A shell line that runs at a terminal of its own.
#[derive(Debug)]
pub(crate) struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    /// What has been visible so far.
    pub(crate) seen: String,
}

impl Terminal {
    /// Runs a shell line on a machine, at a terminal of so many columns; `prepare` sets its environment.
    pub(crate) fn run(machine: &Machine, columns: u16, line: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = machine.command("script");
        prepare(&mut command);
        command.env("TERM", "dumb").env("NO_COLOR", "1");
        let line = format!("stty cols {columns} rows 200; {line}");
        command.args(["-qefc", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (keys, screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, keys, screen, seen: String::new() }
    }

    /// Reads until these words are visible.
    #[track_caller]
    pub(crate) fn until(&mut self, words: &str) -> &mut Self {
        let mut seen = std::mem::take(&mut self.seen).into_bytes();
        let mut byte = [0];
        while !String::from_utf8_lossy(&seen).contains(words) {
            let read = self.screen.read(&mut byte).unwrap();
            assert_eq!(read, 1, "the terminal ends before {words:?}: {}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
        self.seen = String::from_utf8(seen).unwrap();
        self
    }

    pub(crate) fn types(&mut self, text: &str) -> &mut Self {
        self.keys.write_all(text.as_bytes()).unwrap();
        self
    }

    /// Waits for its end; returns its exit code and the whole screen.
    pub(crate) fn ends(mut self) -> (i32, String) {
        let mut rest = String::new();
        self.screen.read_to_string(&mut rest).unwrap();
        drop(self.keys);
        let code = self.child.wait().unwrap().code().unwrap();
        (code, (self.seen + &rest).replace("\r\n", "\n"))
    }
}
