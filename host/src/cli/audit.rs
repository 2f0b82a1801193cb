//! `warded audit POLICY`, `warded audit log` and `warded audit verify`.

mod report;

use super::output::Output;
use crate::context::{Context, Options};
use clap::{Args, Subcommand};
use warded_lib::{
    audit,
    error::{Error, Exit, Result},
};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Audit {
    #[command(flatten)]
    report: report::Report,
    #[command(subcommand)]
    log: Option<OfTheLog>,
}

#[derive(Debug, Subcommand)]
enum OfTheLog {
    /// Print the records
    Log(Log),
    /// Check that no record was changed, removed or reordered
    Verify,
}

#[derive(Debug, Args)]
pub(super) struct Log {
    /// Only this run
    #[arg(long, value_name = "NUMBER")]
    run: Option<u64>,
    /// Only the newest records, so many
    #[arg(long, short = 'n', value_name = "COUNT")]
    last: Option<usize>,
}

impl Audit {
    pub(super) fn run(&self, context: Result<Context>, options: &Options, output: Output) -> Result<Exit> {
        match &self.log {
            None => self.report.run(context, options, output),
            Some(OfTheLog::Log(log)) => log.run(&context?, output),
            Some(OfTheLog::Verify) => verify(&context?, output),
        }
    }
}

impl Log {
    fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let mut lines: Vec<_> = audit::read(context.log.directory())?
            .filter(|line| match (line, self.run) {
                (_, None) => true,
                (Ok(record), Some(run)) => record.event.run == run,
                // Nobody can say whose it is.
                (Err(_), Some(_)) => false,
            })
            .collect();
        let skipped = self.last.map_or(0, |last| lines.len().saturating_sub(last));
        lines.drain(..skipped);
        for line in &lines {
            match line {
                Ok(record) => output.line(record.to_string())?,
                // What a crash left does not keep the rest from being read; `verify` judges it.
                Err(unreadable) => output.line(format!("    !  {unreadable}"))?,
            }
        }
        let unreadable: Vec<u64> =
            lines.iter().filter_map(|line| line.as_ref().err()).map(|unreadable| unreadable.line).collect();
        let records: Vec<_> = lines.into_iter().flatten().collect();
        output.object(&serde_json::json!({
            "schema": "warded.audit-log/1", "records": records, "unreadable_lines": unreadable,
        }))?;
        Ok(Exit::Done)
    }
}

fn verify(context: &Context, output: Output) -> Result<Exit> {
    match audit::verify(context.log.directory())? {
        Ok(verified) => {
            output.line(verified.to_string())?;
            output.object(&serde_json::json!({
                "schema": "warded.audit-verify/1", "intact": true, "records": verified.records,
                "unsealed": verified.unsealed,
            }))?;
            Ok(Exit::Done)
        }
        Err(broken) => {
            output.object(&serde_json::json!({
                "schema": "warded.audit-verify/1", "intact": false, "record": broken.record, "what": broken.what,
            }))?;
            let error =
                Error::failed(format!("the audit log is not intact: record {}: {}", broken.record, broken.what))
                    .next("keep the directory as evidence; everything before that record is as it was written");
            if output.json {
                output.note(error.to_string());
                return Err(Error::quiet(error.exit()));
            }
            Err(error)
        }
    }
}
