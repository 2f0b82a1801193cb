//! What `renew --plan` shows. Nothing is changed.

use super::RenewalResult;
use crate::{
    broker::session::{Level, Message},
    cli::{
        output::Output,
        plan,
        report::{self, PlanObject},
    },
    context::Context,
    pipeline::{
        self, PlannedRun, Terms, Work,
        prove::Forecast,
        serve::{self, PendingReload},
        vouch::HostKeyRecords,
    },
};
use warded_lib::error::{Exit, Result};

/// What a renewal would change, and whether it would be refused before the CA is asked.
///
/// # Errors
/// Refused: the reason why the renewal cannot be carried out.
pub(super) fn show(
    context: &Context,
    output: Output,
    planned: PlannedRun<'_>,
    (exit, terms): (Exit, Terms),
) -> Result<RenewalResult> {
    let (review, unserved) = (planned.review(), serve::unserved(context, &planned)?);
    let spared = spared(output, &unserved)?;
    let exit = if spared.is_empty() { exit } else { Exit::Degraded };
    let has_changes = !planned.session.changes.is_empty();
    let pending = has_changes || (!unserved.is_empty() && spared.is_empty());
    report::review(output, &review)?;
    report::unserved(output, &unserved)?;
    output.line(match (pending, exit) {
        (true, _) => "Nothing has been changed.",
        (false, Exit::Done) => super::NOTHING_DUE,
        (false, _) => "Nothing would be renewed.",
    })?;
    let mut object = report::value(&PlanObject::new(&planned, &review, None, pending))?;
    if has_changes {
        let mut work = Work::of(planned, terms);
        work.renewal = Some(HostKeyRecords::default());
        let Forecast { not_proved, .. } = plan::foresee(context, &work)?;
        report::unproved(output, &not_proved)?;
        drop(object.as_object_mut().map(|object| object.insert("not_proved".to_owned(), not_proved.into())));
    }
    Ok(RenewalResult::new(if pending { Exit::Pending } else { exit }, object))
}

/// Says why sshd is not reloaded, although it does not serve something on disk, or may not.
pub(super) fn spared(output: Output, unserved: &PendingReload) -> Result<Vec<Message>> {
    let told = unserved.former.iter().map(pipeline::not_reloaded);
    let told = told.chain(unserved.unseen.iter().map(|why| format!("not seen live: {}", why.message())));
    let messages: Vec<_> = told.map(|text| Message { level: Level::Warn, text }).collect();
    report::messages(output, &messages)?;
    Ok(messages)
}
