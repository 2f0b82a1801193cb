//! Operations: what a guest can ask for. Each file says what the operation needs, reads or stages. None of them changes
//! the machine: changes are staged, and carried out after the review.

pub mod action;
pub mod authority;
pub mod fact;
pub mod file;
pub mod key;
pub mod known_hosts;
mod managed;
pub mod message;
mod principals;
pub mod schedule;
pub mod service;
pub mod ssh;
pub mod sshd;
mod trusted_keys;

use crate::broker::{granted::Granted, recording::Answer, session::Session};
use serde_json::Value;
use std::{borrow::Cow, fmt};
use warded_lib::{
    error::{Error, Exit, Label},
    machine::files::FileError,
    policy::need::Need,
};

/// A typed effect that a guest can request.
pub trait Operation: Sized {
    /// What the guest gets.
    type Output: Answer;

    /// What the operation needs, for the policy and the audit.
    fn need(&self) -> Need;

    /// What else the guest passes, for the record: lengths and digests.
    fn input(&self) -> Option<String> {
        None
    }

    /// All of its other arguments, for a recording.
    fn arguments(&self) -> Value {
        Value::Null
    }

    /// What it returns, for the record: lengths and digests.
    fn outcome(_output: &Self::Output) -> Option<String> {
        None
    }

    /// Carries it out. Only the broker can supply the arguments.
    ///
    /// # Errors
    /// An ordinary failure, which the guest sees.
    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<Self::Output, Failure>;
}

/// An ordinary failure, as the guest sees it: the record `error` in types.wit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A stable word that wit/ documents.
    pub code: Cow<'static, str>,
    /// One sentence.
    pub message: String,
    /// What the failure is about.
    pub details: Vec<(String, String)>,
}

impl Failure {
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(code), message: message.into(), details: Vec::new() }
    }

    /// A failure whose reason takes several lines.
    #[must_use]
    pub fn because(code: &'static str, error: &Error) -> Self {
        let notes: Vec<&str> = error.notes_of(Label::Cause).collect();
        let cause =
            if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ").replace('\n', "; ")) };
        let failure = Self::new(code, format!("{}{cause}", error.message()));
        error.notes_of(Label::Next).fold(failure, |failure, text| failure.about(Label::Next.as_str(), text))
    }

    /// Why a program did not print its effective configuration. Only a program that refuses the configuration shows
    /// that it is wrong. A program that does not end in time, or whose files only root may read, shows nothing about
    /// it.
    #[must_use]
    pub fn of_configuration(error: &Error) -> Self {
        Self::because(if error.exit() == Exit::Refused { "invalid-configuration" } else { "io" }, error)
    }

    /// Adds what the failure is about.
    #[must_use]
    pub fn about(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.details.push((name.to_owned(), value.to_string()));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let failure = Self::new(error.kind.code(), error.message);
        error.next.into_iter().fold(failure, |failure, next| failure.about("next", next))
    }
}
