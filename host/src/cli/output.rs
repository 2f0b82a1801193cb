//! What a command prints: words on a terminal, or one JSON object and nothing else on stdout.

mod wrap;

use clap::ValueEnum;
use rustix::{fd::AsFd, termios::tcgetwinsize};
use serde::Serialize;
use std::{
    env,
    io::{self, IsTerminal, Write as _},
};
use warded_lib::error::{Error, Exit, Result};

/// Where a command's words go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Whether to print one JSON object instead of words.
    pub json: bool,
    /// How much to say in addition to the result.
    pub verbosity: Verbosity,
    colour: bool,
    /// Whether only a part of a command prints this.
    is_part: bool,
}

/// How much a command says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Only how it failed.
    Quiet,
    /// Nothing on stdout.
    Beside,
    /// What a person wants to know.
    #[default]
    Usual,
    /// In addition, each stage and each program that is started.
    Verbose,
}

/// When words are coloured; `Auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// How a word is highlighted on a terminal.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// New, good.
    Green,
    /// Gone, bad.
    Red,
    /// To look into.
    Yellow,
    /// Less important.
    Dim,
}

impl Output {
    /// The output that was asked for. With `NO_COLOR` (no-color.org), and where there is no terminal, there are no
    /// colours.
    #[must_use]
    pub fn new(json: bool, verbosity: Verbosity, colour: ColorChoice) -> Self {
        let no_colour = || env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = || env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = match colour {
            ColorChoice::Auto => io::stdout().is_terminal() && !no_colour() && !is_dumb(),
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        Self { json, verbosity, colour: colour && !json, is_part: false }
    }

    /// The same output for a part of a command; the whole command prints the one object.
    #[must_use]
    pub fn of_part(self) -> Self {
        let verbosity =
            if self.json && self.verbosity == Verbosity::Usual { Verbosity::Beside } else { self.verbosity };
        Self { json: false, verbosity, is_part: true, ..self }
    }

    fn is_silent(self) -> bool {
        self.json || matches!(self.verbosity, Verbosity::Quiet | Verbosity::Beside)
    }

    /// The error for a command, or a part of one, whose question was answered with no.
    #[must_use]
    pub fn declined(self) -> Error {
        self.note(if self.is_part { "This step changed nothing." } else { "Nothing was changed." });
        Error::quiet(Exit::Failed)
    }

    /// Prints a line for a person; nothing if JSON is asked for.
    ///
    /// # Errors
    /// stdout cannot be written. It is no error if the reader has closed the pipe.
    pub fn line(self, text: impl AsRef<str>) -> Result<()> {
        if self.is_silent() {
            return Ok(());
        }
        self.verbatim(fitting(&io::stdout(), text.as_ref()))
    }

    /// The same for a line that people copy: it is not wrapped, however narrow the terminal.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn verbatim(self, text: impl AsRef<str>) -> Result<()> {
        if self.is_silent() {
            return Ok(());
        }
        written(writeln!(io::stdout(), "{}", text.as_ref()))
    }

    /// Prints the one JSON object of a command; nothing if words are asked for.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn object(self, object: &impl Serialize) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let text =
            serde_json::to_string_pretty(object).map_err(|error| Error::failed("cannot write JSON").cause(error))?;
        written(writeln!(io::stdout(), "{text}"))
    }

    /// Prints a detail on stderr for a person who asked for more.
    pub fn detail(self, text: impl AsRef<str>) {
        if self.verbosity == Verbosity::Verbose {
            say(&format!("» {}", text.as_ref()));
        }
    }

    /// Prints a note beside the result, on stderr. If that is not possible, it is no error.
    pub fn note(self, text: impl AsRef<str>) {
        if self.verbosity != Verbosity::Quiet {
            say(text.as_ref());
        }
    }

    /// A word, highlighted if colour is wanted.
    #[must_use]
    pub fn paint(self, style: Style, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match style {
            Style::Green => 32,
            Style::Red => 31,
            Style::Yellow => 33,
            Style::Dim => 2,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Reports how a command failed: on stderr, and as an object if JSON is asked for.
    pub fn failure(self, error: &Error) {
        if error.is_quiet() {
            return;
        }
        if self.json {
            drop(self.object(&Failure::of(error)));
        }
        say(&error.to_string());
    }
}

/// Prints on stderr. If that is not possible, it is no error.
pub(super) fn say(text: &str) {
    drop(writeln!(io::stderr(), "{}", fitting(&io::stderr(), text)));
}

/// The text wrapped for a terminal; other outputs get it unchanged.
fn fitting(stream: &(impl IsTerminal + AsFd), text: &str) -> String {
    let size = if stream.is_terminal() { tcgetwinsize(stream).ok() } else { None };
    match size.map(|size| usize::from(size.ws_col)) {
        Some(width) if width > 0 => wrap::wrapped(text, width),
        Some(_) | None => text.to_owned(),
    }
}

/// A failure as an object.
#[derive(Serialize)]
pub(super) struct Failure<'a> {
    schema: &'static str,
    kind: &'static str,
    exit: u8,
    message: &'a str,
    notes: Vec<Note<'a>>,
}

impl<'a> Failure<'a> {
    pub(super) fn of(error: &'a Error) -> Self {
        Self {
            schema: "warded.error/1",
            kind: error.heading(),
            exit: error.exit().code(),
            message: error.message(),
            notes: error.notes().map(|(label, text)| Note { label: label.as_str(), text }).collect(),
        }
    }
}

#[derive(Serialize)]
struct Note<'a> {
    label: &'static str,
    text: &'a str,
}

fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        // A reader that has closed the pipe changes neither what a command does nor how it ends.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Error::failed("cannot write to stdout").cause(error)),
    }
}

/// Whether there is a terminal for a question.
#[must_use]
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question at the terminal. True for yes.
///
/// # Errors
/// There is no terminal to ask at.
pub fn confirm(question: &str) -> Result<bool> {
    if !can_ask() {
        return Err(Error::usage("there is no terminal to ask at").unchanged().next("say yes beforehand with --yes"));
    }
    drop(write!(io::stderr(), "{question} [y/N] "));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| Error::failed("cannot read the answer").cause(error))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
