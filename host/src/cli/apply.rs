//! `warded plan` and `warded apply`.

use super::{
    completions,
    confirm::ConfirmWithin,
    identification::Identification,
    next_steps,
    output::{Output, can_ask, confirm},
    progress::Progress,
    record::NewRecording,
    recover,
    report::{self, DoneObject},
    risk::AcceptRisk,
    settings_file::{self, SettingsFile},
    trust::StagedFile,
};
use crate::{
    broker::{Identity, recording::Tape, session::Message},
    components,
    context::Context,
    enrolment::{Enrolment, Enrolments},
    pipeline::{
        self, PlannedRun, Request, RunReport, Work, certify,
        overtaken::PlanInputs,
        rotation,
        serve::{self, PendingReload},
        vouch::HostKeyRecords,
    },
    sandbox::granting::BoundPolicy,
};
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use std::{collections::BTreeSet, path::PathBuf};
use warded_lib::{
    audit::{Ending, Kind},
    change_set::review::{Review, ServiceChange},
    error::{Error, Exit, Result},
    machine::service::ServiceOperation,
    name::Name,
    policy::{file::Procedure, setting::Setting},
    text::{count, shell_word},
    transaction,
};

#[derive(Debug, Args)]
pub(super) struct Apply {
    #[command(flatten)]
    pub(super) procedure: ProcedureArgs,
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) confirm: ConfirmWithin,
    #[command(flatten)]
    pub(super) risk: AcceptRisk,
    #[command(flatten)]
    pub(super) identification: Identification,
}

/// Which procedure, with which settings.
#[derive(Debug, Args)]
pub(super) struct ProcedureArgs {
    /// The procedure (`warded policy list` shows them)
    #[arg(add = ArgValueCandidates::new(completions::procedures))]
    pub(super) procedure: Name,
    /// A setting; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_setting,
          add = ArgValueCandidates::new(completions::settings))]
    pub(super) set: Vec<Setting>,
    /// A file with settings as a JSON object, {"NAME": VALUE or list of values, ...}; `-` reads standard input
    #[arg(long, value_name = "FILE", value_parser = settings_file::read)]
    pub(super) settings_file: Option<SettingsFile>,
    /// The policy, if more than one has the procedure
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(completions::policies))]
    pub(super) policy: Option<Name>,
    /// Treat every certificate as due and request new ones; skips no check
    #[arg(long)]
    pub(super) force: bool,
    /// Record the procedure's calls and their results in a new file, for `warded policy replay`
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
}

pub(super) fn parse_setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok(Setting { name: name.parse()?, value: value.to_owned() })
}

/// The terms that this machine would be enrolled with, if they are new; if they are the same, the old record stays. An
/// enrolment is a change like any other.
pub(super) fn new_terms(context: &Context, planned: &PlannedRun<'_>) -> Result<Option<Enrolment>> {
    let enrolments = Enrolments::load(&context.state)?;
    let known = enrolments.of(&context.places.sshd_config);
    Ok(planned.enrolment().filter(|enrolment| !known.is_some_and(|known| known.same_as(enrolment))))
}

/// What a machine's first run does in addition to the procedure.
pub(super) struct FirstDay<'a> {
    /// The files by which the machine trusts its CA.
    pub(super) files: Vec<StagedFile>,
    /// Rewords an error from before the CA was asked, for a person who has a code.
    pub(super) told: &'a dyn Fn(Error) -> Error,
}

