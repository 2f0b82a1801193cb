//! `warded plan`, and `--plan` of the command for a machine's first day.

use super::{
    apply::{ProcedureArgs, new_terms},
    output::Output,
    recover,
    report::{self, PlanObject},
    risk::AcceptRisk,
    trust::StagedFile,
};
use crate::{
    context::Context,
    pipeline::{self, Terms, Work, known_hosts, prove::Forecast, serve},
};
use clap::Args;
use serde::Serialize;
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
    #[command(flatten)]
    pub(super) risk: AcceptRisk,
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
            // These risks count as accepted here, so that the change is shown. Whether they are, is told.
            let accepted = self.risk.accepted();
            let logins = Risks { root: true, ..accepted.logins };
            let terms = Terms { replace_host_keys: true, any_host: true, logins, ..accepted.clone() };
            let work = Work::of(planned, terms);
            let (any_host, ends_keys) = (known_hosts::is_wide(&work)?, !work.replaced().is_empty());
            let Forecast { not_proved, effects, users, loses_pins } = foresee(context, &work)?;
            effects.iter().try_for_each(|effect| output.line(format!("Effect: {effect}.")))?;
            pipeline::users(&users, "would let", "Found out: ").iter().try_for_each(|line| output.line(line))?;
            report::unproved(output, &not_proved)?;
            let risks = [
                (users.admits_root, ROOT),
                (ends_keys, ENDS),
                (loses_pins && !ends_keys, PINS),
                (any_host, ANY_HOST),
                (!changes.is_empty(), NEW_KEY),
            ];
            let taken: Vec<&ShownRisk> = risks.iter().filter(|(would, _)| *would).map(|(_, risk)| risk).collect();
            let is_accepted = |shown: &ShownRisk| accepted.accepted().any(|risk| risk == shown.risk);
            taken.iter().try_for_each(|shown| output.line(shown.line(is_accepted(shown))))?;
            let not_accepted: Vec<&ShownRisk> = taken.into_iter().filter(|shown| !is_accepted(shown)).collect();
            if let Some(object) = object.as_object_mut() {
                object.insert("not_proved".to_owned(), not_proved.into());
                object.insert("not_accepted".to_owned(), report::value(&not_accepted)?);
            }
        }
        output.object(&object)?;
        Ok(if would.is_empty() { Exit::Done } else { Exit::Pending })
    }
}

/// A risk for which a run is refused unless it is accepted; its plan is shown all the same.
#[derive(Serialize)]
struct ShownRisk {
    risk: &'static str,
    what: &'static str,
}

const ROOT: ShownRisk =
    ShownRisk { risk: "root-by-certificate", what: "A certificate with the principal root would log in as root" };
const ENDS: ShownRisk = ShownRisk {
    risk: "replace-host-keys",
    what: "Clients that know only a host key which is replaced would be refused",
};
const PINS: ShownRisk =
    ShownRisk { risk: "replace-host-keys", what: "Clients that know only this host key would be refused" };
const ANY_HOST: ShownRisk =
    ShownRisk { risk: "any-host", what: "The CA would be trusted for hosts of more than one domain" };
const NEW_KEY: ShownRisk = ShownRisk {
    risk: "new-ca-key",
    what: "Clients that do not know the CA's new key would not accept the new certificates",
};

impl ShownRisk {
    fn line(&self, is_accepted: bool) -> String {
        let Self { risk, what } = self;
        let decided = match *risk {
            _ if is_accepted => "accepted by",
            risk if risk == NEW_KEY.risk => "`apply` puts the change off without",
            _ => "`apply` refuses that without",
        };
        format!("{what}: {decided} --accept-risk={risk}.")
    }
}

/// Checks that the work would not be refused, as far as this user can: a user other than root can neither read sshd's
/// host keys nor run sshd as it is run. Returns what would be proved, and what would not.
pub(super) fn foresee(context: &Context, work: &Work) -> Result<Forecast> {
    if work.concerns_sshd() && !is_root() && context.places.sshd_config.as_str() == sshd::default_config() {
        return Ok(Forecast::default());
    }
    pipeline::foresee(context, work)
}
