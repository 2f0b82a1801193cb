//! How a run ended: its last record, and its line in the system log.

use crate::{broker::Identity, context::Context};
use jiff::Timestamp;
use warded_lib::{
    audit::{Ending, Event, Kind as EventKind},
    ca::Certificate,
    error::{Error, Result},
    machine::services::ReloadResult,
    text::count,
    transaction::Confirm,
};

/// The last record of a run, and its line in the system log.
pub(super) fn end(context: &Context, identity: &Identity, detail: &str, ending: Ending, told: &str) -> Result<()> {
    context.log.conclude(&identity.event(EventKind::Ended).detail(detail), ending, told)
}

/// The end of a run that failed. A log that cannot be written must not hide why.
pub(super) fn end_failed(context: &Context, identity: &Identity, error: &Error) {
    let detail = format!("{}: {}", error.heading(), error.message());
    drop(end(context, identity, &detail, Ending::Failed, &in_a_line(error)));
}

/// A command that failed before it became a run: nobody may be there to read its message.
pub fn did_not_begin(context: &Context, command: &str, error: &Error) {
    let event = Event { procedure: command.to_owned(), ..Event::new(0, EventKind::Failed) };
    let told = in_a_line(error);
    drop(context.log.conclude(&event.detail(&told), Ending::Failed, &told));
}

/// A component that is refused where somebody wanted to accept it, so that it becomes no policy: `capability` is what it was
/// refused for, `from` the file or reference that was named.
pub fn not_accepted(context: &Context, capability: &str, from: &str, error: &Error) {
    let told = in_a_line(error);
    let event = Event::new(0, EventKind::Failed).capability(capability).need(from).detail(&told);
    drop(context.log.conclude(&event, Ending::Failed, &format!("{capability} {from}: {told}")));
}

/// What failed, with its cause.
fn in_a_line(error: &Error) -> String {
    format!("{}: {}", error.heading(), error.brief().replace('\n', "; "))
}

/// What a kept run did, in a line.
pub(super) fn told(
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
    parts.extend(reloads.iter().map(|(name, how)| match how {
        ReloadResult::Scheduled { .. }
        | ReloadResult::Started { .. }
        | ReloadResult::Anew { .. }
        | ReloadResult::LeftStopped { .. } => how.to_string(),
        ReloadResult::NotRunning => format!("no listener of {name} is known"),
        ReloadResult::Unit { .. } | ReloadResult::Restarted { .. } | ReloadResult::Signalled { .. } => {
            format!("{name} reloaded")
        }
    }));
    parts.extend(confirm.map(|confirm| format!("waits to be confirmed until {}", confirm.until.strftime("%T UTC"))));
    parts.join(", ")
}