impl Apply {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        self.carry_out(context, output, None)
    }

    /// Runs the procedure, together with the first day's changes if any: one plan, one question, one run.
    pub(super) fn carry_out(
        &self,
        context: &Context,
        output: Output,
        first_day: Option<&FirstDay<'_>>,
    ) -> Result<Exit> {
        if self.procedure.settings_file.as_ref().is_some_and(|file| file.is_stdin) && self.identification.reads_stdin()
        {
            return Err(Error::usage("standard input can hold the settings or a secret, but not both")
                .unchanged()
                .next("write the settings into a file, and name it with --settings-file"));
        }
        let files = first_day.map_or(&[][..], |first_day| &first_day.files);
        let procedure = &self.procedure.procedure;
        let policies = context.policies()?;
        if self.procedure.concerns_sshd(context, &policies)? {
            context.may_change(&format!("apply {procedure}"))?;
        }
        self.confirm.check(context, output)?;
        recover::first(context, output)?;
        // Without a yes nothing can change, and a run number would be used up for nothing.
        let run = (self.yes || can_ask()).then(|| transaction::next_run(&context.state)).transpose()?;
        let mut planned = self.procedure.plan(context, &policies, output, run)?;
        // Records the certificates beside the keys: a key that had one is not certified on another key's word.
        drop(HostKeyRecords::look(context, &mut planned.session));
        let mut review = planned.review();
        let unserved = serve::unserved(context, &planned)?;
        if !unserved.is_empty() {
            review.reloads = unserved.reviewed();
        }
        review.files.splice(..0, files.iter().map(StagedFile::entry));
        report::header(output, context, &planned)?;
        report::review(output, &review)?;
        report::messages(output, &planned.session.messages)?;
        let new_signers = planned.new_signers(context);
        report::new_signers(output, &new_signers)?;
        let enrolment = new_terms(context, &planned)?;
        report::enrolment(output, enrolment.as_ref())?;
        report::unseen(output, &unserved)?;
        if !unserved.is_empty() && files.is_empty() {
            return self.reload_only(context, output, planned, &unserved);
        }
        let messages = planned.session.messages.clone();
        let identity = planned.identity.clone();
        let changes = planned.session.changes.staged().len() + planned.session.changes.steps().len() + files.len();
        if changes == 0 {
            let exit = self.enrol_only(context, output, &identity, enrolment, &messages)?;
            return Ok(if unserved.is_spared() { Exit::Degraded } else { exit });
        }
        let mut work = Work::of(planned, self.risk.terms(&self.confirm));
        work.refuse_unaccepted().map_err(Error::or_unchanged)?;
        if !new_signers.is_empty() && !work.terms.new_ca_key {
            return Err(rotation::refusal(&new_signers));
        }
        if let Some(first_day) = first_day {
            // This comes before the question: nothing is used up, and nobody is asked about a code that cannot be used.
            certify::ready(context, &mut work).map_err(first_day.told)?;
        }
        let question = format!("Apply {}{}?", count(changes, "change"), reloading(&review.reloads));
        if !self.yes && !confirm(&question)? {
            return Err(output.declined());
        }
        work.shows_rest = self.procedure.plan_line();
        PlanInputs::of(&work).refuse_overtaken(context).map_err(Error::or_unchanged)?;
        if first_day.is_none() && !self.procedure.force && !self.identification.is_given() {
            certify::renew_where_possible(context, &mut work)?;
        }
        certify::ready(context, &mut work)?;
        work.trust =
            files.iter().map(|file| file.change(context)).collect::<Result<_>>().map_err(Error::or_unchanged)?;
        let progress = Progress::new(output);
        let _nobody_else_enrols = enrolment.as_ref().map(|_| Enrolments::lock(&context.state)).transpose()?;
        let with = |enrolment| Enrolments::load(&context.state)?.with(enrolment).with_run();
        work.own = enrolment.map(with).transpose()?;
        let done = pipeline::carry_out(context, &identity, work, &progress)?;
        drop(progress);
        // The change is made, whether or not its report can be printed.
        let schema = first_day.map_or("warded.apply/1", |_| "warded.enrol/1");
        drop(
            done.lines()
                .iter()
                .try_for_each(|line| output.line(line))
                .and_then(|()| next_steps::say(context, output, &done)),
        );
        drop(self.report(output, schema, (&review, &messages), &done));
        Ok(done.exit())
    }

    /// What remains to do if no file changes: the terms of the renewal, if they are new.
    fn enrol_only(
        &self,
        context: &Context,
        output: Output,
        identity: &Identity,
        enrolment: Option<Enrolment>,
        messages: &[Message],
    ) -> Result<Exit> {
        if let Some(enrolment) = enrolment {
            if !self.yes && !confirm("Enrol this machine on these terms?")? {
                return Err(output.declined());
            }
            let event = |kind| identity.event(kind).capability("enrolment").need(&enrolment.to_string());
            context.log.append_synced(&event(Kind::Intent))?;
            let _nobody_else_enrols = Enrolments::lock(&context.state)?;
            Enrolments::load(&context.state)?.with(enrolment.clone()).save(&context.state)?;
            context.log.conclude(&event(Kind::Result), Ending::Kept, "enrolled for renewal, no file changed")?;
            drop(output.line("Enrolled. No file had to change."));
        } else {
            output.line("Nothing to do.")?;
        }
        output.object(&DoneObject::nothing("warded.apply/1", self.procedure.procedure.as_str(), messages))?;
        Ok(Exit::Done)
    }

    /// What remains to do if no file changes, but sshd serves something else than what is on disk.
    fn reload_only(
        &self,
        context: &Context,
        output: Output,
        planned: PlannedRun<'_>,
        unserved: &PendingReload,
    ) -> Result<Exit> {
        report::unserved(output, unserved)?;
        if !self.yes && !confirm(&format!("Reload {}?", unserved.services().join(", ")))? {
            return Err(output.declined());
        }
        let object = report::reloaded(context, output, "warded.apply/1", planned, unserved)?;
        // The change is made, whether or not its report can be printed.
        drop(output.object(&object));
        Ok(Exit::Done)
    }

    fn report(
        &self,
        output: Output,
        schema: &'static str,
        (review, messages): (&Review, &[Message]),
        done: &RunReport,
    ) -> Result<()> {
        if done.confirm.is_none() {
            output.line(format!("Undo it with: warded undo  (run {})", done.run))?;
        }
        let procedure = self.procedure.procedure.as_str();
        output.object(&DoneObject::new(schema, procedure, review, messages, done))
    }
}

