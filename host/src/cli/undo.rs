//! `warded undo`.

use super::{
    completions,
    confirm::ConfirmWithin,
    output::{Output, confirm},
    plan,
    progress::Progress,
    recover, report,
    risk::AcceptRisk,
};
use crate::{
    broker::Identity,
    context::Context,
    enrolment::Enrolments,
    pipeline::{self, Forecast, Terms, Work},
};
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use std::{ops::RangeInclusive, time::Duration};
use warded_lib::{
    ca::{self, certificate},
    change_set::review,
    error::{Error, Exit, Result},
    guard::client::hosts::ProofMethod,
    machine::{path::AbsolutePath, private::StateLock},
    moment::distance,
    name::Name,
    text::count,
    transaction::{self, FileChange, Reload, Undo as Changes, UndoScope},
};

#[derive(Debug, Args)]
pub(super) struct Undo {
    /// The run's number in `warded history`; default: the newest that changed more than certificates' contents
    #[arg(value_name = "RUN", conflicts_with = "down_to", add = ArgValueCandidates::new(completions::runs))]
    number: Option<u64>,
    /// Undo this run and all since, in one step
    #[arg(long, value_name = "RUN", add = ArgValueCandidates::new(completions::runs))]
    down_to: Option<u64>,
    /// Show what would change, and change nothing
    #[arg(long, conflicts_with_all = ["yes", "confirm_within"])]
    plan: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    confirm: ConfirmWithin,
    #[command(flatten)]
    risk: AcceptRisk,
}

impl Undo {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        if self.plan {
            recover::report(context, output)?;
        } else {
            self.confirm.check(context, output)?;
            recover::first(context, output)?;
        }
        let which = match (self.number, self.down_to) {
            (_, Some(oldest)) => UndoScope::DownTo(oldest),
            (Some(number), None) => UndoScope::Only(number),
            (None, None) => UndoScope::Newest,
        };
        let Some(mut undo) = transaction::undo_changes(&context.state, &context.root, which)
            .map_err(|error| Error::from(error).or_unchanged())?
        else {
            output.line("There is nothing to undo.")?;
            output.object(&serde_json::json!({ "schema": "warded.undo/1", "run": null, "undoes": null }))?;
            return Ok(Exit::Done);
        };
        undo.look_at_states(context.runner.as_ref()).map_err(Error::or_unchanged)?;
        if !(self.plan || undo.is_of_known_hosts()) {
            context.may_change("undo")?;
        }
        let own = sshd_of(context, &undo);
        let others: Vec<&str> =
            undo.sshds.iter().filter(|sshd| **sshd != context.places.sshd_config).map(AbsolutePath::as_str).collect();
        if !others.is_empty() {
            output.line(format!("sshd of {}:", others.join(", ")))?;
        }
        let context = own.as_ref().unwrap_or(context);
        let (runs, earlier, expired) = (undo.runs(), undo.earlier, ExpiredCertificate::among(&undo));
        let refused = expired.into_iter().find(|_| !may_restore_expired(&undo));
        let shown = review::Review {
            files: undo.changes.iter().map(entry).collect(),
            programs: undo.steps.iter().map(review::ProgramRun::of).collect(),
            reloads: undo.reloads.iter().map(reloading).collect(),
        };
        output.line(title(&undo))?;
        report::review(output, &shown)?;
        for path in &undo.as_before {
            output.line(format!("= {path}   as before already"))?;
        }
        tell_expired(output, &undo)?;
        for name in &undo.irreversible {
            output.line(format!("! {name} stays: nothing undoes it"))?;
        }
        let as_before: Vec<String> = undo.as_before.iter().map(ToString::to_string).collect();
        let terms = self.risk.terms(&self.confirm);
        let explained = |error: Error| match &refused {
            Some(expired) if error.exit() == Exit::Refused => expired.explain(&runs, &error),
            _ => error,
        };
        if self.plan {
            let forecast = foresee(context, undo, terms).map_err(|error| way_on(explained(error), earlier))?;
            report::unproved(output, &forecast.not_proved)?;
            output.line("Nothing has been changed.")?;
            output.object(&serde_json::json!({
                "schema": "warded.undo/1", "run": null, "undoes": runs.end(), "down_to": runs.start(),
                "files": shown.files, "programs": shown.programs, "as_before": as_before,
                "not_proved": forecast.not_proved,
            }))?;
            return Ok(Exit::Pending);
        }
        let question = match shown.files.len() {
            0 if !shown.programs.is_empty() => format!("Run {}?", count(shown.programs.len(), "program")),
            0 => "No file has to change. Count the run as undone?".to_owned(),
            files => format!("Undo the changes to {}?", count(files, "file")),
        };
        if !self.yes && !confirm(&question)? {
            return Err(output.declined());
        }
        let done = carry_out(context, undo, terms, &Progress::new(output))
            .map_err(|error| way_on(explained(error), earlier))?;
        // The change is made, whether or not its report can be printed.
        drop(output.line(format!("Undone: {} as before.", count(shown.files.len() + as_before.len(), "file"))));
        done.not_proved_lines().chain(done.confirm_lines()).for_each(|line| drop(output.line(line)));
        drop(output.object(&serde_json::json!({
            "schema": "warded.undo/1", "run": done.run, "undoes": runs.end(), "down_to": runs.start(), "files": shown.files,
            "programs": shown.programs, "as_before": as_before,
            "left_alone": done.left_alone.iter().map(report::LeftObject::from).collect::<Vec<_>>(),
            "confirm_until": done.confirm.as_ref().map(|confirm| confirm.until),
            "not_proved": done.not_proved(), "unknown_listener": done.unknown_listener(),
            "not_seen_live": done.not_seen_live(),
            "proved_by": done.proved_by().map(ProofMethod::as_str), "needed_ssh": done.needed_ssh(),
        })));
        done.ways_of_proof().iter().for_each(|way| output.detail(way));
        done.told_beside().iter().for_each(|line| drop(output.line(line)));
        done.not_seen_live().iter().for_each(|why| drop(output.line(format!("Not seen live: {why}."))));
        Ok(done.exit())
    }
}

