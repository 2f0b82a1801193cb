//! A plan: runs the procedure once, and shows what it staged. Nothing is changed.

use crate::{
    broker::{
        Broker, Identity,
        recording::Tape,
        session::{Level, Message, Renewal, Session},
    },
    context::Context,
    enrolment::{Enrolment, Enrolments},
    sandbox::{self, granting::BoundPolicy},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc::channel},
    thread,
    time::Duration,
};
use warded_lib::{
    audit::{Ending, Event, Kind as EventKind, Log},
    ca,
    change_set::review::Review,
    digest::Digest,
    error::{Error, Result},
    guard::Authorship,
    machine::sshd::Sshd,
    name::Name,
    policy::{
        authorize::Circumstances,
        file::Procedure,
        setting::{self, Setting, Type},
    },
    transaction,
};

/// How long it may take to record the end of a run that hangs.
const RECORD: Duration = Duration::from_secs(2);

/// Which procedure to run, and how.
#[derive(Debug)]
pub struct Request<'a> {
    /// The policy and its component.
    pub granting: &'a BoundPolicy,
    pub procedure: Name,
    /// The settings that the operator gave, or that the enrolment remembers.
    pub settings: Vec<Setting>,
    /// Names that were confirmed before, in addition to those that the operator sets now.
    pub confirmed: BTreeSet<String>,
    /// Whether every certificate counts as due.
    pub force: bool,
    /// The serial numbers of certificates that are not due, even if `force` is set.
    pub renewed: BTreeSet<u64>,
    /// The run's number, if it may change something.
    pub run: Option<u64>,
    /// The component that the operator accepted, if its successor in this binary runs instead.
    pub accepted: Option<Digest>,
    /// Whether the run is recorded.
    pub tape: Tape,
}

/// A procedure that has run, with the changes that it staged.
#[derive(Debug)]
pub struct PlannedRun<'a> {
    pub identity: Identity,
    pub granting: &'a BoundPolicy,
    /// The procedure's table in the policy.
    pub procedure: &'a Procedure,
    /// The settings, including defaults.
    pub settings: Vec<Setting>,
    /// The names that the operator confirmed.
    pub confirmed: BTreeSet<String>,
    /// What the procedure staged and said.
    pub session: Session,
    /// Which lines of sshd's configuration Warded wrote.
    pub authorship: Authorship,
}

/// Runs the procedure.
///
/// # Errors
/// Wrong settings, a denial, a limit, or the procedure's own failure. Nothing was changed.
pub fn plan<'a>(context: &Context, request: Request<'a>) -> Result<PlannedRun<'a>> {
    staged(context, request).map_err(Error::or_unchanged)
}

fn staged<'a>(context: &Context, request: Request<'a>) -> Result<PlannedRun<'a>> {
    let Request { granting, procedure: name, settings, mut confirmed, force, renewed, run, accepted, tape } = request;
    Sshd::named(context.sshd_binary.as_deref())?;
    let procedure = granting
        .policy
        .procedures
        .get(&name)
        .ok_or_else(|| Error::usage(format!("policy {} has no procedure {name}", granting.policy.name)))?;
    let settings = setting::resolve(&name, &procedure.settings, &settings)?;
    confirmed.extend(values_of(procedure, &settings, Type::Principal));

    let identity =
        Identity { run, policy: granting.policy.name.clone(), component: granting.digest, procedure: name.clone() };
    let mode = if run.is_some() { "apply" } else { "plan" };
    let detail = accepted.map_or_else(
        || mode.to_owned(),
        |accepted| format!("{mode}; successor of {accepted}, which was accepted, and asks for no more"),
    );
    context.log.append(&identity.event(EventKind::Started).detail(&detail))?;
    let renewal = Renewal {
        after_percent: context.renew_after,
        machine_id: context.facts.machine_id.clone(),
        force,
        replaces_useless: procedure.renewal.is_some(),
        renewed,
        now: ca::now(),
    };
    let circumstances = Circumstances {
        places: context.places.clone(),
        protected: context.protected.clone(),
        trusted: values_of(procedure, &settings, Type::Domain),
        mapped: values_of(procedure, &settings, Type::Principals),
        confirmed: confirmed.clone(),
        keys: BTreeMap::new(),
        actions: granting.policy.actions.iter().map(|(name, action)| (name.clone(), action.kind)).collect(),
    };
    let broker = Broker::new(identity.clone(), procedure.clone(), context.log.clone()).with(tape);
    let ended = run_guest(context, &identity, (granting, &settings), broker, (circumstances, renewal))
        .and_then(|mut session| super::yields::check(&mut session).map(|()| session));
    let summary = match &ended {
        Ok(session) if session.changes.is_empty() => "nothing to do".to_owned(),
        Ok(session) => {
            let changes = session.changes.staged().len() + session.changes.steps().len();
            format!("staged {}", warded_lib::text::count(changes, "change"))
        }
        Err(error) => format!("{}: {}", error.heading(), error.message()),
    };
    match &ended {
        // A plan, or a run that continues or has nothing to do, puts nothing into the system log here.
        Err(error) if run.is_some() => super::end_failed(context, &identity, error),
        Err(_) => context.log.append(&identity.event(EventKind::Ended).detail(&summary))?,
        Ok(_) => context.log.append(&identity.event(EventKind::Done).detail(&summary))?,
    }
    let mut session = ended?;
    let authorship = Authorship::of(transaction::written(&context.state)?);
    let edited = edited(&session, &authorship);
    session.messages.extend(edited);
    Ok(PlannedRun { identity, granting, procedure, settings, confirmed, session, authorship })
}

