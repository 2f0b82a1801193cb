//! `warded renew`.

mod unattended;

use super::{
    identification::Identification,
    output::Output,
    progress::Progress,
    recover,
    report::{self, DoneObject},
    risk::AcceptRenewalRisk,
};
use crate::{
    broker::session::{Level, Message},
    components,
    context::Context,
    enrolment::{Enrolment, Standing},
    outcomes::{LastRenewal, Outcome as _},
    pipeline::{self, Done, Request, Work, certify, serve, vouch::Vouching},
    sandbox::granting::Granting,
};
use clap::Args;
use std::{
    fmt::Display,
    io::{self, IsTerminal as _},
};
use warded_lib::{
    ca,
    change_set::review::Review,
    error::{Error, Exit, Result},
    text::neutral,
    transaction,
};

const SCHEMA: &str = "warded.renew/1";
/// Held while a renewal is at work.
const LOCK: &str = "renewal";

#[derive(Debug, Args)]
pub(super) struct Renew {
    /// Renew everything, due or not
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    risk: AcceptRenewalRisk,
    #[command(flatten)]
    pub(super) identification: Identification,
}

impl Renew {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        context.may_change("renew")?;
        let Some(_lock) = context.state.sub(LOCK)?.try_lock()? else {
            output.line("Another `warded renew` is at work.")?;
            output.object(&DoneObject::nothing(SCHEMA, "", &[]))?;
            return Ok(Exit::Done);
        };
        let attempts = unattended::load(&context.state)?;
        // Who is there, or names a password, wants it tried now.
        let is_unattended = !self.force && !self.identification.is_given() && !io::stdin().is_terminal();
        if is_unattended && let Err(until) = attempts.may_try(ca::now()) {
            return unattended::wait(output, attempts, until);
        }
        let ended = self.renew(context, output);
        // A machine that is not enrolled has nothing to renew.
        if Enrolment::load(&context.state).is_ok_and(|enrolment| enrolment.is_some()) {
            LastRenewal::now(&ended).save(&context.state);
            if let Err(error) = &ended
                && !context.log.is_concluded()
            {
                pipeline::did_not_begin(context, "renew", error);
            }
        }
        let noted = unattended::note(context, attempts, &ended);
        ended.and_then(|exit| noted.map(|()| exit))
    }

    fn renew(&self, context: &Context, output: Output) -> Result<Exit> {
        recover::first(context, output)?;
        let Some(enrolment) = Enrolment::load(&context.state)? else {
            return Err(Error::usage("this machine is not enrolled, so there is nothing to renew")
                .next("warded apply certify-host --set principal=NAME"));
        };
        let granting = enrolled(context, &enrolment)?;
        let accepted = Some(enrolment.component).filter(|accepted| *accepted != granting.digest);
        let progress = Progress::new(output.json);
        progress.say("looking for what is due");
        let run = transaction::next_run(&context.state)?;
        let Enrolment { procedure, settings, principals, .. } = enrolment;
        let request = Request {
            granting: &granting,
            procedure,
            settings,
            confirmed: principals,
            force: self.force,
            run: Some(run),
            accepted,
        };
        let mut planned = pipeline::plan(context, request)?;
        let vouching = Vouching::look(context, &mut planned.session);
        vouching.warning().into_iter().for_each(|text| planned.session.tell(Level::Warn, text));
        let (mut review, mut messages, identity) =
            (planned.review(), planned.session.messages.clone(), planned.identity.clone());
        let procedure = identity.procedure.as_str();
        report::messages(output, &messages)?;
        let exit = exit_after(&messages);
        if planned.session.changes.is_empty() {
            let unserved = serve::unserved(context, &planned)?;
            if !unserved.is_empty() {
                report::unserved(output, &unserved)?;
                report::reloaded(context, output, SCHEMA, planned, &unserved)?;
                return Ok(exit);
            }
            output.line(if exit == Exit::Done { "Nothing is due." } else { "Nothing was renewed." })?;
            output.object(&DoneObject::nothing(SCHEMA, procedure, &messages))?;
            return Ok(exit);
        }
        let mut work = Work::of(planned);
        work.shows_rest = "warded status".to_owned();
        // Who names a password or a token wants that to be used.
        work.renewal = Some(if self.identification.is_given() { Vouching::default() } else { vouching });
        work.may_change_signer = self.risk.new_ca_key();
        work.may_leave_unknown = self.risk.unknown_listener();
        let put_off = certify::ready(context, &mut work)?.into_iter();
        let put_off: Vec<_> = put_off.map(|text| Message { level: Level::Warn, text: neutral(&text) }).collect();
        report::messages(output, &put_off)?;
        messages.extend(put_off);
        let exit = exit_after(&messages);
        if work.is_empty() {
            output.line("Nothing was renewed.")?;
            output.object(&DoneObject::nothing(SCHEMA, procedure, &messages))?;
            return Ok(exit);
        }
        let mut done = pipeline::carry_out(context, &identity, work, &progress)?;
        done.unrecorded.take_if(|text| messages.iter().any(|told| told.text == *text));
        drop(progress);
        review.files.retain(|file| !done.withdrawn.iter().any(|path| path.as_str() == file.path));
        // It is done, whether anybody reads of it or not.
        drop(tell(output, procedure, &review, &messages, &done));
        Ok(if exit == Exit::Done { done.exit() } else { exit })
    }
}

