//! How a run ended: its last record, and its line in the system log.

use super::{RunReport, Work};
use crate::{
    broker::Identity,
    context::Context,
    enrolment::Enrolments,
    public_status::{PublicStatus, file_of},
};
use jiff::Timestamp;
use warded_lib::{
    audit::{Ending, Event, Kind as EventKind, Urgency},
    ca::{self, Certificate},
    error::{Error, Exit, Result},
    machine::services::ReloadResult,
    name::Name,
    text::count,
    transaction::Confirm,
};

/// The command whose failures before a run go to the system log.
const RENEW: &str = "renew";

/// Writes the last record of a run that is kept, and its line in the system log; `files` is how many files it changed.
pub(super) fn end_kept(
    context: &Context,
    identity: &Identity,
    work: &Work,
    files: usize,
    done: &RunReport,
) -> Result<()> {
    let told = told(&done.given.certificates, files, &done.reloads, done.confirm.as_ref());
    let told = with_remarks(told, done.reservations().iter().chain(&work.warnings));
    let is_partial = done.exit() == Exit::Degraded || !work.warnings.is_empty();
    let (detail, ending) = match &done.confirm {
        Some(_) => ("waits to be confirmed", Ending::Waits),
        None if is_partial => ("kept", Ending::Partial),
        None => ("kept", Ending::Kept),
    };
    end(context, identity, detail, ending, &told)
}

/// Writes the last record of a run that made sshd read what is on disk, and its line in the system log.
pub(super) fn end_served(context: &Context, identity: &Identity, work: &Work, services: &[String]) -> Result<()> {
    let told = format!("certificates that lay on disk are served, {} reloaded", services.join(", "));
    let ending = if work.warnings.is_empty() { Ending::Kept } else { Ending::Partial };
    end(context, identity, "sshd reads what was on disk", ending, &with_remarks(told, work.warnings.iter()))
}

/// Records the end of a run that failed. A log that cannot be written must not hide the reason.
pub(super) fn end_failed(context: &Context, identity: &Identity, error: &Error) {
    let detail = format!("{}: {}", error.heading(), error.message());
    drop(end(context, identity, &detail, Ending::Failed, &in_a_line(error)));
}

/// The same for a run that failed after its intent to change files was recorded, and before it had a journal.
pub(super) fn end_not_begun(context: &Context, identity: &Identity, error: &Error) {
    let detail = format!("not begun: {}: {}", error.heading(), error.message());
    drop(end(context, identity, &detail, Ending::Failed, &in_a_line(error)));
}

/// Records a renewal that failed before it became a run: nobody may be there to read its message.
pub fn renewal_did_not_begin(context: &Context, error: &Error) {
    conclude_renewal(context, EventKind::Failed, Ending::Failed, &in_a_line(error));
}

/// Records a renewal that had nothing to do except what it had to leave undone, for these reasons.
pub fn nothing_renewed(context: &Context, warnings: &[String]) {
    let told = with_remarks("nothing was renewed".to_owned(), warnings.iter());
    conclude_renewal(context, EventKind::Result, Ending::Partial, &told);
}

fn conclude_renewal(context: &Context, kind: EventKind, ending: Ending, told: &str) {
    let event = Event { procedure: RENEW.to_owned(), ..Event::new(0, kind) }.detail(told);
    drop(context.log.conclude_with(&event, (ending, urgency(context, RENEW)), told));
}

fn end(context: &Context, identity: &Identity, detail: &str, ending: Ending, told: &str) -> Result<()> {
    let event = identity.event(EventKind::Ended).detail(detail);
    let urgency = match ending {
        Ending::Kept | Ending::Waits | Ending::Confirmed => Urgency::Usual,
        Ending::Partial | Ending::RolledBack | Ending::Failed => urgency(context, identity.procedure.as_str()),
    };
    context.log.conclude_with(&event, (ending, urgency), told)
}

/// How near the expiry of the certificates is that this procedure renews. It reads the public status that the last run
/// wrote, since sshd may not be there to be asked when something fails.
fn urgency(context: &Context, procedure: &str) -> Urgency {
    let renews = |enrolments: Enrolments| enrolments.iter().any(|enrolled| enrolled.procedure.as_str() == procedure);
    if procedure != RENEW && !Enrolments::load(&context.state).is_ok_and(renews) {
        return Urgency::Usual;
    }
    let status = PublicStatus::read(&file_of(context.state.path())).ok().flatten();
    let seconds = |at: Timestamp| u64::try_from(at.as_second()).unwrap_or_default();
    let keys = status.iter().flat_map(|status| &status.keys);
    let urgencies = keys.filter_map(|key| Some(Urgency::of(seconds(key.due?), seconds(key.until?), ca::now())));
    urgencies.max().unwrap_or_default()
}

/// Records that Warded refused a component which somebody wanted to accept as a policy. `capability` is the action that
/// was refused, `from` the file or reference that was named; `policy` is the policy's name, if it is known.
pub fn not_accepted(context: &Context, capability: &str, (policy, from): (Option<&Name>, &str), error: &Error) {
    let told = in_a_line(error);
    let policy = policy.map(Name::as_str).unwrap_or_default();
    let event = Event { policy: policy.to_owned(), ..Event::new(0, EventKind::Failed) };
    let event = event.capability(capability).need(from).detail(&told);
    let of = if policy.is_empty() { String::new() } else { format!(" (policy {policy})") };
    drop(context.log.conclude(&event, Ending::Failed, &format!("{capability} {from}{of}: {told}")));
}

/// The error's message with its cause, in one line.
fn in_a_line(error: &Error) -> String {
    format!("{}: {}", error.heading(), error.brief().replace('\n', "; "))
}

/// A line followed by sentences.
fn with_remarks<'a>(told: String, remarks: impl Iterator<Item = &'a String>) -> String {
    let sentence = |remark: &String| format!("; {}", remark.trim_end_matches('.').replace('\n', "; "));
    told + &remarks.map(sentence).collect::<String>()
}

/// What a kept run did, in one line.
fn told(
    certificates: &[Certificate],
    files: usize,
    reloads: &[(String, ReloadResult)],
    confirm: Option<&Confirm>,
) -> String {
    let mut parts = vec![match certificates {
        [] => format!("{} changed", count(files, "file")),
        [first, ..] => {
            let end = certificates.iter().map(Certificate::valid_before).min();
            let end = end.filter(|_| first.valid_before() != u64::MAX).and_then(|end| i64::try_from(end).ok());
            let end = end.and_then(|end| Timestamp::from_second(end).ok());
            let until = end.map(|end| format!(" until {}", end.strftime("%F"))).unwrap_or_default();
            format!("{}{until}", count(certificates.len(), "certificate"))
        }
    }];
    parts.extend(reloads.iter().map(|(name, how)| how.brief(name)));
    parts.extend(confirm.map(|confirm| format!("waits to be confirmed until {}", confirm.until.strftime("%T UTC"))));
    parts.join(", ")
}