/// Messages about files that somebody edited since Warded wrote them.
fn edited(session: &Session, authorship: &Authorship) -> Vec<Message> {
    let mut messages = Vec::new();
    for staged in session.changes.staged() {
        let Some(before) = &staged.before else { continue };
        if authorship.is_edited(&staged.place.resolved(), &before.contents) {
            let text = format!(
                "{} was edited since Warded wrote it. No line of it is removed without --accept-risk=unrecorded-lines.",
                staged.path
            );
            messages.push(Message { level: Level::Info, text });
        }
    }
    messages
}

/// The values that the operator gave for the settings of a type.
fn values_of(procedure: &Procedure, settings: &[Setting], kind: Type) -> Vec<String> {
    let is = |setting: &&Setting| procedure.settings.get(&setting.name).is_some_and(|declared| declared.kind == kind);
    settings.iter().filter(is).map(|setting| setting.value.clone()).collect()
}

fn run_guest(
    context: &Context,
    identity: &Identity,
    (granting, settings): (&BoundPolicy, &[Setting]),
    broker: Broker,
    (circumstances, renewal): (Circumstances, Renewal),
) -> Result<Session> {
    let component = sandbox::Component::load_in_time(granting, Some(&context.compiled()), overdue(context, identity))?;
    let mut session = Session::new(
        circumstances,
        context.root.clone(),
        context.facts.clone(),
        context.authority.clone(),
        renewal,
        granting.policy.services.keys().cloned().collect(),
        context.sshd_binary.clone(),
    );
    session.actions.clone_from(&granting.policy.actions);
    session.runner = Arc::clone(&context.runner);
    session.issued = super::issued::keys(context)?;
    let enrolled = Enrolments::load(&context.state)?.iter().map(|enrolled| enrolled.sshd_config.clone()).collect();
    session.schedule = context.schedule(granting.policy.schedule.clone(), enrolled);
    if let Some(answers) = context.answers.clone() {
        session.answer(answers);
    }
    let overdue = overdue(context, identity);
    sandbox::run(&component, &identity.procedure, settings, broker, session, overdue)
}

/// What the watch does about a host call that does not return: it records the end of the run and ends the process. The
/// call itself is on record already.
fn overdue(context: &Context, identity: &Identity) -> impl Fn(&'static str) + Send + 'static {
    let (log, on_hang) = (context.log.clone(), context.on_hang);
    let identity = identity.clone();
    move |capability| {
        let seconds = sandbox::limits::HOST_CALL_TIME.as_secs();
        let next = match capability {
            sandbox::COMPILING => "its component is too large or too complex: tell its author",
            _ => "look for a file system or a program that hangs",
        };
        let error = Error::refused(format!(
            "{} was stopped: {capability} did not finish within {seconds} s",
            identity.procedure
        ))
        .unchanged()
        .next(next);
        let event = identity.event(EventKind::Ended).capability(capability).detail(error.message());
        record_in_time(&log, event, RECORD);
        (on_hang.0)(&error)
    }
}

/// Records the event if that can be done in time: the hanging call may hold the log, or the log's disk may be what
/// hangs. The process ends either way.
fn record_in_time(log: &Arc<Log>, event: Event, time: Duration) {
    let log = Arc::clone(log);
    let (done, recorded) = channel();
    let recording = thread::Builder::new().spawn(move || {
        let told = event.detail.clone().unwrap_or_default();
        drop(log.conclude(&event, Ending::Failed, &told));
        // The receiver is gone once the time is over.
        done.send(()).unwrap_or_default();
    });
    if recording.is_ok() {
        recorded.recv_timeout(time).unwrap_or_default();
    }
}

impl PlannedRun<'_> {
    /// What would change, for a person to review.
    #[must_use]
    pub fn review(&self) -> Review {
        // A CA that cannot be asked now fails when it is asked for the certificates.
        let roots = match self.session.changes.requests().next() {
            Some((_, request)) => self.session.authority.open().and_then(|authority| authority.roots(request.kind)),
            None => Ok(Vec::new()),
        };
        Review::of(&self.session.changes, &self.granting.policy.services, &roots.unwrap_or_default())
    }

    /// The enrolment that is in force once this has been applied; `None` if the procedure names no renewal.
    #[must_use]
    pub fn enrolment(&self) -> Option<Enrolment> {
        let renewal = self.procedure.renewal.clone()?;
        let declared = &self.granting.policy.procedures.get(&renewal)?.settings;
        let settings = self.settings.iter().filter(|setting| declared.contains_key(&setting.name)).cloned().collect();
        let authority = self.session.authority.identity();
        Some(Enrolment::new(
            self.granting,
            (renewal, self.identity.run.unwrap_or_default()),
            settings,
            self.confirmed.clone(),
            self.session.circumstances.places.sshd_config.clone(),
            authority,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FlockOperation, flock};
    use std::fs::File;

    #[test]
    fn a_log_that_hangs_does_not_keep_the_process() {
        let scratch = tempfile::tempdir().unwrap();
        let log = Arc::new(Log::open(&scratch.path().join("audit")).unwrap());
        let file = scratch.path().join("audit/log.jsonl");
        record_in_time(&log, Event::new(1, EventKind::Ended), Duration::from_secs(60));
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);

        let held = File::open(&file).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        // This call would wait for ever: the test holds the lock until its end.
        record_in_time(&log, Event::new(2, EventKind::Ended), Duration::from_millis(50));
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);
    }
}
