//! `warded recover`, and what other commands do about a run that has not ended.

mod beside;

use super::{
    outlook::Problem,
    output::{Output, Style},
    report::LeftObject,
};
use crate::{
    context::{Context, Options},
    pipeline::{
        roll_back::{Recovery, RolledBackRun},
        settle,
    },
};
use clap::Args;
use serde::Serialize;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use warded_lib::{
    audit::{Event, Kind},
    config::is_root,
    error::{Error, Exit, Result, UNCHANGED},
    machine::{action::StepRollback, scratch},
    transaction::{self, Journal},
};

/// How long another process may take to roll a run back.
const OTHERS: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct Recover {
    /// Show which run would be rolled back, and change nothing
    #[arg(long)]
    plan: bool,
}

impl Recover {
    /// A configuration that cannot be read must not stop the recovery at boot.
    pub(super) fn run(&self, options: &Options, output: Output) -> Result<Exit> {
        let broken = match Context::open(options) {
            Ok(context) if self.plan => return plan(&context, output),
            Ok(context) => return Self::recover(&context, output),
            Err(error) => error,
        };
        let Ok(context) = Context::open(&options.without_config()) else { return Err(broken) };
        if self.plan {
            return Err(broken);
        }
        output.note(format!("{broken}\nstate: going on with {}", context.state.path().display()));
        Self::recover(&context, output).map(|_| Exit::Degraded)
    }

    fn recover(context: &Context, output: Output) -> Result<Exit> {
        let (mut rolled_back, mut others) = (Vec::new(), Vec::new());
        let recovered = beside::until_none_is_left(
            &mut others,
            || Recovery::of(context).all(|done| rolled_back.push(done)).and_then(|()| tidy(context, output)),
            || transaction::await_roll_back(&context.state, OTHERS),
        );
        others.retain(|run| rolled_back.iter().all(|done: &RolledBackRun| done.run.run != run.run));
        for run in &others {
            drop(output.line(format!("{run} had been interrupted; another process rolled it back.")));
        }
        for done in &rolled_back {
            drop(show(output, done));
        }
        if let Err(error) = recovered {
            return Self::failed(context, &rolled_back, error, output);
        }
        let waiting = transaction::unconfirmed(&context.state)?;
        if let Some(journal) = &waiting {
            drop(output.line(format!(
                "{} waits to be confirmed ({}); it is left alone.",
                journal.run,
                journal.until()
            )));
        } else if rolled_back.is_empty() && others.is_empty() {
            output.line("Nothing was interrupted.")?;
        }
        let damaged = report_damaged(context, output)?;
        let unconfirmed = waiting.map(|journal| journal.run.run);
        let others = others.iter().map(|run| run.run).collect();
        let shown = output.object(&RecoverObject { others, unconfirmed, ..RecoverObject::of(&rolled_back) });
        let clean = !damaged && rolled_back.iter().all(RolledBackRun::is_clean);
        // The rollback is done, whether or not its report can be printed.
        if rolled_back.is_empty() {
            shown?;
        }
        Ok(if clean { Exit::Done } else { Exit::Degraded })
    }

    /// The one JSON object also lists what was rolled back.
    fn failed(context: &Context, rolled_back: &[RolledBackRun], error: Error, output: Output) -> Result<Exit> {
        if rolled_back.is_empty() || !output.json {
            return Err(error);
        }
        let unconfirmed = transaction::unconfirmed(&context.state).ok().flatten().map(|journal| journal.run.run);
        let object = RecoverObject { unconfirmed, error: Some(error.message()), ..RecoverObject::of(rolled_back) };
        drop(output.object(&object));
        output.note(error.to_string());
        Ok(error.exit())
    }
}

/// Shows what would be rolled back of the newest interrupted run.
fn plan(context: &Context, output: Output) -> Result<Exit> {
    let (interrupted, waiting) = (transaction::interrupted(&context.state)?, transaction::unconfirmed(&context.state)?);
    let rolled_back = transaction::being_rolled_back(&context.state)?;
    unended(None, waiting.as_ref(), rolled_back.as_ref()).for_each(|what| output.note(format!("note: {what}")));
    if let Some(journal) = &interrupted {
        output.line(format!("{} was interrupted; it would be rolled back:", journal.run))?;
        journal.entries.iter().try_for_each(|entry| output.line(format!("~ {}   as before", entry.path)))?;
        output.line("Nothing has been changed.")?;
    } else {
        output.line("Nothing was interrupted.")?;
    }
    let would = interrupted.as_ref().map(|journal| {
        let files: Vec<&str> = journal.entries.iter().map(|entry| entry.path.as_str()).collect();
        let Journal { run, .. } = journal;
        serde_json::json!({ "run": run.run, "policy": run.policy, "procedure": run.procedure, "files": files })
    });
    let object = serde_json::json!({
        "schema": "warded.recover/1", "runs": [], "others": [], "would_roll_back": would,
        "unconfirmed": waiting.map(|journal| journal.run.run), "error": null,
    });
    output.object(&object)?;
    Ok(if interrupted.is_some() { Exit::Pending } else { Exit::Done })
}

