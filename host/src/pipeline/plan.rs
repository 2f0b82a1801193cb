//! A plan: the procedure is run once, and what it staged is looked at. Nothing is changed.

use crate::{
    audit::Kind as EventKind,
    broker::{Broker, Identity},
    ca::{self, CertificateAuthority},
    change_set::review::Review,
    context::Context,
    enrolment::Enrolment,
    error::{Error, Exit, Result},
    operation::{Session, session::Renewal},
    policy::{
        authorize::Circumstances,
        file::Procedure,
        name::Name,
        setting::{self, Setting, Type},
        store::Granting,
    },
    runtime,
};
use std::{collections::BTreeSet, process, sync::mpsc, thread, time::Duration};

/// Which procedure to run, how.
#[derive(Debug)]
pub struct Request<'a> {
    /// The policy and its component.
    pub granting: &'a Granting,
    /// The procedure.
    pub procedure: Name,
    /// What the operator set, or the enrolment remembers.
    pub settings: Vec<Setting>,
    /// Names that were confirmed before, besides those set now.
    pub confirmed: BTreeSet<String>,
    /// Every certificate is due.
    pub force: bool,
    /// The run's number, where it may change something.
    pub run: Option<u64>,
}

/// What a procedure would change.
#[derive(Debug)]
pub struct Planned<'a> {
    /// Which run.
    pub identity: Identity,
    /// The policy.
    pub granting: &'a Granting,
    /// The procedure's table.
    pub procedure: &'a Procedure,
    /// The settings, complete.
    pub settings: Vec<Setting>,
    /// The names that the operator confirmed.
    pub confirmed: BTreeSet<String>,
    /// What was staged and said.
    pub session: Session,
}

/// Runs the procedure.
///
/// # Errors
/// Wrong settings, a denial, a limit, or the procedure's own failure. Nothing was changed.
pub fn plan<'a>(context: &Context, request: Request<'a>) -> Result<Planned<'a>> {
    let Request { granting, procedure: name, settings, mut confirmed, force, run } = request;
    let procedure = granting
        .policy
        .procedures
        .get(&name)
        .ok_or_else(|| Error::usage(format!("policy {} has no procedure {name}", granting.policy.name)))?;
    let settings = setting::resolve(&name, &procedure.settings, &settings)?;
    let is_principal = |setting: &&Setting| {
        procedure.settings.get(&setting.name).is_some_and(|declared| declared.kind == Type::Principal)
    };
    confirmed.extend(settings.iter().filter(is_principal).map(|setting| setting.value.clone()));

    let identity =
        Identity { run, policy: granting.policy.name.clone(), component: granting.digest, procedure: name.clone() };
    let detail = if run.is_some() { "apply" } else { "plan" };
    context.log.append(&identity.event(EventKind::Started).detail(detail))?;
    let ended = run_guest(context, &identity, granting, procedure, &settings, confirmed.clone(), force);
    let summary = match &ended {
        Ok(session) if session.changes.is_empty() => "nothing to do".to_owned(),
        Ok(session) => format!("staged {}", crate::text::count(session.changes.staged().len(), "change")),
        Err(error) => format!("{}: {}", error.heading(), error.message()),
    };
    context
        .log
        .append(&identity.event(if ended.is_ok() { EventKind::Done } else { EventKind::Ended }).detail(&summary))?;
    context.log.seal()?;
    Ok(Planned { identity, granting, procedure, settings, confirmed, session: ended? })
}

fn run_guest(
    context: &Context,
    identity: &Identity,
    granting: &Granting,
    procedure: &Procedure,
    settings: &[Setting],
    confirmed: BTreeSet<String>,
    force: bool,
) -> Result<Session> {
    let component = runtime::Component::load(granting)?;
    let circumstances = Circumstances {
        places: context.places.clone(),
        protected: context.protected.clone(),
        confirmed,
        keys: BTreeSet::new(),
    };
    let renewal = Renewal {
        after_percent: context.renew_after,
        machine_id: context.facts.machine_id.clone(),
        force,
        now: ca::now(),
    };
    let session = Session::new(
        circumstances,
        context.root.clone(),
        context.facts.clone(),
        context.authority.clone(),
        renewal,
        granting.policy.services.keys().cloned().collect(),
        context.sshd_binary.clone(),
    );
    let broker = Broker::new(identity.clone(), procedure.clone(), context.log.clone());
    let overdue = overdue(context, identity);
    runtime::run(&component, &identity.procedure, settings, broker, session, overdue)
}

/// What the watch does about a host call that does not come back: says so, and ends the process.
/// The call itself is on record already.
fn overdue(context: &Context, identity: &Identity) -> impl Fn(&'static str) + Send + 'static {
    let log = context.log.clone();
    let identity = identity.clone();
    move |capability| {
        let seconds = runtime::limits::HOST_CALL_TIME.as_secs();
        let error = Error::refused(format!(
            "{} was stopped: {capability} did not come back within {seconds} s",
            identity.procedure
        ))
        .state("nothing was changed")
        .next("look for a file system or a program that hangs");
        crate::cli::output::Output::new(false).failure(&error);
        let event = identity.event(EventKind::Ended).capability(capability).detail(error.message());
        // The process ends either way, also where it is the log that hangs.
        let (done, recorded) = mpsc::channel();
        let log = log.clone();
        thread::spawn(move || {
            drop(log.append_synced(&event));
            done.send(()).ok();
        });
        recorded.recv_timeout(Duration::from_secs(2)).ok();
        process::exit(i32::from(Exit::Refused.code()));
    }
}

impl Planned<'_> {
    /// What would change, to look at.
    #[must_use]
    pub fn review(&self) -> Review {
        Review::of(&self.session.changes)
    }

    /// The enrolment that holds once this has been applied; none where the procedure names no renewal.
    #[must_use]
    pub fn enrolment(&self) -> Option<Enrolment> {
        let renewal = self.procedure.renewal.clone()?;
        let declared = &self.granting.policy.procedures.get(&renewal)?.settings;
        let settings = self.settings.iter().filter(|setting| declared.contains_key(&setting.name)).cloned().collect();
        let authority = self.session.authority.open().map_or_else(|_| String::new(), CertificateAuthority::describe);
        Some(Enrolment::new(
            (self.identity.policy.clone(), self.identity.component, renewal),
            settings,
            self.confirmed.clone(),
            self.session.circumstances.places.sshd_config.clone(),
            authority,
        ))
    }
}
