//! A run of the binary that ended, and what it said.

use serde_json::Value;
use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
};

/// How it ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code; none: a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it said beside.
    pub(crate) stderr: String,
    what: String,
}

impl Run {
    /// Runs a command to its end, without a terminal.
    pub(crate) fn of(command: &mut Command) -> Self {
        let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
        Self::new(what, command.stdin(Stdio::null()).output().unwrap())
    }

    /// Puts a copy of Warded there. Another program copies it: a file that this process has open for writing cannot be
    /// run, nor as long as a child of another test's has it open.
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

    /// It ended with this exit code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}\n{}", self.what, self.stdout, self.stderr);
        self
    }

    /// It said all of these, on stderr.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in what {} said:\n{}", self.what, self.stderr);
        }
        self
    }

    /// It printed all of these words.
    #[track_caller]
    pub(crate) fn prints(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stdout.contains(word), "{word:?} is not in\n{}", self.stdout);
        }
        self
    }

    /// The one object that it printed, of this schema.
    #[track_caller]
    pub(crate) fn object(&self, schema: &str) -> Value {
        let object: Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{}: {error}: {self:?}", self.what));
        assert_eq!(object["schema"], schema, "{}", self.what);
        object
    }
}
