//! The broker: the one place that turns a need into a grant, and the only way to an effect.
//!
//! Only this module can make a [`Granted`], and an operation cannot be executed without one: code that has an effect
//! without a grant does not compile. Each call is on record before it is carried out.

pub mod answers;
pub mod granted;
pub mod limits;
pub mod operation;
pub mod recording;
pub mod session;

pub use granted::Granted;
pub use operation::{Failure, Operation};
pub use session::Session;

use recording::Tape;
use std::{cell::Cell, sync::Arc};
use warded_lib::{
    audit::{Event, Kind as EventKind, Log},
    digest::Digest,
    error::{Error, Result, UNCHANGED},
    name::Name,
    policy::{authorize::Denial, file::Procedure, need::Need, pattern::Pattern},
    text::neutral,
};

/// The bytes that the log adds to an event: number, time, hashes.
const CHAIN_BYTES: usize = 256;

/// Which run of which procedure of which component, as the audit names it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The run's number; `None` for a run that changes nothing.
    pub run: Option<u64>,
    pub policy: Name,
    /// The component's digest.
    pub component: Digest,
    pub procedure: Name,
}

impl Identity {
    /// An audit event of this run.
    #[must_use]
    pub fn event(&self, kind: EventKind) -> Event {
        Event {
            policy: self.policy.to_string(),
            component: Some(self.component),
            procedure: self.procedure.to_string(),
            ..Event::new(self.run.unwrap_or_default(), kind)
        }
    }
}

/// Decides, records and carries out what one run of a procedure asks for.
#[derive(Debug)]
pub struct Broker {
    identity: Identity,
    procedure: Procedure,
    log: Arc<Log>,
    recorded: Cell<usize>,
    tape: Tape,
}

impl Broker {
    /// A broker for one run.
    #[must_use]
    pub fn new(identity: Identity, procedure: Procedure, log: Arc<Log>) -> Self {
        Self { identity, procedure, log, recorded: Cell::new(0), tape: Tape::Off }
    }

    /// The same broker for a run that is recorded or replayed.
    #[must_use]
    pub fn with(self, tape: Tape) -> Self {
        Self { tape, ..self }
    }

    /// Carries an operation out, if it is granted. The guest sees the inner result.
    ///
    /// # Errors
    /// The operation is denied, there is too much to record, or the audit log cannot be written. Each of these ends the
    /// run.
    pub fn perform<O: Operation>(&self, operation: O, session: &mut Session) -> Result<Result<O::Output, Failure>> {
        match &self.tape {
            Tape::Off => self.carry_out(operation, session),
            Tape::Recording(recorder) => {
                let call = recording::call(&operation);
                let came = self.carry_out(operation, session);
                recorder.note(call, &came, |certificate| session.renewal.is_due(certificate))?;
                came
            }
            Tape::Replaying(replay) => replay.answer(recording::call(&operation)),
        }
    }

    fn carry_out<O: Operation>(&self, operation: O, session: &mut Session) -> Result<Result<O::Output, Failure>> {
        let (need, input) = (operation.need(), operation.input());
        let granted = match Granted::authorize(operation, &need, &self.procedure, &session.circumstances) {
            Ok(granted) => granted,
            Err(denial) => return Err(self.deny(&need, &denial)?),
        };
        let asked = self.event(EventKind::Asked, &need).grant(granted.grant());
        self.record(
            &input.into_iter().fold(asked, |asked, input| asked.detail(&within(limits::FAILURE_BYTES, &input))),
        )?;
        let outcome = O::execute(&granted, session);
        match &outcome {
            Err(failure) => {
                let detail = within(limits::FAILURE_BYTES, &failure.to_string());
                self.record(&self.event(EventKind::Failed, &need).detail(&detail))?;
            }
            Ok(output) => {
                if let Some(detail) = O::outcome(output) {
                    self.record(&self.event(EventKind::Result, &need).detail(&detail))?;
                }
            }
        }
        Ok(outcome)
    }

    /// Records an argument that cannot name anything grantable, such as a text that is not a path.
    ///
    /// # Errors
    /// There is too much to record, or the audit log cannot be written.
    pub fn reject(&self, capability: &'static str, argument: &str, failure: &Failure) -> Result<()> {
        let event = self.identity.event(EventKind::Failed).capability(capability);
        self.record(&event.need(&shortened(argument)).detail(&shortened(&failure.to_string())))
    }

    /// The patterns of the paths that the procedure may read, for a directory listing.
    #[must_use]
    pub fn readable(&self) -> Vec<Pattern> {
        let files = &self.procedure.files;
        files.read.iter().chain(files.write.iter().map(|grant| &grant.path)).cloned().collect()
    }