impl ProcedureArgs {
    /// A procedure by its name, without settings.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        Ok(Self {
            procedure: name.parse()?,
            set: Vec::new(),
            settings_file: None,
            policy: None,
            force: false,
            record: None,
        })
    }

    /// The settings from the command line and from the file.
    fn settings(&self) -> Vec<Setting> {
        let file = self.settings_file.iter().flat_map(|file| &file.settings);
        self.set.iter().chain(file).cloned().collect()
    }

    /// The command line that plans this procedure.
    fn plan_line(&self) -> String {
        let policy = self.policy.iter().map(|policy| format!(" --policy {policy}"));
        let settings = self.settings();
        let set = settings.iter().map(|set| format!(" --set {}", shell_word(&format!("{}={}", set.name, set.value))));
        format!("warded plan {}{}", self.procedure, policy.chain(set).collect::<String>())
    }

    /// Whether the procedure may concern sshd.
    fn concerns_sshd(&self, context: &Context, policies: &[BoundPolicy]) -> Result<bool> {
        let granting = components::choose(policies, self.procedure.as_str(), self.policy.as_ref(), context)?;
        Ok(granting.policy.procedures.get(&self.procedure).is_none_or(Procedure::concerns_sshd))
    }

    /// Runs the procedure. If the operator's acceptance at the enrolment covers it, the earlier answers apply: the
    /// confirmed names if it is the renewal or takes no names, and the settings if it is the renewal and none are given
    /// now.
    pub(super) fn plan<'a>(
        &self,
        context: &Context,
        policies: &'a [BoundPolicy],
        output: Output,
        run: Option<u64>,
    ) -> Result<PlannedRun<'a>> {
        let granting = components::choose(policies, self.procedure.as_str(), self.policy.as_ref(), context)?;
        let mut settings = self.settings();
        let (mut confirmed, mut accepted) = (BTreeSet::new(), None);
        let enrolments = Enrolments::load(&context.state)?;
        if let Some(enrolment) = enrolments.of(&context.places.sshd_config)
            && enrolment.policy == granting.policy.name
            && enrolment.standing(granting, &self.procedure).is_covered()
        {
            accepted = Some(enrolment.component).filter(|accepted| *accepted != granting.digest);
            let is_renewal = enrolment.procedure == self.procedure;
            if settings.is_empty() && is_renewal {
                settings.clone_from(&enrolment.settings);
            }
            if is_renewal || !granting.policy.procedures.get(&self.procedure).is_some_and(Procedure::takes_names) {
                confirmed = enrolments.principals();
            }
        }
        let progress = Progress::new(output);
        let recording = self.record.as_deref().map(NewRecording::at).transpose()?;
        progress.say("running the procedure");
        let given = settings.clone();
        let planned = pipeline::plan(
            context,
            Request {
                granting,
                procedure: self.procedure.clone(),
                settings,
                confirmed,
                force: self.force,
                renewed: BTreeSet::new(),
                run,
                accepted,
                tape: recording.as_ref().map_or(Tape::Off, NewRecording::tape),
            },
        );
        if let Some(recording) = recording {
            recording.write(granting, (&self.procedure, given), planned.as_ref().err(), output)?;
        }
        planned
    }
}

fn reloading(reloads: &[ServiceChange]) -> String {
    let of = |wanted: ServiceOperation| {
        let named = reloads.iter().map(ServiceChange::named).filter(|(operation, _)| *operation == wanted);
        let names: Vec<&str> = named.map(|(_, name)| name).collect();
        if names.is_empty() { String::new() } else { format!(" and {wanted} {}", names.join(", ")) }
    };
    of(ServiceOperation::Reload) + &of(ServiceOperation::Restart)
}
