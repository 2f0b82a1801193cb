//! `warded audit POLICY`, and the commands for the log itself: `log`, `verify`, `export`.

mod html;
mod log;
mod markup;
mod report;
mod signed;

use super::output::Output;
use crate::context::{Context, Options};
use clap::{Args, Subcommand};
use warded_lib::{
    audit::{self, ChainBreak},
    error::{Error, Exit, Result},
};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Audit {
    #[command(flatten)]
    report: report::Report,
    #[command(subcommand)]
    log: Option<LogCommand>,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Print the records
    Log(log::Log),
    /// Check that no record was changed, removed or reordered
    Verify(signed::Signing),
    /// Print the records as JSON lines, each with the hash of the one before
    Export(log::Filter),
}

impl Audit {
    pub(super) fn run(&self, context: Result<Context>, options: &Options, output: Output) -> Result<Exit> {
        match &self.log {
            None => self.report.run(context, options, output),
            Some(LogCommand::Log(log)) => log.run(&context?, output),
            Some(LogCommand::Verify(signing)) => verify(&context?, signing, output),
            Some(LogCommand::Export(filter)) => filter.export(&context?, output),
        }
    }
}

fn verify(context: &Context, signing: &signed::Signing, output: Output) -> Result<Exit> {
    let verify = if signing.needs_all() { audit::verify_all } else { audit::verify };
    match verify(context.log.directory())? {
        Ok(verified) => {
            output.line(verified.to_string())?;
            let signed = signing.run(context, output)?;
            output.object(&serde_json::json!({
                "schema": "warded.audit-verify/1", "intact": true, "records": verified.records,
                "unsealed": verified.unsealed, "checked_from": verified.from, "signed": signed,
            }))?;
            Ok(Exit::Done)
        }
        Err(broken) => {
            output.object(&serde_json::json!({
                "schema": "warded.audit-verify/1", "intact": false, "record": broken.record, "what": broken.what,
            }))?;
            Err(told(&broken, output))
        }
    }
}

/// The error for a log that is not intact. With `--json`, the object before it is the only one on stdout.
fn told(broken: &ChainBreak, output: Output) -> Error {
    let error = Error::failed(format!("the audit log is not intact: {broken}")).next(if broken.record == 0 {
        "keep the directory as evidence: whether records are missing at the log's end cannot be known"
    } else {
        "keep the directory as evidence; everything before that record is as it was written"
    });
    if output.json {
        output.note(error.to_string());
        return Error::quiet(error.exit());
    }
    error
}
