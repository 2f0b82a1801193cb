//! `warded renew`.

mod obstacle;
mod preview;
mod unattended;

use super::{
    identification::Identification,
    output::{Failure, Output},
    progress::Progress,
    recover,
    report::{self, DoneObject, warnings},
    risk::AcceptRenewalRisk,
};
use crate::{
    broker::{
        recording::Tape,
        session::{Level, Message},
    },
    context::Context,
    enrolment::{Enrolment, Enrolments},
    outcomes::{LastRenewal, Outcome as _},
    pipeline::{
        self, Request, RunReport, Work,
        at_rest::{RestObservation, RestRecord},
        certify, serve, unnamed,
        vouch::HostKeyRecords,
    },
    publishing::offered,
};
use clap::Args;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    io::{self, IsTerminal as _},
    time::SystemTime,
};
use warded_lib::{
    ca::{self, Certificate},
    change_set::review::Review,
    error::{Error, Exit, Result},
    text::neutral,
    transaction,
};

use obstacle::not_enrolled;
pub(super) use obstacle::{Obstacle, accept, gone, gone_next, is_gone, obstacle};

const SCHEMA: &str = "warded.renew/1";
/// The lock that a renewal holds while it runs.
const LOCK: &str = "renewal";
const NOTHING_DUE: &str = "Nothing is due.";

#[derive(Debug, Args)]
pub(super) struct Renew {
    /// Renew all certificates, whether due or not
    #[arg(long)]
    force: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    risk: AcceptRenewalRisk,
    #[command(flatten)]
    pub(super) identification: Identification,
}

/// The result of the renewal for one sshd.
struct RenewalResult {
    exit: Exit,
    object: Value,
    /// The serial numbers of the certificates that it got.
    serials: Vec<u64>,
    /// What the renewal looked at, if everything is renewed and nothing is wrong.
    at_rest: Option<RestRecord>,
    /// What it left out, and what is unusual, one sentence each.
    remarks: Vec<String>,
}

impl RenewalResult {
    /// A result after which the next renewal looks at everything again.
    fn new(exit: Exit, object: Value) -> Self {
        Self { exit, object, serials: Vec::new(), at_rest: None, remarks: Vec::new() }
    }

    /// The message that is remembered; `None` if all went well.
    fn remembered(&self) -> Option<String> {
        (self.exit == Exit::Degraded && !self.remarks.is_empty()).then(|| unattended::in_a_line_of(&self.remarks))
    }
}