/// Called before a command changes anything: rolls back interrupted runs. Nothing is changed while a run waits to be
/// confirmed.
///
/// # Errors
/// As [`Recovery::all`]; refused: a run waits. Each error says what state the machine is in.
pub(super) fn first(context: &Context, output: Output) -> Result<()> {
    let mut rolled_back = Vec::new();
    let recovered = Recovery::of(context).all(|done| {
        output.note(format!("{} had been interrupted: {done}", done.run));
        rolled_back.push(done.run.run);
    });
    let looked = recovered.and_then(|()| {
        tidy(context, output)?;
        report_damaged(context, output)?;
        // A run that was killed before it had a journal has left only scratch copies, which need no rollback.
        scratch::sweep();
        transaction::refuse_unconfirmed(&context.state)
    });
    looked.map_err(|error| {
        let left = transaction::interrupted(&context.state).ok().flatten();
        error.or_state(state(&rolled_back, left.map(|journal| journal.run.run)))
    })?;
    ROLLED_BACK.lock().unwrap_or_else(PoisonError::into_inner).extend(rolled_back);
    Ok(())
}

/// The runs that [`first`] has rolled back in this process: these were changes, however the command ends.
static ROLLED_BACK: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// Adds to the error that ends a command the runs that it rolled back before.
pub(super) fn told(error: Error) -> Error {
    let rolled_back = ROLLED_BACK.lock().unwrap_or_else(PoisonError::into_inner);
    if rolled_back.is_empty() { error } else { error.after(were_rolled_back(&rolled_back)) }
}

/// The state if a command ends before changes of its own: the runs that were rolled back, and the one that still has to
/// be.
fn state(rolled_back: &[u64], left: Option<u64>) -> String {
    let parts = [
        (!rolled_back.is_empty()).then(|| were_rolled_back(rolled_back)),
        left.map(|run| format!("run {run} was interrupted, and is not completely rolled back")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { UNCHANGED.to_owned() } else { format!("{}; nothing else was changed", parts.join("; ")) }
}

fn were_rolled_back(runs: &[u64]) -> String {
    match runs {
        [one] => format!("run {one}, which was interrupted, was rolled back"),
        several => {
            let numbers: Vec<_> = several.iter().map(ToString::to_string).collect();
            format!("runs {}, which were interrupted, were rolled back", numbers.join(", "))
        }
    }
}

/// Reports the ended runs whose journals cannot be read. Returns whether there is one.
fn report_damaged(context: &Context, output: Output) -> Result<bool> {
    let damaged = damaged(context)?;
    for Problem { seen, next, .. } in &damaged {
        output.note(format!("warning: {seen}\nnext:  {}", next.as_deref().unwrap_or_default()));
    }
    Ok(!damaged.is_empty())
}

/// The ended runs whose journals cannot be read.
pub(super) fn damaged(context: &Context) -> Result<Vec<Problem>> {
    let what = "a run has ended, and neither it nor those before it can be undone";
    Ok(transaction::damaged(&context.state)?.iter().map(|error| Problem::of_error(what, error)).collect())
}

/// Removes what ended runs left behind.
fn tidy(context: &Context, output: Output) -> Result<()> {
    let left = transaction::tidy_ended(&context.state, &context.root)?;
    left.iter().for_each(|left| output.note(format!("note: {left}")));
    let event = |kind| Event { procedure: "recover".to_owned(), ..Event::new(0, kind) };
    forget_recovery(context, event, output);
    Ok(())
}

/// Makes the init system forget the recovery unit, if a kept run has removed it.
pub(super) fn forget_recovery(context: &Context, event: impl Fn(Kind) -> Event, output: Output) {
    if is_root()
        && let Some(Err(error)) = settle::forget_recovery(&context.log, event, context.facts.init)
    {
        output.note(format!("note: {error}"));
    }
}

/// For commands that change nothing: reports the runs that have not ended.
pub(super) fn report(context: &Context, output: Output) -> Result<()> {
    let (interrupted, unconfirmed) =
        (transaction::interrupted(&context.state)?, transaction::unconfirmed(&context.state)?);
    let rolled_back = transaction::being_rolled_back(&context.state)?;
    unended(interrupted.as_ref(), unconfirmed.as_ref(), rolled_back.as_ref())
        .for_each(|what| output.note(format!("note: {what}")));
    Ok(())
}

/// Messages about runs that have not ended.
pub(super) fn unended(
    interrupted: Option<&Journal>,
    unconfirmed: Option<&Journal>,
    rolled_back: Option<&Journal>,
) -> impl Iterator<Item = String> {
    let interrupted = interrupted.map(|Journal { run, .. }| {
        format!("{run} was interrupted; `warded recover`, or the next command that changes something, rolls it back")
    });
    let unconfirmed = unconfirmed.map(|journal| {
        let (run, until) = (&journal.run, journal.until());
        format!("{run} is rolled back unless it is confirmed ({until}): run `warded confirm` in a new login")
    });
    let rolled_back = rolled_back.map(|Journal { run, .. }| format!("{run} is being rolled back now"));
    interrupted.into_iter().chain(unconfirmed).chain(rolled_back)
}

fn show(output: Output, done: &RolledBackRun) -> Result<()> {
    output.line(format!("{} had been interrupted; it was rolled back:", done.run))?;
    for path in &done.files.restored {
        output.line(format!("{} {path}   as before", output.paint(Style::Green, "~")))?;
    }
    for left in &done.files.left_alone {
        output.line(format!("{} {}   left alone: {}", output.paint(Style::Yellow, "!"), left.path, left.why))?;
    }
    for (name, ended) in &done.aftermath.programs {
        output.line(match ended {
            Ok(StepRollback::AsBefore) => format!("= {name}   had not run"),
            Ok(StepRollback::RolledBack) => format!("{} {name}   rolled back", output.paint(Style::Green, "~")),
            Ok(StepRollback::LeftAlone(why)) => {
                format!("{} {name}   left alone: {why}", output.paint(Style::Yellow, "!"))
            }
            Err(error) => error.to_string(),
        })?;
    }
    if done.files.restored.is_empty() && done.files.left_alone.is_empty() {
        output.line("  no file had been changed")?;
    }
    for (name, outcome) in &done.aftermath.reloads {
        output.line(match outcome {
            Ok(reloaded) => format!("> reload {name}: {reloaded}"),
            Err(error) => format!("> reload {name}\n{error}"),
        })?;
    }
    match &done.aftermath.fault {
        Some(fault) => output.line(fault.to_string()),
        None => Ok(()),
    }
}

#[derive(Serialize)]
struct RecoverObject<'a> {
    schema: &'static str,
    runs: Vec<RunObject>,
    /// The runs that another process rolled back meanwhile.
    others: Vec<u64>,
    /// A run that waits to be confirmed, and was left alone.
    unconfirmed: Option<u64>,
    /// Why something could not be rolled back.
    error: Option<&'a str>,
}

impl RecoverObject<'_> {
    fn of(rolled_back: &[RolledBackRun]) -> Self {
        let runs = rolled_back.iter().map(RunObject::from).collect();
        Self { schema: "warded.recover/1", runs, others: Vec::new(), unconfirmed: None, error: None }
    }
}

