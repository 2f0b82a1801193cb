//! `warded completions`.

use super::{Cli, output::Output};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use std::io::Write as _;
use warded_lib::error::{Error, Exit, Result};

/// Print completions for a shell, such as: warded completions bash > /etc/bash_completion.d/warded
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, _: Output) -> Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "warded", &mut script);
        match std::io::stdout().write_all(&script) {
            Ok(()) => Ok(Exit::Done),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Error::quiet(Exit::Done)),
            Err(error) => Err(Error::failed("cannot write to stdout").cause(error)),
        }
    }
}
