//! The message for a command that fails: what was being done to what, the cause, what was observed, what state the
//! machine is in, and what to do next. Every layer creates this type directly, so nothing is converted on the way up.

use std::fmt;

/// The state of the machine if a command ends before it has changed anything.
pub const UNCHANGED: &str = "nothing was changed";

/// The exit code of a command, for scripts. Documented in `docs/USAGE.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Success, or nothing to do.
    Done,
    /// The command failed, or the person answered no.
    Failed,
    /// Wrong usage, no terminal to ask a question at, or root is required.
    Usage,
    /// `plan`: there are changes to apply.
    Pending,
    /// Success with a defect.
    Degraded,
    /// Refused, to keep the machine safe.
    Refused,
    /// The CA did not answer; the machine itself is fine.
    Unreachable,
    /// No CA is configured.
    NoAuthority,
}

impl Exit {
    /// The number of the exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Pending => 3,
            Self::Degraded => 4,
            Self::Refused => 5,
            Self::Unreachable => 6,
            Self::NoAuthority => 7,
        }
    }
}

/// The kind of a line below the first one of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Why it failed.
    Cause,
    /// What was observed.
    Seen,
    /// What condition the machine is in now.
    State,
    Next,
}

impl Label {
    /// The word that precedes the line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cause => "cause",
            Self::Seen => "seen",
            Self::State => "state",
            Self::Next => "next",
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The kind of message, which its first word shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heading {
    Error,
    Refused,
    RolledBack,
    Quiet,
}

/// A failure, in the form in which it is shown.
#[derive(Clone, Debug)]
pub struct Error {
    heading: Heading,
    exit: Exit,
    message: String,
    /// Causes and observations, in the order in which they were added.
    found: Vec<(Label, String)>,
    state: Option<String>,
    next: Vec<String>,
}

/// The result type of nearly every function here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure; `message` says what was being done, and to what.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Heading::Error, Exit::Failed, message)
    }

    /// The command line is wrong, or the command cannot be carried out in this situation.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Heading::Error, Exit::Usage, message)
    }

    /// The command would be possible, but is unsafe or not granted.
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Heading::Refused, Exit::Refused, message)
    }

    /// The command is refused for now, because clients are not ready for it.
    #[must_use]
    pub fn put_off(message: impl Into<String>) -> Self {
        Self::new(Heading::Refused, Exit::Degraded, message)
    }

    /// The CA cannot be reached.
    #[must_use]
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Heading::Error, Exit::Unreachable, message)
    }

    /// No CA is configured.
    #[must_use]
    pub fn no_authority(message: impl Into<String>) -> Self {
        Self::new(Heading::Error, Exit::NoAuthority, message)
    }

    /// The machine was changed, and has been restored.
    #[must_use]
    pub fn rolled_back(message: impl Into<String>) -> Self {
        Self::new(Heading::RolledBack, Exit::Failed, message)
    }

    /// The end of a command without a message: its reader went away, or the person answered no.
    #[must_use]
    pub fn quiet(exit: Exit) -> Self {
        Self::new(Heading::Quiet, exit, "")
    }

    /// Whether there is no message to show.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.heading == Heading::Quiet
    }

    fn new(heading: Heading, exit: Exit, message: impl Into<String>) -> Self {
        Self { heading, exit, message: message.into(), found: Vec::new(), state: None, next: Vec::new() }
    }

    /// Adds a cause.
    #[must_use]
    pub fn cause(mut self, text: impl fmt::Display) -> Self {
        self.found.push((Label::Cause, text.to_string()));
        self
    }

    /// Adds an observation.
    #[must_use]
    pub fn seen(mut self, text: impl fmt::Display) -> Self {
        self.found.push((Label::Seen, text.to_string()));
        self
    }

    /// Sets the state of the machine. Code that changes the machine sets it; code that only reads or decides cannot
    /// know it.
    #[must_use]
    pub fn state(self, text: impl fmt::Display) -> Self {
        Self { state: Some(text.to_string()), ..self }
    }

    /// Sets the state of the machine, unless it is set already.
    #[must_use]
    pub fn or_state(self, text: impl fmt::Display) -> Self {
        if self.state.is_some() { self } else { self.state(text) }
    }

    /// Sets the state: nothing was changed.
    #[must_use]
    pub fn unchanged(self) -> Self {
        self.state(UNCHANGED)
    }

    /// Sets the state: nothing was changed; unless a state is set already.
    #[must_use]
    pub fn or_unchanged(self) -> Self {
        self.or_state(UNCHANGED)
    }

    /// The same failure, after something else had been changed already. `earlier` says what; it precedes what the
    /// failure itself says about the machine.
    #[must_use]
    pub fn after(self, earlier: impl fmt::Display) -> Self {
        let rest = match self.state.as_deref() {
            None | Some(UNCHANGED) => "nothing else was changed".to_owned(),
            Some(rest) => format!("then: {rest}"),
        };
        self.state(format!("{earlier}; {rest}"))
    }

    /// The same failure with the texts of its causes and observations replaced.
    #[must_use]
    pub fn reworded(mut self, words: impl Fn(&str) -> String) -> Self {
        self.found.iter_mut().for_each(|(_, text)| *text = words(text));
        self
    }

    /// Adds a next step.
    #[must_use]
    pub fn next(mut self, text: impl fmt::Display) -> Self {
        self.next.push(text.to_string());
        self
    }

    /// Adds a next step, unless there is one already.
    #[must_use]
    pub fn or_next(self, text: impl fmt::Display) -> Self {
        if self.next.is_empty() { self.next(text) } else { self }
    }

    /// The same failure, after the machine has been restored: `state` says how.
    #[must_use]
    pub fn into_rolled_back(mut self, state: impl fmt::Display) -> Self {
        self.heading = Heading::RolledBack;
        self.exit = Exit::Failed;
        self.state(state)
    }

    /// The same failure, after the machine could not be restored completely: `state` says what differs from before.
    #[must_use]
    pub fn into_partly_rolled_back(mut self, state: impl fmt::Display) -> Self {
        self.heading = Heading::Error;
        self.exit = Exit::Degraded;
        self.state(state)
    }

    /// The exit code of the command that fails with this error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The first line, without its heading.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The labelled lines below the first, in the order in which they are shown.
    pub fn notes(&self) -> impl Iterator<Item = (Label, &str)> {
        let found = self.found.iter().map(|(label, text)| (*label, text.as_str()));
        let state = self.state.iter().map(|text| (Label::State, text.as_str()));
        found.chain(state).chain(self.next.iter().map(|text| (Label::Next, text.as_str())))
    }

    /// The texts with one label.
    pub fn notes_of(&self, wanted: Label) -> impl Iterator<Item = &str> {
        self.notes().filter(move |(label, _)| *label == wanted).map(|(_, text)| text)
    }

    /// The message with its first cause.
    #[must_use]
    pub fn brief(&self) -> String {
        let cause = self.notes_of(Label::Cause).next().map(|cause| format!(": {cause}"));
        format!("{}{}", self.message, cause.unwrap_or_default())
    }

    /// The heading as it is printed: `error`, `refused`, `rolled back`.
    #[must_use]
    pub fn heading(&self) -> &'static str {
        match self.heading {
            Heading::Error => "error",
            Heading::Refused => "refused",
            Heading::RolledBack => "rolled back",
            Heading::Quiet => "",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.heading(), self.message)?;
        for (label, text) in self.notes() {
            let label = format!("{label}:");
            let mut lines = text.lines();
            write!(f, "\n{label:<7}{}", lines.next().unwrap_or_default())?;
            for line in lines {
                write!(f, "\n       {line}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_lines_its_notes_up() {
        let error = Error::failed("the CA refused").cause("first\nsecond").next("set the clock");
        assert_eq!(error.to_string(), "error: the CA refused\ncause: first\n       second\nnext:  set the clock");
    }

    #[test]
    fn what_to_do_comes_last() {
        let error = Error::failed("no").next("again").or_unchanged().seen("that").cause("why").or_next("or not");
        assert_eq!(error.to_string(), "error: no\nseen:  that\ncause: why\nstate: nothing was changed\nnext:  again");
    }

    #[test]
    fn causes_and_what_was_seen_are_reworded() {
        let error = Error::refused("no").cause("/tmp/copy/0002-key: no").seen("/tmp/copy/0002-key").next("again");
        let told = error.reworded(|text| text.replace("/tmp/copy/0002-", "/etc/ssh/")).to_string();
        assert_eq!(told, "refused: no\ncause: /etc/ssh/key: no\nseen:  /etc/ssh/key\nnext:  again");
    }

    #[test]
    fn a_state_that_is_known_is_kept() {
        let error = Error::failed("no").or_state("untouched").or_state("who knows");
        assert_eq!(error.to_string(), "error: no\nstate: untouched");
    }

    #[test]
    fn what_was_changed_before_a_failure_is_told() {
        for (error, expected) in [
            (Error::failed("no"), "one is out; nothing else was changed"),
            (Error::failed("no").unchanged(), "one is out; nothing else was changed"),
            (Error::failed("no").state("as before (2 files)"), "one is out; then: as before (2 files)"),
        ] {
            assert_eq!(error.after("one is out").to_string(), format!("error: no\nstate: {expected}"));
        }
    }

    #[test]
    fn rolling_back_replaces_the_state() {
        let error = Error::refused("no").state("untouched").into_rolled_back("as before");
        assert_eq!(error.to_string(), "rolled back: no\nstate: as before");
        assert_eq!(error.exit(), Exit::Failed);
    }
}
