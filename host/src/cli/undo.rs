//! `warded undo`.

use super::{
    apply::recover,
    output::{Output, confirm},
    progress::Progress,
    report,
};
use crate::{
    broker::Identity,
    change_set::review,
    context::Context,
    enrolment::Enrolment,
    error::{Error, Exit, Result},
    machine::keys::holds_private_key,
    pipeline::{self, Work},
    policy::name::Name,
    text::count,
    transaction::{self, FileChange, Undo as Changes},
};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Undo {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Undo {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        context.may_change("undo")?;
        recover(context, output)?;
        let Some(undo) = transaction::undo_changes(&context.state, &context.root).map_err(Error::from)? else {
            output.line("There is nothing to undo.")?;
            output.object(&serde_json::json!({ "schema": "warded.undo/1", "run": null, "undoes": null }))?;
            return Ok(Exit::Done);
        };
        let undone = undo.run.clone();
        let shown = review::Review { files: undo.changes.iter().map(entry).collect(), reloads: undo.reloads.clone() };
        output.line(format!("Taking back {undone}"))?;
        report::review(output, &shown)?;
        if !self.yes && !confirm(&format!("Take {} back?", count(shown.files.len(), "file")))? {
            output.note("Nothing was changed.");
            return Err(Error::quiet(Exit::Failed));
        }
        let done = carry_out(context, undo, &Progress::new(output.json))?;
        output.line(format!("Undone: {} as before.", count(shown.files.len(), "file")))?;
        output.object(&serde_json::json!({ "schema": "warded.undo/1", "run": done.run, "undoes": undone.run, "files": shown.files }))?;
        Ok(Exit::Done)
    }
}

/// Takes a run back through the same stages as any other change. The enrolment goes with the run
/// that made it.
pub(super) fn carry_out(context: &Context, undo: Changes, progress: &Progress) -> Result<pipeline::Done> {
    let unreadable = |what: String| Error::failed("the journal names what this version does not know").cause(what);
    let policy: Name = undo.run.policy.parse().map_err(unreadable)?;
    let procedure: Name = undo.run.procedure.parse().map_err(unreadable)?;
    let run = transaction::next_run(&context.state)?;
    let policies = context.policies()?;
    let services = pipeline::services_of(&policies, &policy, &undo.reloads);
    let enrolled_by = policies
        .iter()
        .find(|granting| granting.policy.name == policy)
        .and_then(|granting| granting.policy.procedures.get(&procedure)?.renewal.clone());
    let identity = Identity { run: Some(run), policy: policy.clone(), component: undo.run.component, procedure };
    let done = pipeline::carry_out(context, &identity, Work::undoing(undo, services), None, progress)?;
    if let Some(renewal) = enrolled_by
        && Enrolment::load(&context.state)?
            .is_some_and(|enrolment| enrolment.policy == policy && enrolment.procedure == renewal)
    {
        Enrolment::remove(&context.state)?;
    }
    Ok(done)
}

fn entry(change: &FileChange) -> review::Entry {
    let before = change.before.as_ref().map(|before| before.contents.as_slice()).unwrap_or_default();
    let after = change.after.as_ref().map(|after| after.contents.as_slice()).unwrap_or_default();
    let action = match (&change.before, &change.after) {
        (_, None) => review::Action::Remove,
        (None, Some(_)) => review::Action::Add,
        (Some(_), Some(_)) => review::Action::Change,
    };
    let what = if holds_private_key(before) || holds_private_key(after) {
        "private key"
    } else if change.path.name().ends_with("-cert.pub") {
        "certificate"
    } else {
        ""
    };
    review::Entry {
        action,
        path: change.path.to_string(),
        what: what.to_owned(),
        diff: if what.is_empty() { review::lines(before, after) } else { Vec::new() },
        mode: None,
        grant: "undo".to_owned(),
    }
}
