//! A finished run of the binary, and its output.

use serde_json::Value;
use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
};

/// How it ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it printed on stderr.
    pub(crate) stderr: String,
    what: String,
}

impl Run {
    /// Runs a command to its end, without a terminal.
    pub(crate) fn of(command: &mut Command) -> Self {
        let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
        Self::new(what, command.stdin(Stdio::null()).output().unwrap())
    }

    /// Copies Warded to this path. Another program makes the copy: a file cannot be run while this process has it open
    /// for writing, or while a child of another test has inherited that descriptor.
    pub(crate) fn copies_warded(to: &Path) {
        drop(Self::of(Command::new("cp").arg(env!("CARGO_BIN_EXE_warded")).arg(to)).ends(0));
    }

    /// Waits until a program has ended whose outputs are pipes.
    pub(crate) fn ended(child: Child) -> Self {
        Self::new(format!("process {}", child.id()), child.wait_with_output().unwrap())
    }

    fn new(what: String, Output { status, stdout, stderr }: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code(), stdout: text(stdout), stderr: text(stderr), what }
    }

    /// Asserts that it ended with this exit code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}\n{}", self.what, self.stdout, self.stderr);
        self
    }

    /// Asserts that it said all of these words on stderr.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in what {} said:\n{}", self.what, self.stderr);
        }
        self
    }

    /// Asserts that it printed all of these words.
    #[track_caller]
    pub(crate) fn prints(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stdout.contains(word), "{word:?} is not in\n{}", self.stdout);
        }
        self
    }

    /// The only object that it printed, which must have this schema.
    #[track_caller]
    pub(crate) fn object(&self, schema: &str) -> Value {
        let object: Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{}: {error}: {self:?}", self.what));
        assert_eq!(object["schema"], schema, "{}", self.what);
        object
    }
}
