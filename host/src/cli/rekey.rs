//! `warded rekey`.

use super::{
    apply::{Apply, ProcedureArgs},
    confirm::ConfirmWithin,
    identification::Identification,
    output::Output,
    plan::Plan,
    risk::AcceptRisk,
};
use crate::context::Context;
use clap::Args;
use warded_lib::{
    error::{Error, Exit, Result},
    name::Name,
};

#[derive(Debug, Args)]
pub(super) struct Rekey {
    /// Show what would change, and change nothing
    #[arg(long, conflicts_with_all = ["yes", "confirm_within"])]
    plan: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    confirm: ConfirmWithin,
    /// The policy, if more than one has the procedure rekey-host
    #[arg(long, value_name = "NAME")]
    policy: Option<Name>,
    #[command(flatten)]
    risk: AcceptRisk,
    #[command(flatten)]
    pub(super) identification: Identification,
}

impl Rekey {
    /// Runs `warded apply rekey-host`, or `warded plan rekey-host`.
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let procedure = ProcedureArgs::named("rekey-host").map_err(Error::failed)?;
        let procedure = ProcedureArgs { policy: self.policy.clone(), ..procedure };
        if self.plan {
            return Plan { procedure, risk: self.risk.clone() }.run(context, output);
        }
        let (confirm, risk, identification) = (self.confirm.clone(), self.risk.clone(), self.identification.clone());
        Apply { procedure, yes: self.yes, confirm, risk, identification }.run(context, output)
    }
}
