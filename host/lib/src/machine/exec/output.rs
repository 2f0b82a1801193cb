//! The results of programs that have ended.

use crate::text::neutral_lines;
use zeroize::Zeroizing;

/// How a program ended, and its raw output, which is wiped from memory afterwards because it may be a secret.
#[derive(Debug, Default)]
pub struct RawOutput {
    /// Its exit status; none: a signal or the time limit ended it.
    pub status: Option<i32>,
    /// Whether it was killed because its time was up.
    pub timed_out: bool,
    /// Whether it printed more than 1 MiB on either stream.
    pub overflowed: bool,
    /// Its standard output, at most 1 MiB.
    pub stdout: Zeroizing<Vec<u8>>,
    /// Its standard error, likewise.
    pub stderr: Zeroizing<Vec<u8>>,
}

/// What a program printed and how it ended.
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

    /// Why it failed: its standard error, or how it ended if that is empty.
    #[must_use]
    pub fn complaint(&self) -> String {
        let said = self.stderr.trim();
        if said.is_empty() { self.ending() } else { neutral_lines(said) }
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
