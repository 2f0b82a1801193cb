//! `warded remove`.

mod own;
mod unrecorded;

use super::{
    confirm::ConfirmWithin,
    logout::{Logout, LogoutObject},
    output::{Output, can_ask, confirm},
    progress::Progress,
    recover, report,
    risk::AcceptRisk,
    undo::{carry_out, entry, foresee, reloading, sshd_of, tell_expired},
};
use crate::{
    context::Context,
    enrolment::Enrolments,
    pipeline::{Forecast, RunReport},
    public_status::PublicStatus,
};
use clap::Args;
use std::path::Path;
use warded_lib::{
    change_set::review::{ProgramRun, Review},
    error::{Error, Exit, Result},
    text::{count, neutral},
    transaction::{self, Edits, Undo, UndoError, UndoScope},
};

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Show what would change, and change nothing
    #[arg(long, conflicts_with_all = ["yes", "discard_edits", "confirm_within"])]
    plan: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    /// Discard later edits of the files that Warded removes or restores
    #[arg(long)]
    discard_edits: bool,
    #[command(flatten)]
    confirm: ConfirmWithin,
    #[command(flatten)]
    risk: AcceptRisk,
}

/// The state once only the policies' own procedures have run.
const ONLY_THEIRS: &str = "the policies' own lines are out";

/// The error for a failure before or during undoing the runs.
fn told(error: Error, by_policies: bool) -> Error {
    if by_policies { error.after(ONLY_THEIRS) } else { error.or_unchanged() }
}

/// The end of the command if a question was answered with no.
fn stopped(output: Output, by_policies: bool) -> Error {
    if !by_policies {
        return output.declined();
    }
    output.note(format!("Stopped: {ONLY_THEIRS}; nothing else was changed."));
    Error::quiet(Exit::Failed)
}

