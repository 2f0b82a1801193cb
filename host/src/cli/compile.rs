//! `warded compile`: a run starts it as its compiler (`sandbox/compiler.rs`). Nobody else needs it.

use crate::sandbox::compiler;
use clap::Args;
use std::io::{self, Write as _};
use warded_lib::error::Exit;

#[derive(Debug, Args)]
pub(super) struct Compile {}

impl Compile {
    /// An error is printed as one line, for the run that reads it.
    #[expect(clippy::unused_self, reason = "each command is run as a value")]
    pub(super) fn run(&self) -> Exit {
        let Err(error) = compiler::serve() else { return Exit::Done };
        let notes: Vec<&str> = error.notes().map(|(_, text)| text).collect();
        drop(writeln!(io::stderr(), "{}", [&[error.message()], &notes[..]].concat().join(": ")));
        error.exit()
    }
}