impl Renew {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        if self.plan {
            return self.renew(context, output, &mut Vec::new());
        }
        context.may_change("renew")?;
        // The lock is of no use after a power cut, so it need not be synced to disk.
        let Some(_lock) = context.state.sub_of_many(LOCK)?.try_lock()? else {
            output.line("Another `warded renew` is running.")?;
            output.object(&DoneObject::nothing(SCHEMA, "", &[]))?;
            return Ok(Exit::Done);
        };
        let attempts = unattended::load(&context.state)?;
        // A user at a terminal, or one who names a password, wants the renewal tried now.
        let is_unattended = !self.force && !self.identification.is_given() && !io::stdin().is_terminal();
        if is_unattended && let Err(until) = attempts.may_try(ca::now()) {
            // What an interrupted run left waits for nobody, and its recovery needs no CA.
            if transaction::interrupted(&context.state)?.is_some()
                && let Err(error) = recover::first(context, output)
            {
                LastRenewal::now(error.exit(), Some(unattended::in_a_line(&error))).save(&context.state);
                return Err(error);
            }
            return unattended::wait(output, attempts, until);
        }
        unattended::spare(context, attempts, is_unattended);
        if is_unattended && RestRecord::load(&context.state).is_some_and(|before| before.holds(context)) {
            LastRenewal::now(Exit::Done, None).save(&context.state);
            output.line(NOTHING_DUE)?;
            output.object(&DoneObject::nothing(SCHEMA, "", &[]))?;
            return Ok(Exit::Done);
        }
        RestRecord::forget(&context.state);
        let mut failures = Vec::new();
        let concluded = context.log.concluded();
        let ended = self.renew(context, output, &mut failures);
        // A machine that is not enrolled has nothing to renew.
        if Enrolments::load(&context.state).is_ok_and(|enrolments| enrolments.iter().next().is_some()) {
            if let Err(error) = &ended {
                failures.push(unattended::in_a_line(error));
                conclude(context, concluded, error);
            }
            let exit = ended.as_ref().map_or_else(Error::exit, |exit| *exit);
            let message = Some(failures.join("; ")).filter(|message| !message.is_empty());
            LastRenewal::now(exit, message).save(&context.state);
        }
        let noted = unattended::note(context, attempts, &ended);
        ended.and_then(|exit| noted.map(|()| exit))
    }

    /// Renews for every enrolled sshd, or for the one that the operator named. If there are several, the failures and
    /// omissions of each are added to `failures`.
    fn renew(&self, context: &Context, output: Output, failures: &mut Vec<String>) -> Result<Exit> {
        if self.plan {
            recover::report(context, output)?;
        } else {
            recover::first(context, output)?;
        }
        let enrolments = Enrolments::load(&context.state)?;
        let chosen = &context.places.sshd_config;
        let due: Vec<&Enrolment> = if context.is_sshd_chosen {
            enrolments.of(chosen).into_iter().collect()
        } else {
            enrolments.iter().collect()
        };
        match due.as_slice() {
            [] => Err(not_enrolled(chosen, &enrolments)),
            [one] => {
                let context = context.for_sshd(&one.sshd_config);
                let ended = self.renew_one(&context, output, one, (&enrolments, BTreeSet::new()))?;
                failures.extend(ended.remembered());
                if let Some(at_rest) = ended.at_rest {
                    at_rest.save(&context.state);
                }
                output.object(&ended.object)?;
                Ok(ended.exit)
            }
            several => self.renew_several(context, output, (several, &enrolments), failures),
        }
    }

    /// A failure for one sshd does not stop the renewal of the others.
    fn renew_several(
        &self,
        context: &Context,
        output: Output,
        (due, enrolments): (&[&Enrolment], &Enrolments),
        failures: &mut Vec<String>,
    ) -> Result<Exit> {
        let (mut renewed, mut worst, mut objects) = (BTreeSet::new(), Exit::Done, Vec::new());
        for enrolment in due {
            let config = &enrolment.sshd_config;
            output.line(format!("sshd of {config}:"))?;
            let concluded = context.log.concluded();
            let ended = self.renew_one(&context.for_sshd(config), output, enrolment, (enrolments, renewed.clone()));
            let (exit, result) = match ended {
                Ok(ended) => {
                    failures.extend(ended.remembered().map(|remarks| format!("sshd of {config}: {remarks}")));
                    renewed.extend(ended.serials);
                    (ended.exit, ended.object)
                }
                Err(error) => {
                    output.note(error.to_string());
                    failures.push(format!("sshd of {config}: {}", unattended::in_a_line(&error)));
                    conclude(context, concluded, &error);
                    (error.exit(), report::value(&Failure::of(&error))?)
                }
            };
            worst = if severity(exit) > severity(worst) { exit } else { worst };
            objects.push(serde_json::json!({ "sshd_config": config, "exit": exit.code(), "result": result }));
        }
        output.object(&serde_json::json!({ "schema": "warded.renewals/1", "exit": worst.code(), "sshds": objects }))?;
        Ok(worst)
    }

    fn renew_one(
        &self,
        context: &Context,
        output: Output,
        enrolment: &Enrolment,
        (enrolments, renewed): (&Enrolments, BTreeSet<u64>),
    ) -> Result<RenewalResult> {
        if is_gone(enrolment) {
            return Err(Error::put_off(gone(enrolment)).unchanged().next(gone_next(enrolment)));
        }
        let began = SystemTime::now();
        let granting = obstacle::enrolled(context, enrolment)?;
        let accepted = Some(enrolment.component).filter(|accepted| *accepted != granting.digest);
        let progress = Progress::new(output);
        progress.say("looking for what is due");
        let run = if self.plan { None } else { Some(transaction::next_run(&context.state)?) };
        let request = Request {
            granting: &granting,
            procedure: enrolment.procedure.clone(),
            settings: enrolment.settings.clone(),
            confirmed: enrolments.principals(),
            force: self.force,
            renewed,
            run,
            accepted,
            tape: Tape::Off,
        };
        let mut planned = pipeline::plan(context, request)?;
        let vouching = HostKeyRecords::look(context, &mut planned.session);
        vouching.warning().into_iter().for_each(|text| planned.session.tell(Level::Warn, text));
        unnamed::tell(&mut planned.session);
        let offer = offered::newer(&context.offered, &granting);
        offer.into_iter().for_each(|newer| planned.session.tell(Level::Info, newer.to_string()));
        let (mut review, mut messages, identity) =
            (planned.review(), planned.session.messages.clone(), planned.identity.clone());
        let procedure = identity.procedure.as_str();
        report::messages(output, &messages)?;
        let exit = exit_after(&messages);
        if self.plan {
            return preview::show(context, output, planned, (exit, self.risk.terms()));
        }
        if planned.session.changes.is_empty() {
            let unserved = serve::unserved(context, &planned)?;
            let spared = preview::spared(output, &unserved)?;
            let exit = if spared.is_empty() { exit } else { Exit::Degraded };
            messages.extend(spared);
            if !unserved.is_empty() && unserved.former.is_empty() {
                report::unserved(output, &unserved)?;
                let object = report::reloaded(context, output, SCHEMA, planned, &unserved)?;
                return Ok(RenewalResult { remarks: warnings(&messages), ..RenewalResult::new(exit, object) });
            }
            if exit != Exit::Done {
                return nothing_renewed(context, output, procedure, &messages);
            }
            output.line(NOTHING_DUE)?;
            let object = report::value(&DoneObject::nothing(SCHEMA, procedure, &messages))?;
            let looked = RestObservation::at(&mut planned.session, began);
            let at_rest = looked.and_then(|looked| looked.where_nothing_was_due(context));
            return Ok(RenewalResult { at_rest, ..RenewalResult::new(exit, object) });
        }
        let looked = RestObservation::at(&mut planned.session, began);
        let mut work = Work::of(planned, self.risk.terms());
        work.shows_rest = "warded status".to_owned();
        // An operator who names a password or a token wants it to be used.
        work.renewal = Some(if self.identification.is_given() { HostKeyRecords::default() } else { vouching });
        let put_off = certify::ready(context, &mut work)?.into_iter();
        let put_off: Vec<_> = put_off.map(|text| Message { level: Level::Warn, text: neutral(&text) }).collect();
        report::messages(output, &put_off)?;
        messages.extend(put_off);
        let exit = exit_after(&messages);
        if work.is_empty() {
            return nothing_renewed(context, output, procedure, &messages);
        }
        work.warnings = warnings(&messages);
        let mut done = pipeline::carry_out(context, &identity, work, &progress)?;
        done.given.unrecorded.take_if(|text| messages.iter().any(|told| told.text == *text));
        drop(progress);
        if !done.former.is_empty() {
            review.reloads.retain(|reload| done.reloads.iter().any(|(name, _)| *name == reload.named().1));
        }
        review.files.retain(|file| !done.withdrawn.iter().any(|path| path.as_str() == file.path));
        // The change is made, whether or not its report can be printed.
        drop(tell(output, &review, &done));
        let object = report::value(&DoneObject::new(SCHEMA, procedure, &review, &messages, &done))?;
        let exit = if exit == Exit::Done { done.exit() } else { exit };
        let serials = done.given.certificates.iter().map(Certificate::serial).collect();
        let at_rest = looked.filter(|_| exit == Exit::Done).and_then(|looked| looked.after(context, &done));
        let remarks = warnings(&messages).into_iter().chain(done.reservations()).collect();
        Ok(RenewalResult { exit, object, serials, at_rest, remarks })
    }
}

