//! What an unattended renewal remembers of earlier attempts.

use super::{DoneObject, SCHEMA};
use crate::{cli::output::Output, context::Context};
use jiff::Timestamp;
use ssh_key::rand_core::{OsRng, RngCore as _};
use warded_lib::{
    ca::{
        attempts::{Attempts, Outcome},
        now,
    },
    error::{Error, Exit, Result},
    machine::private::StateDir,
    moment,
    text::count,
};

const FILE: &str = "renewal-attempts.json";

/// The earlier attempts. An unreadable file counts as none: otherwise it would stop the CA from being asked.
pub(super) fn load(state: &StateDir) -> Result<Attempts> {
    let bytes = state.read(FILE)?.unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

/// Leaves the renewal to a later run. The exit code still shows that the machine needs attention.
pub(super) fn wait(output: Output, attempts: Attempts, until: u64) -> Result<Exit> {
    let until = i64::try_from(until).ok().and_then(|until| Timestamp::from_second(until).ok());
    let until = until.map_or_else(String::new, |until| format!(" ({})", moment::left(until, Timestamp::now())));
    let times = count(usize::try_from(attempts.failures).unwrap_or(usize::MAX), "time");
    output.line(format!(
        "Not tried: `renew` failed {times} in a row, and waits{until} before it asks the CA again. \
         Run it at a terminal to try at once."
    ))?;
    output.object(&DoneObject::nothing(SCHEMA, "", &[]))?;
    Ok(Exit::Degraded)
}

/// Limits an unattended run to one connection, if the CA did not answer in the previous run.
pub(super) fn spare(context: &Context, attempts: Attempts, is_unattended: bool) {
    if is_unattended
        && !attempts.may_repeat()
        && let Ok(Some(step)) = context.authority.open_step()
    {
        step.ask_once();
    }
}

/// The error with its cause, in one line.
pub(super) fn in_a_line(error: &Error) -> String {
    error.brief().replace('\n', "; ")
}

/// Sentences in one line.
pub(super) fn in_a_line_of(sentences: &[String]) -> String {
    let sentences = sentences.iter().map(|one| one.trim_end_matches('.').replace('\n', "; "));
    sentences.collect::<Vec<_>>().join("; ")
}

/// Remembers how a run ended.
pub(super) fn note(context: &Context, before: Attempts, ended: &Result<Exit>) -> Result<()> {
    let after = before.after(now(), outcome(context, ended), OsRng.next_u32());
    if after == before {
        return Ok(());
    }
    if after == Attempts::default() {
        return context.state.remove(FILE);
    }
    context.state.write(FILE, serde_json::to_string(&after).unwrap_or_default().as_bytes(), 0o600)
}

/// Only a step-ca that was asked is spared: a local CA serves no other machines.
fn outcome(context: &Context, ended: &Result<Exit>) -> Outcome {
    // Certificates that were put off or left out do not mean that the CA did not answer.
    if matches!(ended, Ok(Exit::Done | Exit::Degraded)) || matches!(ended, Err(error) if error.exit() == Exit::Degraded)
    {
        return Outcome::Succeeded;
    }
    let http = match context.authority.open_step() {
        Ok(Some(step)) => step.http(),
        Ok(None) | Err(_) => return Outcome::NotTried,
    };
    if http.exchanges() == 0 {
        return Outcome::NotTried;
    }
    Outcome::Failed(http.retry_after().map(|after| after.as_secs()))
}
