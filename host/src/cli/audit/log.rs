//! `warded audit log` and `warded audit export`: the records, or some of them.

use super::told;
use crate::{cli::output::Output, context::Context};
use clap::Args;
use jiff::Timestamp;
use std::io::{self, Write as _};
use warded_lib::{
    audit::{self, Kind, Record, UnreadableLine},
    error::{Error, Exit, Result},
    moment,
};

/// After so many older records in a row, all records before them count as older, too. Fewer in a row may come from a
/// time at which the machine's clock was wrong.
const OLDER: u32 = 1000;

#[derive(Debug, Args)]
pub(in crate::cli) struct Log {
    #[command(flatten)]
    filter: Filter,
    /// Only this many of the newest records
    #[arg(long, short = 'n', value_name = "COUNT")]
    last: Option<usize>,
}

/// Which records.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct Filter {
    /// Only records of this run
    #[arg(long, value_name = "NUMBER")]
    run: Option<u64>,
    /// Only records of this policy
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Only records of this procedure
    #[arg(long, value_name = "NAME")]
    procedure: Option<String>,
    /// Only calls of this function or interface: files.write, files
    #[arg(long, value_name = "FUNCTION")]
    capability: Option<String>,
    /// Only records since this time (2026-11-28, 2026-11-28T14:00; UTC unless it has a zone), or since so long ago
    /// (12h, 7d)
    #[arg(long, value_name = "WHEN", value_parser = |text: &str| moment::since(text, Timestamp::now()))]
    since: Option<Timestamp>,
    /// Only calls that were denied
    #[arg(long)]
    denied: bool,
}

impl Filter {
    fn is_everything(&self) -> bool {
        matches!(self, Self { run: None, policy: None, procedure: None, capability: None, since: None, denied: false })
    }

    fn takes(&self, record: &Record) -> bool {
        let event = &record.event;
        let called = event.capability.as_deref().unwrap_or_default();
        let of_function =
            |wanted: &String| called == wanted || called.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'));
        self.run.is_none_or(|run| event.run == run)
            && self.policy.as_ref().is_none_or(|policy| event.policy == *policy)
            && self.procedure.as_ref().is_none_or(|procedure| event.procedure == *procedure)
            && self.capability.as_ref().is_none_or(of_function)
            && self.since.is_none_or(|since| record.time >= since)
            && (!self.denied || event.kind == Kind::Denied)
    }

    /// The records that match the filter, in the order of the log; with `last`, only so many of the newest. The search
    /// begins at the end of the log. A line that is not a record matches only if there is no filter.
    fn read(
        &self,
        context: &Context,
        last: Option<usize>,
    ) -> Result<impl Iterator<Item = std::result::Result<Record, UnreadableLine>>> {
        let (mut older, mut taken) = (0, 0);
        let takes = |record: Option<&Record>| record.map_or_else(|| self.is_everything(), |record| self.takes(record));
        let records = audit::newest(context.log.directory(), |record| {
            let is_older = |since| record.is_some_and(|record| record.time < since);
            older = if self.since.is_some_and(is_older) { older + 1 } else { 0 };
            taken += usize::from(takes(record));
            let starts = |run| {
                record.is_some_and(|record| run > 0 && record.event.run == run && record.event.kind == Kind::Started)
            };
            last.is_some_and(|last| taken >= last) || older >= OLDER || self.run.is_some_and(starts)
        })?;
        Ok(records.filter(move |line| takes(line.as_ref().ok())).take(last.unwrap_or(usize::MAX)))
    }

    /// Prints the records as they are in the log. A line that is not a record is left out. Unless a crash left it, the
    /// chain is broken there, and that is reported.
    pub(super) fn export(&self, context: &Context, output: Output) -> Result<Exit> {
        let failed = |error: io::Error| Error::failed("cannot write to stdout").cause(error);
        let mut stdout = io::stdout().lock();
        for record in self.read(context, None)?.flatten() {
            let line = serde_json::to_string(&record).map_err(|error| failed(error.into()))?;
            match writeln!(stdout, "{line}") {
                // It is no error if the reader has closed the pipe.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                written => written.map_err(failed)?,
            }
        }
        match audit::verify(context.log.directory())? {
            Ok(_) => Ok(Exit::Done),
            Err(broken) => Err(told(&broken, output)),
        }
    }
}

impl Log {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let now = Timestamp::now();
        let (mut records, mut unreadable_lines) = (Vec::new(), Vec::new());
        for line in self.filter.read(context, self.last)? {
            match &line {
                Ok(record) => output.line(record.told(now))?,
                // A line that a crash left must not stop the rest from being read; `verify` judges it.
                Err(unreadable) => output.line(format!("    !  {unreadable}"))?,
            }
            if output.json {
                match line {
                    Ok(record) => records.push(record),
                    Err(unreadable) => unreadable_lines.push(unreadable.line),
                }
            }
        }
        output.object(&serde_json::json!({
            "schema": "warded.audit-log/1", "records": records, "unreadable_lines": unreadable_lines,
        }))?;
        Ok(Exit::Done)
    }
}