/// The end of a renewal that changes nothing; its warnings say why.
fn nothing_renewed(context: &Context, output: Output, procedure: &str, messages: &[Message]) -> Result<RenewalResult> {
    let remarks = warnings(messages);
    pipeline::nothing_renewed(context, &remarks);
    output.line("Nothing was renewed.")?;
    let object = report::value(&DoneObject::nothing(SCHEMA, procedure, messages))?;
    Ok(RenewalResult { remarks, ..RenewalResult::new(Exit::Degraded, object) })
}

/// Records in the logs that nothing was run, unless a run has ended since and has been recorded.
fn conclude(context: &Context, concluded: usize, error: &Error) {
    if context.log.concluded() == concluded {
        pipeline::renewal_did_not_begin(context, error);
    }
}

/// Orders the exit codes: all is well, something needs attention, something failed.
fn severity(exit: Exit) -> u8 {
    match exit {
        Exit::Done => 0,
        Exit::Pending | Exit::Degraded => 1,
        Exit::Failed | Exit::Usage | Exit::Refused | Exit::Unreachable | Exit::NoAuthority => 2,
    }
}

/// An unattended renewal is judged by its exit code.
fn exit_after(messages: &[Message]) -> Exit {
    if messages.iter().any(|message| message.level == Level::Warn) { Exit::Degraded } else { Exit::Done }
}

fn tell(output: Output, review: &Review, done: &RunReport) -> Result<()> {
    report::review(output, review)?;
    done.ways_of_proof().iter().for_each(|way| output.detail(way));
    done.lines().into_iter().try_for_each(|line| output.line(line))
}