/// How a reload of an undone run is shown.
pub(super) fn reloading(reload: &Reload) -> review::ServiceChange {
    if reload.is_schedule() {
        review::ServiceChange::schedule(&reload.schedule)
    } else {
        review::ServiceChange::of(reload.operation, &reload.name, &reload.service)
    }
}

/// The context for the sshd that the newest of these runs was for, whichever sshd the command is about.
pub(super) fn sshd_of(context: &Context, undo: &Changes) -> Option<Context> {
    undo.sshds.iter().find(|sshd| sshd.as_path().exists()).map(|sshd| context.for_sshd(sshd))
}

fn title(undo: &Changes) -> String {
    match &undo.newest {
        None => format!("Undoing {}", undo.run),
        Some(_) if undo.is_one_step => {
            format!("Undoing {}, and {} since", undo.run, count(undo.count - 1, "renewal"))
        }
        Some(newest) => format!("Undoing {newest} and all before it, down to {}", undo.run),
    }
}

/// A certificate that an undo would restore and no client would accept.
struct ExpiredCertificate {
    path: String,
    ago: Duration,
}

impl ExpiredCertificate {
    fn among(undo: &Changes) -> Vec<Self> {
        let expired = undo.changes.iter().filter_map(|change| {
            let certificate = certificate::parse(&change.after.as_ref()?.contents).ok()?;
            let ago = ca::now().checked_sub(certificate.valid_before())?;
            Some(Self { path: change.path.to_string(), ago: Duration::from_secs(ago) })
        });
        expired.collect()
    }

    /// Rewords the refusal of the guard for an undo.
    fn explain(&self, runs: &RangeInclusive<u64>, refusal: &Error) -> Error {
        let Self { path, ago } = self;
        let why = format!("undoing run {} would bring back {path}, which expired {} ago", runs.start(), distance(*ago));
        Error::refused(why).cause(refusal.message()).unchanged()
    }
}