impl Remove {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        if !self.plan {
            self.confirm.check(context, output)?;
            recover::first(context, output)?;
        }
        let of_policies = self.by_policies(context, output)?;
        let by_policies = of_policies.is_some();
        if by_policies && self.plan {
            output.line(
                "Then the other changes would be undone. If somebody edited those, too, `warded remove` shows that and \
                 asks. Nothing has been changed.",
            )?;
            output.object(&serde_json::json!({ "schema": "warded.remove/1", "run": null, "by_policies": true }))?;
            return Ok(Exit::Pending);
        }
        self.undo_runs(context, output, of_policies).map_err(|error| told(error, by_policies))
    }

    /// Undoes what the runs changed, after the policies' own procedures if these were needed.
    fn undo_runs(&self, context: &Context, output: Output, of_policies: Option<Exit>) -> Result<Exit> {
        let by_policies = of_policies.is_some();
        let Some(mut undo) = self.found(context, output, by_policies)? else {
            return self.nothing(context, output);
        };
        undo.look_at_states(context.runner.as_ref())?;
        if !(self.plan || undo.is_of_known_hosts()) {
            context.may_change("remove")?;
        }
        // An sshd may be enrolled although no run was for it.
        undo.sshds.extend(Enrolments::load(&context.state)?.iter().map(|enrolled| enrolled.sshd_config.clone()));
        let own = sshd_of(context, &undo);
        let context = own.as_ref().unwrap_or(context);
        let shown = show(output, &undo)?;
        if self.plan {
            let mut told = object(&undo, &shown);
            let Forecast { not_proved, .. } = foresee(context, undo, self.risk.terms(&self.confirm))
                .map_err(|error| error.or_next("correct the cause, then run this again"))?;
            report::unproved(output, &not_proved)?;
            add(&mut told, "not_proved", not_proved.into());
            let is_undone = |path: &Path| shown.files.iter().any(|file| Path::new(&file.path) == path);
            add(&mut told, "unrecorded", report::value(&unrecorded::tell(context, output, is_undone)?)?);
            output.line("Nothing has been changed.")?;
            output.object(&told)?;
            return Ok(Exit::Pending);
        }
        let question = match shown.files.len() {
            0 if !shown.programs.is_empty() => {
                format!("Run {}, and stop renewing?", count(shown.programs.len(), "program"))
            }
            0 => "No file has to change. Count every run as undone, and stop renewing?".to_owned(),
            files => format!("Undo the changes to {}, and stop renewing?", count(files, "file")),
        };
        if !self.yes && !confirm(&question)? {
            return Err(stopped(output, by_policies));
        }
        let mut told = object(&undo, &shown);
        let keys = undo.keys_left.clone();
        let done = carry_out(context, undo, self.risk.terms(&self.confirm), &Progress::new(output))
            .map_err(|error| error.or_next("correct the cause, then run this again"))?;
        if done.confirm.is_none() {
            PublicStatus::remove(context.state.path());
        }
        // The change is made, whether or not its report can be printed.
        drop(output.line(format!("Removed: {} as before Warded.", count(shown.files.len(), "file"))));
        if !keys.is_empty() {
            let keys: Vec<String> = keys.iter().map(|path| neutral(path.as_str())).collect();
            drop(output.line(format!("Left as they are, since clients know them: {}.", keys.join(", "))));
        }
        done.not_proved_lines().chain(done.confirm_lines()).for_each(|line| drop(output.line(line)));
        done.told_beside().iter().for_each(|line| drop(output.line(line)));
        // A change that waits to be confirmed may be rolled back, which would not restore a login.
        let logout = done.confirm.is_none().then(|| log_out(context, output));
        let unrecorded = unrecorded::tell(context, output, |_| false).unwrap_or_default();
        add(&mut told, "unrecorded", report::value(&unrecorded).unwrap_or_default());
        remains(context, output);
        drop(output.object(&finished(told, &done, logout.as_ref())));
        done.not_seen_live().iter().for_each(|why| drop(output.line(format!("Not seen live: {why}."))));
        let is_degraded =
            of_policies == Some(Exit::Degraded) || !unrecorded.is_empty() || matches!(logout, Some(Err(_)));
        let is_degraded = is_degraded && done.exit() == Exit::Done;
        Ok(if is_degraded { Exit::Degraded } else { done.exit() })
    }

    /// The end of the command if no run has left a change.
    fn nothing(&self, context: &Context, output: Output) -> Result<Exit> {
        let is_enrolled = Enrolments::load(&context.state)?.iter().next().is_some();
        let unrecorded = unrecorded::tell(context, output, |_| false)?;
        if unrecorded.is_empty() {
            output.line("Warded has changed no file here, or every change was undone.")?;
        }
        if is_enrolled {
            output.line("This machine is still enrolled: `warded renew` continues to renew its certificates.")?;
        }
        let logout = (!self.plan).then(|| log_out(context, output));
        let object = serde_json::json!({
            "schema": "warded.remove/1", "run": null, "undoes": null, "logout": logout_object(logout.as_ref()),
            "unrecorded": unrecorded,
        });
        output.object(&object)?;
        let is_degraded = is_enrolled || !unrecorded.is_empty() || matches!(logout, Some(Err(_)));
        Ok(if is_degraded { Exit::Degraded } else { Exit::Done })
    }

    /// What there is to undo. Edits that would be lost are shown, and the user is asked about them.
    fn found(&self, context: &Context, output: Output, by_policies: bool) -> Result<Option<Undo>> {
        let look = |edits| transaction::undo_changes(&context.state, &context.root, UndoScope::All(edits));
        if self.discard_edits {
            return Ok(look(Edits::Discard)?);
        }
        match look(Edits::Refuse) {
            Err(UndoError::Edited { edited, .. }) => {
                let what = format!("{} changed since the last run", count(edited.len(), "file"));
                let diffs: Vec<&str> = edited.iter().map(|edited| edited.diff.as_str()).collect();
                if self.yes || self.plan || !can_ask() {
                    return Err(Error::refused(what)
                        .seen(diffs.join("\n"))
                        .unchanged()
                        .next("to discard these edits: warded remove --discard-edits"));
                }
                output.line(format!("{what}:"))?;
                diffs.iter().try_for_each(|diff| output.line(diff))?;
                if !confirm("Discard these edits?")? {
                    return Err(stopped(output, by_policies));
                }
                Ok(look(Edits::Discard)?)
            }
            found => Ok(found?),
        }
    }
}

