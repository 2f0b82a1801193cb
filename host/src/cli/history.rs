//! `warded history`: the list of past runs.

use super::output::Output;
use crate::context::Context;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use warded_lib::{
    error::{Exit, Result},
    moment,
    text::neutral,
    transaction::{self, Outcome, PastRun, WayBack},
};

#[derive(Debug, Args)]
pub(super) struct History {}

#[derive(Serialize)]
struct HistoryObject {
    schema: &'static str,
    runs: Vec<RunObject>,
}

#[derive(Serialize)]
struct RunObject {
    run: u64,
    started: Timestamp,
    /// Who started the run; null if the journal does not say.
    by: Option<String>,
    policy: String,
    procedure: String,
    /// The newest run that it undid, if it is an undo.
    undoes: Option<u64>,
    /// The oldest run that it undid.
    down_to: Option<u64>,
    /// The newest of the later runs that are undone together with it.
    folded: Option<u64>,
    files: Vec<String>,
    outcome: &'static str,
    undone_by: Option<u64>,
    /// The command that undoes it; null if none does.
    undo: Option<String>,
    /// The run together with which it is undone.
    undone_with: Option<u64>,
}

impl History {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        context.has_runs("history")?;
        let history = transaction::history(&context.state)?;
        if history.runs.is_empty() && history.fault.is_none() {
            output.line("No run has changed anything yet.")?;
        }
        for line in table(&history.runs) {
            output.line(line)?;
        }
        // If a command fails, the only object that it prints is the error.
        history.fault.map_or(Ok(()), Err)?;
        let runs = history.runs.iter().map(RunObject::from).collect();
        output.object(&HistoryObject { schema: "warded.history/1", runs })?;
        Ok(Exit::Done)
    }
}

/// The runs as a table whose columns are as wide as necessary.
fn table(runs: &[PastRun]) -> Vec<String> {
    let head = ["run", "started", "ago", "by", "what", "outcome", "undo"].map(str::to_owned);
    let rows: Vec<[String; 7]> =
        std::iter::once(head).filter(|_| !runs.is_empty()).chain(runs.iter().map(row)).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..7).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(past: &PastRun) -> [String; 7] {
    let run = &past.journal.run;
    let what = match (run.undone(), past.journal.folded) {
        (Some(runs), _) if runs.start() == runs.end() => format!("undo of run {}", runs.end()),
        (Some(runs), _) => format!("undo of runs {} to {}", runs.start(), runs.end()),
        (None, Some(folded)) => format!("{}, and the runs to {folded}", neutral(&run.procedure)),
        (None, None) => neutral(&run.procedure),
    };
    let outcome = match past.outcome {
        Outcome::Kept => "kept".to_owned(),
        Outcome::Undone(by) => format!("undone by run {by}"),
        Outcome::RolledBack => "rolled back".to_owned(),
        Outcome::Unconfirmed => format!("waits to be confirmed ({})", past.journal.until()),
        Outcome::AtWork => "at work".to_owned(),
        Outcome::Interrupted => "interrupted".to_owned(),
    };
    let undo = match past.way_back {
        WayBack::With(base) => format!("with run {base}"),
        WayBack::Next | WayBack::DownTo | WayBack::None => command(past).unwrap_or_else(|| "-".to_owned()),
    };
    let by = run.by.as_deref().map_or_else(|| "-".to_owned(), neutral);
    let ago = moment::distance(Timestamp::now().duration_since(run.started).unsigned_abs());
    [run.run.to_string(), run.started.strftime("%F %R UTC").to_string(), ago, by, what, outcome, undo]
}

/// The command that undoes it.
fn command(past: &PastRun) -> Option<String> {
    let number = past.journal.run.run;
    match past.way_back {
        WayBack::Next => Some(format!("warded undo {number}")),
        WayBack::DownTo => Some(format!("warded undo --down-to {number}")),
        WayBack::With(_) | WayBack::None => None,
    }
}

impl From<&PastRun> for RunObject {
    fn from(past: &PastRun) -> Self {
        let run = &past.journal.run;
        let (outcome, undone_by) = match past.outcome {
            Outcome::Kept => ("kept", None),
            Outcome::Undone(by) => ("undone", Some(by)),
            Outcome::RolledBack => ("rolled-back", None),
            Outcome::Unconfirmed => ("unconfirmed", None),
            Outcome::AtWork => ("at-work", None),
            Outcome::Interrupted => ("interrupted", None),
        };
        Self {
            run: run.run,
            started: run.started,
            by: run.by.as_deref().map(neutral),
            policy: neutral(&run.policy),
            procedure: neutral(&run.procedure),
            undoes: run.undoes,
            down_to: run.undone().map(|runs| *runs.start()),
            folded: past.journal.folded,
            files: past.journal.entries.iter().map(|entry| entry.path.to_string()).collect(),
            outcome,
            undone_by,
            undo: command(past),
            undone_with: match past.way_back {
                WayBack::With(base) => Some(base),
                WayBack::Next | WayBack::DownTo | WayBack::None => None,
            },
        }
    }
}
