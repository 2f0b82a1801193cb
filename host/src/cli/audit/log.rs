//! `warded audit log` and `warded audit export`: the records, or some of them.

use crate::{cli::output::Output, context::Context};
use clap::Args;
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use std::io::{self, Write as _};
use warded_lib::{
    audit::{self, Kind, Record, UnreadableLine},
    error::{Error, Exit, Result},
};

/// With so many older records in a row, all before them count as older, too. Fewer may come from a time at which the
/// machine's clock was wrong.
const OLDER: u32 = 1000;

#[derive(Debug, Args)]
pub(in crate::cli) struct Log {
    #[command(flatten)]
    filter: Filter,
    /// Only this number of records, the newest
    #[arg(long, short = 'n', value_name = "COUNT")]
    last: Option<usize>,
}

/// Which records.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct Filter {
    /// Only this run
    #[arg(long, value_name = "NUMBER")]
    run: Option<u64>,
    /// Only of this policy
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Only of this procedure
    #[arg(long, value_name = "NAME")]
    procedure: Option<String>,
    /// Only calls of this function, or of all of an interface: files.write, files
    #[arg(long, value_name = "FUNCTION")]
    capability: Option<String>,
    /// Only since this moment (2026-11-28, 2026-11-28T14:00:00Z), or this long ago (12h, 7d)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Timestamp>,
    /// Only what was denied
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

    /// The records that it takes, in the order of the log; of these only so many, the newest. They are looked for from
    /// the end of the log. Of a line that is no record, nobody can say whose it is.
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

    /// Prints them as they are in the log.
    pub(super) fn export(&self, context: &Context) -> Result<Exit> {
        let failed = |error: io::Error| Error::failed("cannot write to stdout").cause(error);
        let mut output = io::stdout().lock();
        for record in self.read(context, None)?.flatten() {
            let line = serde_json::to_string(&record).map_err(|error| failed(error.into()))?;
            match writeln!(output, "{line}") {
                // A reader that went away is no error.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                written => written.map_err(failed)?,
            }
        }
        Ok(Exit::Done)
    }
}

impl Log {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let now = Timestamp::now();
        let (mut records, mut unreadable_lines) = (Vec::new(), Vec::new());
        for line in self.filter.read(context, self.last)? {
            match &line {
                Ok(record) => output.line(record.told(now))?,
                // What a crash left does not keep the rest from being read; `verify` judges it.
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

/// A moment, a day (from its beginning, UTC), or so long ago.
fn since(text: &str) -> std::result::Result<Timestamp, String> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    if let Ok(day) = text.parse::<Date>() {
        return day.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).map_err(|error| error.to_string());
    }
    let days = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok());
    let ago = match days.and_then(|days| days.checked_mul(24)) {
        Some(hours) => SignedDuration::try_from_hours(hours),
        None => text.parse().ok(),
    };
    ago.filter(|ago| !ago.is_negative()).and_then(|ago| Timestamp::now().checked_sub(ago).ok()).ok_or_else(|| {
        "neither a moment (2026-11-28, 2026-11-28T14:00:00Z) nor a time that has passed (12h, 7d)".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_three_ways() {
        let at = |text: &str| since(text).unwrap();
        assert_eq!(at("2026-11-28"), at("2026-11-28T00:00:00Z"));
        assert_eq!(at("2026-11-28T01:00:00+01:00"), at("2026-11-28"));
        for (text, minutes) in [("7d", 7 * 24 * 60), ("90m", 90)] {
            let ago = Timestamp::now().duration_since(at(text));
            assert!((0..5).contains(&(ago.as_secs() - minutes * 60).abs()), "{text}: {ago}");
        }
        for bad in ["", "d", "-1h", "yesterday", "2026-13-01", "99999999999999d"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