fn show(output: Output, undo: &Undo) -> Result<Review> {
    let shown = Review {
        files: undo.changes.iter().map(entry).collect(),
        programs: undo.steps.iter().map(ProgramRun::of).collect(),
        reloads: undo.reloads.iter().map(reloading).collect(),
    };
    output.line(match &undo.newest {
        Some(newest) => format!("Undoing {newest} and all before it, down to {}", undo.run),
        None => format!("Undoing {}", undo.run),
    })?;
    report::review(output, &shown)?;
    undo.as_before.iter().try_for_each(|path| output.line(format!("= {path}   as before already")))?;
    tell_expired(output, undo)?;
    undo.irreversible.iter().try_for_each(|name| output.line(format!("! {name} stays: nothing undoes it")))?;
    undo.keys_left.iter().try_for_each(|path| output.line(format!("= {path}   stays: clients know this key")))?;
    Ok(shown)
}

fn object(undo: &Undo, shown: &Review) -> serde_json::Value {
    let paths =
        |all: &[warded_lib::machine::path::AbsolutePath]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    serde_json::json!({
        "schema": "warded.remove/1", "run": null, "undoes": undo.runs().end(), "down_to": undo.runs().start(),
        "files": shown.files, "programs": shown.programs, "as_before": paths(&undo.as_before), "keys_left": paths(&undo.keys_left),
    })
}

/// Removes this user's logins from their agent and files.
fn log_out(context: &Context, output: Output) -> Result<LogoutObject> {
    let ended = Logout::of_caller().carry_out(context, output);
    if let Err(why) = &ended {
        let why = why.message();
        drop(
            output.line(format!("Certificates of your logins may still be in your agent: {why}. next: warded logout")),
        );
    }
    ended
}

fn logout_object(logout: Option<&Result<LogoutObject>>) -> serde_json::Value {
    match logout {
        None => serde_json::Value::Null,
        Some(Ok(object)) => {
            serde_json::json!({ "identities": object.identities, "files": object.files, "cause": null })
        }
        Some(Err(why)) => serde_json::json!({ "identities": null, "files": null, "cause": why.message() }),
    }
}

fn add(object: &mut serde_json::Value, name: &str, value: serde_json::Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

fn finished(
    mut object: serde_json::Value,
    done: &RunReport,
    logout: Option<&Result<LogoutObject>>,
) -> serde_json::Value {
    let until = done.confirm.as_ref().map(|confirm| confirm.until.to_string());
    add(&mut object, "run", done.run.into());
    add(&mut object, "confirm_until", until.into());
    add(&mut object, "not_proved", done.not_proved().to_vec().into());
    add(&mut object, "not_seen_live", done.not_seen_live().into());
    add(&mut object, "logout", logout_object(logout));
    object
}

/// Lists what did not come from a run and therefore stays: a person decides about it.
fn remains(context: &Context, output: Output) {
    drop(output.line(format!(
        "The log of what Warded did stays in {}: delete that directory when you no longer need it.",
        context.state.path().display()
    )));
    drop(output.line("Other users remove the certificates of their own logins with `warded logout`."));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_policies_took_out_is_told() {
        for (state, by_policies, expected) in [
            (None, false, "nothing was changed"),
            (None, true, "the policies' own lines are out; nothing else was changed"),
            (Some("nothing was changed"), true, "the policies' own lines are out; nothing else was changed"),
            (Some("nothing was changed"), false, "nothing was changed"),
            (Some("as before (2 files)"), true, "the policies' own lines are out; then: as before (2 files)"),
        ] {
            let error = Error::refused("no");
            let error = state.into_iter().fold(error, Error::state);
            assert_eq!(told(error, by_policies).to_string(), format!("refused: no\nstate: {expected}"));
        }
    }
}
