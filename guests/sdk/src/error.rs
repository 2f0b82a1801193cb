//! Making the error that a procedure ends with.

use crate::{Error, Setting};

impl Error {
    /// An error with a stable word for programs and one sentence for a person.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), details: Vec::new() }
    }

    /// The same error, with one more thing that it is about, for programs: `path`, `keyword` …
    #[must_use]
    pub fn about(mut self, name: &str, value: impl Into<String>) -> Self {
        self.details.push(Setting { name: name.to_owned(), value: value.into() });
        self
    }

    /// The same error, with what a person does about it; with several of these, one after the other.
    #[must_use]
    pub fn next(self, text: impl Into<String>) -> Self {
        self.about("next", text)
    }
}