/// Whether expired certificates may be restored. They may if the machine had them before all runs, or if another CA
/// signed them: that is the purpose of an undo. Those of a state in between would only take away what clients have now,
/// or would have after a longer undo.
fn may_restore_expired(undo: &Changes) -> bool {
    let has_same_signer = |change: &FileChange| {
        let signer = |contents: &[u8]| Some(certificate::parse(contents).ok()?.signer().key_data().clone());
        let now = change.before.as_ref().and_then(|before| signer(&before.contents));
        now.is_some() && now == change.after.as_ref().and_then(|after| signer(&after.contents))
    };
    undo.earlier.is_none() || !undo.changes.iter().any(has_same_signer)
}

fn work_of(undo: Changes, terms: Terms) -> Work {
    let restores_expired = may_restore_expired(&undo);
    let mut work = Work::undoing(undo, terms);
    work.restores_expired = restores_expired;
    work
}

/// Says which certificates are restored although they have expired.
pub(super) fn tell_expired(output: Output, undo: &Changes) -> Result<()> {
    ExpiredCertificate::among(undo).iter().try_for_each(|ExpiredCertificate { path, ago }| {
        output.line(format!("! {path} comes back as it was; it expired {} ago", distance(*ago)))
    })
}

/// What an operator can do about a state that the guard refuses to restore.
fn way_on(error: Error, earlier: Option<u64>) -> Error {
    match earlier.filter(|_| error.exit() == Exit::Refused) {
        None => error.or_next("correct the cause, then run this again"),
        Some(run) => error.next(format!(
            "to go back to the state before run {run}, without restoring this one in between: warded undo --down-to {run}"
        )),
    }
}

/// Checks that the undo would not be refused, as far as this user can.
pub(super) fn foresee(context: &Context, undo: Changes, terms: Terms) -> Result<Forecast> {
    plan::foresee(context, &work_of(undo, terms))
}

/// Undoes a run through the same stages as any other change. For the sshds that the run was for, the enrolment becomes
/// what it was before that run.
pub(super) fn carry_out(
    context: &Context,
    undo: Changes,
    terms: Terms,
    progress: &Progress,
) -> Result<pipeline::RunReport> {
    let (identity, work, _nobody_else_enrols) = prepared(context, undo, terms).map_err(Error::or_unchanged)?;
    pipeline::carry_out(context, &identity, work, progress)
}

/// Prepares the run that undoes another one. The lock keeps others from changing the enrolments until it has ended.
fn prepared(context: &Context, undo: Changes, terms: Terms) -> Result<(Identity, Work, StateLock)> {
    let unreadable = |what: String| Error::failed("the journal has a name that this version cannot read").cause(what);
    let policy: Name = undo.run.policy.parse().map_err(unreadable)?;
    let procedure: Name = undo.run.procedure.parse().map_err(unreadable)?;
    let (run, undone, sshds) = (transaction::next_run(&context.state)?, undo.run.run, undo.sshds.clone());
    let identity = Identity { run: Some(run), policy, component: undo.run.component, procedure };
    let mut work = work_of(undo, terms);
    let nobody_else_enrols = Enrolments::lock(&context.state)?;
    let enrolments = Enrolments::load(&context.state)?;
    let sshds = if sshds.is_empty() { vec![context.places.sshd_config.clone()] } else { sshds };
    let before = enrolments.clone().before(undone, &sshds);
    if before != enrolments {
        work.own = Some(before.with_run()?);
    }
    Ok((identity, work, nobody_else_enrols))
}

pub(super) fn entry(change: &FileChange) -> review::Entry {
    let before = change.before.as_ref().map(|before| before.contents.as_slice());
    let after = change.after.as_ref().map(|after| after.contents.as_slice());
    review::Entry::new(change.path.as_str(), before, after, "undo")
}
