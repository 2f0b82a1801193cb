//! Constructors for the error with which a procedure ends.

use crate::{Error, Setting};

impl Error {
    /// An error with a stable word for programs and one sentence for a person.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), details: Vec::new() }
    }

    /// Adds a detail for programs: `path`, `keyword` …
    #[must_use]
    pub fn about(mut self, name: &str, value: impl Into<String>) -> Self {
        self.details.push(Setting { name: name.to_owned(), value: value.into() });
        self
    }

    /// Adds a next step for a person. Several steps are shown in the order in which they were added.
    #[must_use]
    pub fn next(self, text: impl Into<String>) -> Self {
        self.about("next", text)
    }
}
