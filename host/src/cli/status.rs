//! `warded status`.
use super::output::Output;
use crate::{
    context::Context,
    error::{Exit, Result},
};
use clap::Args;
#[derive(Debug, Args)]
pub(super) struct Status {}
impl Status {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        super::recover::report(context, output)?;
        Ok(Exit::Done)
    }
}
