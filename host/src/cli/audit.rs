//! `warded audit log` and `warded audit verify`.

use super::output::Output;
use crate::{
    audit,
    context::Context,
    error::{Error, Exit, Result},
    text::count,
};
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
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
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        match self {
            Self::Log(log) => log.run(context, output),
            Self::Verify => verify(context, output),
        }
    }
}

impl Log {
    fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let mut records = Vec::new();
        for record in audit::read(context.log.directory())? {
            let record = record.map_err(|broken| {
                Error::failed(format!("the audit log cannot be read: {broken}")).next("warded audit verify")
            })?;
            if self.run.is_none_or(|run| record.event.run == run) {
                records.push(record);
            }
        }
        let skipped = self.last.map_or(0, |last| records.len().saturating_sub(last));
        let records: Vec<_> = records.into_iter().skip(skipped).collect();
        for record in &records {
            output.line(record.to_string())?;
        }
        output.object(&serde_json::json!({ "schema": "warded.audit-log/1", "records": records }))?;
        Ok(Exit::Done)
    }
}

fn verify(context: &Context, output: Output) -> Result<Exit> {
    match audit::verify(context.log.directory()) {
        Ok(verified) => {
            output.line(format!(
                "{}, chain intact",
                count(usize::try_from(verified.records).unwrap_or(usize::MAX), "record")
            ))?;
            output.object(
                &serde_json::json!({ "schema": "warded.audit-verify/1", "intact": true, "records": verified.records }),
            )?;
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
