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
    pub(super) fn run(&self, _: &Context, _: Output) -> Result<Exit> {
        Ok(Exit::Done)
    }
}