#[derive(Serialize)]
struct RunObject {
    run: u64,
    policy: String,
    procedure: String,
    restored: Vec<String>,
    left_alone: Vec<LeftObject>,
    /// The programs that may have run, and what happened to each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    programs: Vec<ReloadObject>,
    reloads: Vec<ReloadObject>,
    /// The first difference from before that Warded can see.
    fault: Option<String>,
}

#[derive(Serialize)]
struct ReloadObject {
    service: String,
    how: Option<String>,
    error: Option<String>,
}

impl From<&RolledBackRun> for RunObject {
    fn from(done: &RolledBackRun) -> Self {
        let reload = |(service, outcome): &(String, Result<_>)| ReloadObject {
            service: service.clone(),
            how: outcome.as_ref().ok().map(ToString::to_string),
            error: outcome.as_ref().err().map(|error| error.message().to_owned()),
        };
        let program = |(service, ended): &(String, Result<StepRollback>)| ReloadObject {
            service: service.clone(),
            how: ended.as_ref().ok().map(|ended| match ended {
                StepRollback::AsBefore => "it had not run".to_owned(),
                StepRollback::RolledBack => "rolled back".to_owned(),
                StepRollback::LeftAlone(why) => format!("left alone: {why}"),
            }),
            error: ended.as_ref().err().map(|error| error.message().to_owned()),
        };
        Self {
            run: done.run.run,
            policy: done.run.policy.clone(),
            procedure: done.run.procedure.clone(),
            restored: done.files.restored.iter().map(ToString::to_string).collect(),
            left_alone: done.files.left_alone.iter().map(LeftObject::from).collect(),
            programs: done.aftermath.programs.iter().map(program).collect(),
            reloads: done.aftermath.reloads.iter().map(reload).collect(),
            fault: done.aftermath.fault.as_ref().map(|fault| fault.message().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_names_the_runs_that_were_rolled_back() {
        for (rolled_back, left, expected) in [
            (&[][..], None, UNCHANGED),
            (&[3], None, "run 3, which was interrupted, was rolled back; nothing else was changed"),
            (&[4, 3], None, "runs 4, 3, which were interrupted, were rolled back; nothing else was changed"),
            (&[], Some(2), "run 2 was interrupted, and is not completely rolled back; nothing else was changed"),
            (
                &[3],
                Some(2),
                "run 3, which was interrupted, was rolled back; run 2 was interrupted, and is not completely rolled \
                 back; nothing else was changed",
            ),
        ] {
            assert_eq!(state(rolled_back, left), expected);
        }
    }
}
