//! `warded renew`.

use super::{
    output::Output,
    progress::Progress,
    recover,
    report::{self, DoneObject},
};
use crate::{
    change_set::review::Review,
    context::Context,
    enrolment::Enrolment,
    error::{Error, Exit, Result},
    operation::session::Message,
    pipeline::{self, Done, Request, Work},
    policy::store::Granting,
    transaction,
};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Renew {
    /// Renew everything, due or not
    #[arg(long)]
    force: bool,
}

impl Renew {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        context.may_change("renew")?;
        recover::first(context, output)?;
        let Some(enrolment) = Enrolment::load(&context.state)? else {
            return Err(Error::usage("this machine is not enrolled, so there is nothing to renew")
                .next("warded apply certify-host --set principal=NAME"));
        };
        if enrolment.sshd_config != context.places.sshd_config {
            return Err(Error::refused(format!("this machine was enrolled for the sshd of {}", enrolment.sshd_config))
                .next(format!("--sshd-config {}", enrolment.sshd_config)));
        }
        let policies = context.policies()?;
        let granting = enrolled(&policies, &enrolment)?;
        let progress = Progress::new(output.json);
        progress.stage("looking for what is due");
        let run = transaction::next_run(&context.state)?;
        let Enrolment { procedure, settings, principals, .. } = enrolment;
        let request =
            Request { granting, procedure, settings, confirmed: principals, force: self.force, run: Some(run) };
        let planned = pipeline::plan(context, request)?;
        let (review, messages, identity) =
            (planned.review(), planned.session.messages.clone(), planned.identity.clone());
        let procedure = identity.procedure.as_str();
        report::messages(output, &messages)?;
        if planned.session.changes.is_empty() {
            output.line("Nothing is due.")?;
            output.object(&DoneObject::nothing("warded.renew/1", procedure, &messages))?;
            return Ok(Exit::Done);
        }
        let done = pipeline::carry_out(context, &identity, Work::of(planned), &progress)?;
        drop(progress);
        // It is done, whether anybody reads of it or not.
        drop(tell(output, procedure, &review, &messages, &done));
        Ok(Exit::Done)
    }
}

fn tell(output: Output, procedure: &str, review: &Review, messages: &[Message], done: &Done) -> Result<()> {
    report::review(output, review)?;
    for line in done.lines() {
        output.line(line)?;
    }
    output.object(&DoneObject::new("warded.renew/1", procedure, review, messages, done))
}

/// The policy that was accepted when the machine was enrolled: that component, and no other.
fn enrolled<'a>(policies: &'a [Granting], enrolment: &Enrolment) -> Result<&'a Granting> {
    let again = "warded apply certify-host, which shows what the new one does and asks";
    let granting = policies.iter().find(|granting| granting.policy.name == enrolment.policy).ok_or_else(|| {
        Error::refused(format!("the policy {} that this machine was enrolled with is gone", enrolment.policy))
            .next(again)
    })?;
    if granting.digest == enrolment.component {
        return Ok(granting);
    }
    Err(Error::refused(format!(
        "the component of policy {} is not the one that this machine was enrolled with",
        enrolment.policy
    ))
    .cause(format!("enrolled: {}\nthere is: {}", enrolment.component, granting.digest))
    .next(again))
}
