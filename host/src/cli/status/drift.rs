//! What kept runs left for an appliance, and somebody has changed since: what their programs set, and the lines in files
//! from which the appliance generates sshd's configuration.

use crate::{cli::outlook::Problem, context::Context};
use sshd_config::block::{BEGIN, END};
use warded_lib::{
    error::Result,
    machine::{bounded, path::AbsolutePath},
    text::{neutral, shell_word},
    transaction::{self, LostBlock},
};

/// What is no longer as the runs left it. Jobs are reported with the schedule.
///
/// # Errors
/// The journals cannot be read.
pub(super) fn look(context: &Context) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for step in transaction::settings_left(&context.state)? {
        let (name, Some(seen)) = (&step.change.name, &step.seen) else { continue };
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