/// Whoever runs this unattended looks at how it ends.
fn exit_after(messages: &[Message]) -> Exit {
    if messages.iter().any(|message| message.level == Level::Warn) { Exit::Degraded } else { Exit::Done }
}

fn tell(output: Output, procedure: &str, review: &Review, messages: &[Message], done: &Done) -> Result<()> {
    report::review(output, review)?;
    for line in done.lines() {
        output.line(line)?;
    }
    output.object(&DoneObject::new(SCHEMA, procedure, review, messages, done))
}

/// What a person does about a policy that nobody accepted.
pub(super) const ACCEPT: &str = "warded apply certify-host: it shows what the new one does, and asks";

/// The policy that the machine renews with: the one that was accepted when it was enrolled, or its
/// successor in a newer binary; for that sshd, with that CA.
fn enrolled(context: &Context, enrolment: &Enrolment) -> Result<Granting> {
    let granting = components::find(&context.policies, &enrolment.policy)?;
    match obstacle(context, enrolment, &granting) {
        None => Ok(granting),
        Some(Obstacle { message, cause }) => {
            Err(Error::refused(message).cause(cause).state("nothing was changed").next(ACCEPT))
        }
    }
}

/// Why a machine is not renewed.
pub(super) struct Obstacle {
    pub(super) message: String,
    pub(super) cause: String,
}

/// What the machine was enrolled with and is not so any more, if there is anything.
pub(super) fn obstacle(context: &Context, enrolment: &Enrolment, granting: &Granting) -> Option<Obstacle> {
    let obstacle = |what: &str, cause: String| {
        let message = format!("this machine was enrolled with {what}, and nobody has accepted this one");
        Some(Obstacle { message, cause })
    };
    let differs = |what: &str, enrolled: &dyn Display, now: &dyn Display| {
        obstacle(&format!("another {what}"), format!("enrolled: {enrolled}\nnow:      {now}"))
    };
    match enrolment.standing(granting, &enrolment.procedure) {
        Standing::Accepted | Standing::Successor => {}
        Standing::Wider(beyond) => {
            let cause = format!("policy {} now also asks for: {}", enrolment.policy, beyond.join(", "));
            return obstacle("narrower grants", cause);
        }
        Standing::OtherComponent => return differs("component", &enrolment.component, &granting.digest),
        Standing::OtherGrants => return differs("grants", &enrolment.grants, &granting.grants),
    }
    let (sshd_config, authority) = (&context.places.sshd_config, context.authority.identity());
    if enrolment.sshd_config != *sshd_config {
        return differs("sshd", &enrolment.sshd_config, sshd_config);
    }
    if enrolment.authority != authority {
        return differs("CA", &enrolment.authority, &authority);
    }
    None
}
