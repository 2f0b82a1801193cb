//! `warded watchdog`: a run starts it as its watchdog (`pipeline/watchdog.rs`). Nobody else needs it.

use crate::{context::Options, pipeline::watchdog};
use clap::Args;
use warded_lib::error::{Exit, Result};

#[derive(Debug, Args)]
pub(super) struct Watchdog {
    /// The run's number
    run: u64,
    /// The seconds that a stage of the run may take, at most
    #[arg(long, value_name = "SECONDS")]
    stage_limit: Option<u64>,
    /// Begin when the run says so
    #[arg(long)]
    when_told: bool,
}

impl Watchdog {
    pub(super) fn run(&self, options: &Options) -> Result<Exit> {
        watchdog::watch(options, self.run, self.stage_limit, self.when_told)
    }
}
