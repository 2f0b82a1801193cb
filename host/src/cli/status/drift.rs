//! What kept runs left for an appliance, and somebody has changed since: what their programs set, and the lines in files
//! from which the appliance generates sshd's configuration; and what programs set after their run was rolled back.

use crate::{cli::outlook::Problem, context::Context};
use sshd_config::block::{BEGIN, END};
use warded_lib::{
    error::Result,
    machine::{action::Step, bounded, path::AbsolutePath},
    name::Name,
    text::{neutral, shell_word},
    transaction::{self, LostBlock, Outcome, PastRun, RunIdentity},
};

/// What is no longer as the runs left it. Jobs are reported with the schedule.
///
/// # Errors
/// The journals cannot be read.
pub(super) fn look(context: &Context) -> Result<Vec<Problem>> {
    let belated = belated(context)?;
    let mut problems = Vec::new();
    for step in transaction::settings_left(&context.state)? {
        let (name, Some(seen)) = (&step.change.name, &step.seen) else { continue };
        if belated.iter().any(|(late, _)| late == name) {
            continue;
        }
        match seen.now(context.runner.as_ref()) {
            Ok((now, _)) if transaction::is_left(&seen.after, &now) => {}
            Ok(_) => problems.push(Problem::of_drift(
                format!("somebody changed what {name} had set: {} shows something else", seen.query.name),
                "repeat the procedure that set it; `warded history` names it",
            )),
            Err(fault) => {
                let seen = format!("cannot check whether the setting made by {name} is still there: {fault}");
                problems.push(Problem::with(seen, "see whether the appliance's services run, then look again"));
            }
        }
    }
    problems.extend(belated.into_iter().map(|(_, problem)| problem));
    problems.extend(transaction::lost_blocks(&context.state)?.iter().map(|block| lost(context, block)));
    Ok(problems)
}

/// Lines that sshd may still have. It loses them when its configuration is generated the next time. No procedure can
/// write another procedure's lines, so while sshd has them, they are copied from its configuration.
fn lost(context: &Context, block: &LostBlock) -> Problem {
    let (path, config) = (block.path.to_string_lossy(), &context.places.sshd_config);
    let seen = format!("the lines that run {} left in {} are gone", block.run, neutral(&path));
    let is_in = |config: &AbsolutePath| bounded::read(config.as_path()).is_ok_and(|text| block.is_in(&text));
    let next = if is_in(config) {
        let [path, config] = [&path, config.as_str()].map(|path| neutral(&shell_word(path)));
        format!("put them back: sed -n '/^{BEGIN}/,/^{END}/p' {config} >>{path}")
    } else {
        let commands = block.procedures.iter().map(|procedure| format!("warded apply {procedure}"));
        format!("put them back: {}", commands.collect::<Vec<_>>().join(", then "))
    };
    Problem::of_drift(seen, next)
}

/// What the programs of the newest run that had any have set, although that run was rolled back. A program such as
/// TrueNAS's client asks a service to do the work; the service may do it after the client was ended for its time limit.
fn belated(context: &Context) -> Result<Vec<(Name, Problem)>> {
    let runs = transaction::history(&context.state)?.runs;
    let since: Vec<_> = runs.iter().take_while(|run| run.journal.steps.is_empty()).collect();
    let Some(run) = runs.get(since.len()).filter(|run| run.outcome == Outcome::RolledBack) else {
        return Ok(Vec::new());
    };
    let RunIdentity { run: number, policy, procedure, undoes, .. } = &run.journal.run;
    // Where the programs had done their part already, the same procedure did the rest without them.
    let is_repetition = |later: &&PastRun| {
        let RunIdentity { policy: its, procedure: own, .. } = &later.journal.run;
        later.outcome == Outcome::Kept && (its, own) == (policy, procedure)
    };
    if since.into_iter().any(|later| is_repetition(&later)) {
        return Ok(Vec::new());
    }
    let next = match undoes {
        Some(_) => "to complete it, run the same command again (warded undo, or warded remove)".to_owned(),
        None => format!("to complete it, run warded apply {procedure} again, with the same settings"),
    };
    let problem = |step: &Step| {
        let (name, seen) = (&step.change.name, step.seen.as_ref()?);
        let (now, _) = seen.now(context.runner.as_ref()).ok()?;
        let is_there = transaction::is_left(&seen.after, &now) && !transaction::is_left(&seen.before, &now);
        is_there.then(|| {
            let query = &seen.query.name;
            let set = format!("run {number} was rolled back, and {query} shows all the same what {name} was to set");
            let problem = Problem::of_drift(
                format!("{set}: the program took effect later, or somebody did the same"),
                next.clone(),
            );
            (name.clone(), problem)
        })
    };
    Ok(run.journal.steps.iter().filter_map(problem).collect())
}