    fn deny(&self, need: &Need, denial: &Denial) -> Result<Error> {
        let Identity { policy, procedure, .. } = &self.identity;
        let why = shortened(denial.reason.as_deref().unwrap_or("no grant covers it"));
        self.log.append_synced(&self.event(EventKind::Denied, need).detail(&why))?;
        let asked = shortened(&need.to_string());
        let error = Error::refused(format!("{procedure} of policy {policy} asked for {}: {asked}", need.capability()))
            .cause(why)
            .state(format!("{UNCHANGED}; the denial is on record"));
        Ok(match &denial.grant {
            Some(grant) if is_plain(need) => {
                error.next(format!("if it should be allowed, [procedure.{procedure}] needs: {grant}"))
            }
            Some(_) => error.next("if it should be allowed, grant it by hand: docs/POLICIES.md"),
            None => error.next("this cannot be granted"),
        })
    }

    /// Records what a guest asked for, as long as the guest's records do not fill the log.
    fn record(&self, event: &Event) -> Result<()> {
        let size = serde_json::to_string(event).map_or(0, |text| text.len()).saturating_add(CHAIN_BYTES);
        let recorded = self.recorded.get().saturating_add(size);
        if recorded > limits::RECORD_BYTES {
            let what = format!("what it asked for fills more than {} MiB of the audit log", limits::RECORD_BYTES >> 20);
            return Err(limits::exceeded(self.identity.procedure.as_str(), &what));
        }
        self.recorded.set(recorded);
        self.log.append(event)
    }

    fn event(&self, kind: EventKind, need: &Need) -> Event {
        self.identity.event(kind).capability(need.capability()).need(&shortened(&need.to_string()))
    }
}

/// Whether the need can be written into a policy as it is. A guest chooses this text: it must not turn the operator's
/// message into two lines.
fn is_plain(need: &Need) -> bool {
    let is_name = |name: &str| name.parse::<Name>().is_ok();
    if let Need::Service(_, name) | Need::Query(name) | Need::Change(name) = need {
        return is_name(name);
    }
    if let Need::Fact(name) = need {
        return name.len() <= limits::NEED_BYTES && name.split('.').all(is_name);
    }
    let text = need.to_string();
    !text.contains(['"', '\\', '*', '{', '}']) && shortened(&text) == text
}

/// A guest's text, made safe to print and to store.
fn shortened(text: &str) -> String {
    within(limits::NEED_BYTES, text)
}

/// A text made harmless, of at most `most` bytes.
fn within(most: usize, text: &str) -> String {
    let mut short = String::new();
    for character in text.chars() {
        let shown = neutral(character.encode_utf8(&mut [0; 4]));
        if short.len().saturating_add(shown.len()) > most {
            short.push('…');
            break;
        }
        short.push_str(&shown);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use warded_lib::machine::service::ServiceOperation;

    #[test]
    fn no_words_of_a_guest_make_another_line_of_a_policy() {
        let file = |path: &str| Need::ReadFile(path.parse().unwrap());
        for plain in [
            Need::Fact("sshd.config".to_owned()),
            Need::Service(ServiceOperation::Reload, "ssh".to_owned()),
            Need::Effective("port".to_owned()),
            file("/etc/ssh/sshd_config.d/60-ü.conf"),
            Need::HostKeys,
        ] {
            assert!(is_plain(&plain), "{plain}");
        }
        let long = format!("/{}", "x/".repeat(400) + "x");
        for shaped in [
            Need::Fact("a\", \"b".to_owned()),
            Need::Fact("a".repeat(4_000_000)),
            Need::Fact(String::new()),
            Need::Service(ServiceOperation::Reload, "ssh = [\"reload\"]\nfiles".to_owned()),
            Need::Service(ServiceOperation::Restart, "ssh.service".to_owned()),
            file("/a\", \"/etc/shadow"),
            file("/a/*"),
            file("/{home}/a"),
            file("/a\\u{1b}"),
            file(&long),
        ] {
            assert!(!is_plain(&shaped), "{shaped:.80}");
        }
    }

    #[test]
    fn texts_are_short_and_whole() {
        assert_eq!(within(6, "a\x1bbcd"), "a…");
        assert_eq!(within(8, "a\x1bbcd"), "a\\u{1b}b…");
        assert_eq!(within(9, "a\x1bbcd"), "a\\u{1b}bc…");
        assert_eq!(within(10, "a\x1bbcd"), "a\\u{1b}bcd");
        assert!(shortened(&"\u{10ffff}\x1b".repeat(1_000_000)).len() < 400);
    }
}
