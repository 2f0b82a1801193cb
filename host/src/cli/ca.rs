//! `warded ca`.

mod init;
mod roots;
pub(super) mod show;

use super::output::Output;
use crate::context::Context;
use clap::Subcommand;
use warded_lib::error::{Exit, Result};

#[derive(Debug, Subcommand)]
pub(super) enum Ca {
    /// Show the CA: whether it answers, its keys, its provisioners and its clock
    Show(show::Show),
    /// Print the public keys with which the CA signs certificates
    Roots(roots::Roots),
    /// Make a CA of your own, in a directory: for a first try or a lab
    Init(init::Init),
}

impl Ca {
    pub(super) fn run(&self, open: &dyn Fn() -> Result<Context>, output: Output) -> Result<Exit> {
        match self {
            Self::Show(show) => show.run(&open()?, output),
            Self::Roots(roots) => roots.run(&open()?, output),
            Self::Init(init) => init.run(output),
        }
    }
}
