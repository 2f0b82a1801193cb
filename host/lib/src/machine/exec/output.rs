//! What is left of a program that has ended.

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
