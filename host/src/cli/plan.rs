//! `warded plan`, and `--plan` of the command for a machine's first day.

use super::{
    apply::{ProcedureArgs, new_terms},
    output::Output,
    recover,
    report::{self, PlanObject},
    trust::StagedFile,
};
use crate::{
    context::Context,
    pipeline::{self, Terms, Work, known_hosts, prove::Forecast, serve},
};
use clap::Args;
use warded_lib::{
    config::is_root,
    error::{Exit, Result},
    guard::Risks,
    machine::sshd,
    text::count,
};

#[derive(Debug, Args)]
pub(super) struct Plan {
    #[command(flatten)]
    pub(super) procedure: ProcedureArgs,
}

impl Plan {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        self.with_files(context, output, &[])
    }

    /// The same for a run that also changes these files.
    pub(super) fn with_files(&self, context: &Context, output: Output, files: &[StagedFile]) -> Result<Exit> {
        recover::report(context, output)?;
        let policies = context.policies()?;
        let planned = self.procedure.plan(context, &policies, output, None)?;
        let mut review = planned.review();
        let enrolment = new_terms(context, &planned)?;
        let unserved = serve::unserved(context, &planned)?;
        if !unserved.is_empty() {
            review.reloads = unserved.reviewed();
        }
        review.files.splice(..0, files.iter().map(StagedFile::entry));
        report::header(output, context, &planned)?;
        report::review(output, &review)?;
        report::messages(output, &planned.session.messages)?;
        let changes = planned.new_signers(context);
        report::new_signers(output, &changes)?;
        report::unseen(output, &unserved)?;
        report::unserved(output, &unserved)?;
        report::enrolment(output, enrolment.as_ref())?;
        let would = [
            (!review.files.is_empty()).then(|| format!("change {}", count(review.files.len(), "file"))),
            (!review.programs.is_empty()).then(|| format!("run {}", count(review.programs.len(), "program"))),
            (!unserved.is_empty()).then(|| format!("reload {}", unserved.services().join(", "))),
            enrolment.as_ref().map(|_| "enrol this machine for renewal".to_owned()),
        ];
        let would: Vec<String> = would.into_iter().flatten().collect();
        if would.is_empty() {
            output.line("Nothing to do.")?;
        } else {
            let procedure = &planned.identity.procedure;
            output.line(format!("{procedure} would {}. Nothing has been changed.", would.join(", and ")))?;
        }
        let object = PlanObject::new(&planned, &review, enrolment.as_ref(), !would.is_empty()).with(&changes);
        let mut object = report::value(&object)?;
        if !planned.session.changes.is_empty() {
            // These risks count as accepted here: `apply` refuses without them, and names the risk to accept.
            let logins = Risks { root: true, ..Risks::default() };
            let terms = Terms { replace_host_keys: true, any_host: true, logins, ..Terms::default() };
            let work = Work::of(planned, terms);
            let any_host = known_hosts::is_wide(&work)?;
            let Forecast { not_proved, effects, users, loses_pins } = foresee(context, &work)?;
            effects.iter().try_for_each(|effect| output.line(format!("Effect: {effect}.")))?;
            pipeline::users(&users, "would let", "Found out: ").iter().try_for_each(|line| output.line(line))?;
            report::unproved(output, &not_proved)?;
            let risks = [(users.admits_root, ROOT), (loses_pins, PINS), (any_host, ANY_HOST)];
            for (_, line) in risks.iter().filter(|(would, _)| *would) {
                output.line(line)?;
            }
            if let Some(object) = object.as_object_mut() {
                object.insert("not_proved".to_owned(), not_proved.into());
            }
        }
        output.object(&object)?;
        Ok(if would.is_empty() { Exit::Done } else { Exit::Pending })
    }
}

/// What a plan says of clients that would be refused.
const PINS: &str = "Clients that know only this host key would be refused: `apply` refuses that without \
                    --accept-risk=replace-host-keys.";
/// What a plan says of a pattern that covers more than one domain.
const ANY_HOST: &str = "The CA would be trusted for hosts of more than one domain: `apply` refuses that without \
                        --accept-risk=any-host.";
/// What a plan says of root, who could log in if that risk is accepted.
const ROOT: &str = "A certificate with the principal root would log in as root: `apply` refuses that without \
                    --accept-risk=root-by-certificate.";

/// Checks that the work would not be refused, as far as this user can: a user other than root can neither read sshd's
/// host keys nor run sshd as it is run. Returns what would be proved, and what would not.
pub(super) fn foresee(context: &Context, work: &Work) -> Result<Forecast> {
    if work.concerns_sshd() && !is_root() && context.places.sshd_config.as_str() == sshd::default_config() {
        return Ok(Forecast::default());
    }
    pipeline::foresee(context, work)
}
