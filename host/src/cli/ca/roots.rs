//! `warded ca roots`.

use crate::{cli::output::Output, context::Context};
use clap::Args;
use serde::Serialize;
use warded_lib::{
    ca::Kind,
    error::{Error, Exit, Result},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Roots {
    /// The keys that sign machines, for known_hosts
    #[arg(long, conflicts_with = "user")]
    host: bool,
    /// The keys that sign people, for sshd's TrustedUserCAKeys (the default)
    #[arg(long)]
    user: bool,
}

#[derive(Serialize)]
struct RootsObject {
    schema: &'static str,
    kind: String,
    keys: Vec<String>,
}

impl Roots {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let kind = if self.host { Kind::Host } else { Kind::User };
        let keys = context.authority.open()?.roots(kind)?;
        let lines: Vec<String> = keys
            .iter()
            .map(|key| key.to_openssh().map_err(|error| Error::failed("cannot write the CA's public key").cause(error)))
            .collect::<Result<_>>()?;
        for line in &lines {
            output.line(line)?;
        }
        output.object(&RootsObject { schema: "warded.ca-roots/1", kind: kind.to_string(), keys: lines })?;
        Ok(Exit::Done)
    }
}
