//! What renewals depend on besides the CA and the policy: something that runs them, free space on the disk, the version
//! of OpenSSH, the machine's name. Also what happened while nobody was looking.

use crate::{
    cli::outlook::Problem,
    components,
    context::Context,
    enrolment::Enrolment,
    outcomes::{LastProof, LastRenewal, LastRollBack, Outcome as _},
};
use jiff::Timestamp;
use std::path::Path;
use warded_lib::{
    error::Result,
    machine::{
        action::{Action, Invocation, Step},
        schedule::{self, RejectionReason, Schedule},
        services::{self, Timer},
        space,
        sshd::{Sshd, UNKNOWN_VERSION},
    },
    moment,
    name::Name,
    text::neutral,
    transaction,
};

/// The result of all these checks.
#[derive(Debug)]
pub(super) struct Circumstances {
    pub(super) last_renewal: Option<LastRenewal>,
    pub(super) schedule: Schedule,
    /// The time of the next run, if systemd knows it.
    pub(super) next_run: Option<Timestamp>,
    pub(super) last_roll_back: Option<LastRollBack>,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<String>,
}

impl Circumstances {
    /// Makes the checks. A failed renewal is a problem if a certificate is due, and only a note until then. `end` is
    /// when the first certificate expires.
    pub(super) fn look(
        context: &Context,
        sshd: Option<&Sshd>,
        enrolled: Option<&Enrolment>,
        (is_due, end): (bool, Option<Timestamp>),
    ) -> Result<Self> {
        let mut found = Self {
            last_renewal: LastRenewal::load(&context.state),
            schedule: schedule(context, enrolled),
            next_run: None,
            last_roll_back: last_roll_back(context)?,
            problems: Vec::new(),
            notes: Vec::new(),
        };
        found.notes.extend(found.last_roll_back.as_ref().map(ToString::to_string));
        found.problems.extend(rooms(context));
        let timer = match &found.schedule {
            Schedule::Timer(timer) => services::timer(&timer.name),
            Schedule::DisabledTimer(_)
            | Schedule::Cron(_)
            | Schedule::Job(_)
            | Schedule::DisabledJob(_)
            | Schedule::Passed(_)
            | Schedule::Nothing
            | Schedule::Unknown(_) => None,
        };
        found.next_run = timer.as_ref().and_then(|timer| timer.next);
        let Some(enrolled) = enrolled else { return Ok(found) };
        if schedule::is_of_machine(context.places.sshd_config.as_path()) {
            found.problems.extend(unscheduled(&found.schedule, timer.as_ref()));
            found.problems.extend(too_late(&found.schedule, found.next_run, end));
            if let Schedule::Job(_) = found.schedule {
                found.problems.extend(job_gone(context)?);
            }
        }
        if let Some(renewal) = &found.last_renewal
            && let Some(failed) = failed(renewal)
        {
            if is_due {
                found.problems.push(Problem::with(failed, "run warded renew to see whether it still fails"));
            } else {
                found.notes.push(format!("{failed}; no renewal is due yet"));
            }
        }
        found.notes.extend(sshd.and_then(|sshd| other_version(context, sshd)));
        found.notes.extend(other_name(&context.facts.hostname, enrolled));
        Ok(found)
    }
}

/// What runs renewals. A job of an appliance may be missing from Warded's records: an upgrade of the appliance can keep
/// the job and lose the records. What was seen and rejected may be that job, so it takes precedence. Only the appliance
/// knows whether the job is disabled.
fn schedule(context: &Context, enrolled: Option<&Enrolment>) -> Schedule {
    match context.found_schedule() {
        found @ (Schedule::Nothing | Schedule::Unknown(_) | Schedule::Job(_) | Schedule::DisabledJob(_)) => {
            enrolled.and_then(|enrolled| job_of_policy(context, enrolled)).unwrap_or(found)
        }
        found @ (Schedule::Timer(_) | Schedule::DisabledTimer(_) | Schedule::Cron(_) | Schedule::Passed(_)) => found,
    }
}

/// The existing job that an action of the accepted policy makes.
fn job_of_policy(context: &Context, enrolled: &Enrolment) -> Option<Schedule> {
    let granting = components::find(&context.policies, &enrolled.policy).ok()?;
    if !enrolled.standing(&granting, &enrolled.procedure).is_covered() {
        return None;
    }
    let actions = &granting.policy.actions;
    let job = |(name, action): (&Name, &Action)| {
        let is_of_job = action.names_warded() && action.state.as_ref().is_some_and(|state| state.becomes == "present");
        let filled = is_of_job.then(|| Invocation::new(name, action, [], "").ok()).flatten()?;
        let mut is_disabled = false;
        let asked = Step::of(filled, actions, |query| {
            let answer = query.ask(context.runner.as_ref())?;
            is_disabled = answer.is_disabled();
            Ok(answer)
        });
        // A missing job would be made. An error also means that the job is missing, since the action has no inputs
        // here.
        let is_there = asked.is_ok_and(|step| step.seen.is_some() && !step.differs());
        let found = if is_disabled { Schedule::DisabledJob } else { Schedule::Job };
        is_there.then(|| found(name.to_string()))
    };
    actions.iter().find_map(job)
}

/// How to schedule renewals.
const SCHEDULED: &str = "warded apply certify-host schedules it where systemd or cron runs; else see docs/RENEWAL.md";

/// The problem if nothing renews the machine's certificates by the clock.
fn unscheduled(schedule: &Schedule, timer: Option<&Timer>) -> Option<Problem> {
    match schedule {
        Schedule::Timer(found) if timer.is_some_and(|timer| !timer.is_active) => {
            let name = neutral(&found.name);
            let seen = format!("{name} is enabled, and not started");
            Some(Problem::with(seen, format!("systemctl start {name}")))
        }
        Schedule::Timer(_) | Schedule::Cron(_) | Schedule::Job(_) | Schedule::Unknown(_) => None,
        Schedule::DisabledTimer(name) => {
            let name = neutral(name);
            let seen = format!("nothing renews automatically: {name} is not enabled");
            Some(Problem::with(seen, format!("systemctl enable --now {name}")))
        }
        Schedule::DisabledJob(action) => {
            let seen = format!("nothing renews automatically: the appliance's job that {action} makes is disabled");
            Some(Problem::with(seen, "enable it where the appliance lists its jobs"))
        }
        Schedule::Passed(passed) => {
            let seen = format!("nothing renews automatically: {}", neutral(&passed.to_string()));
            let next = match passed.why {
                RejectionReason::NoDaemon => format!("start that cron daemon; or {SCHEDULED}"),
                RejectionReason::User(_) => format!("let root run it; or {SCHEDULED}"),
                RejectionReason::Ignored(why) => format!("{}; or {SCHEDULED}", why.next(&neutral(&passed.by))),
                RejectionReason::State(_)
                | RejectionReason::Config(_)
                | RejectionReason::OneSshd(_)
                | RejectionReason::OnlyAtStart
                | RejectionReason::NeverStarts
                | RejectionReason::FixedYears => SCHEDULED.to_owned(),
            };
            Some(Problem::with(seen, next))
        }
        Schedule::Nothing => Some(Problem::with(
            "nothing renews automatically: no timer and no line of cron's runs `warded renew`",
            SCHEDULED,
        )),
    }
}

/// The problem if the next run comes only after a certificate expires. An expired certificate is reported separately.
fn too_late(schedule: &Schedule, next: Option<Timestamp>, end: Option<Timestamp>) -> Option<Problem> {
    let (next, end) = (next?, end.filter(|end| Timestamp::now() < *end)?);
    (next >= end).then(|| {
        let schedule = neutral(&schedule.to_string());
        let seen = format!("{schedule} renews next {}, and a certificate ends {}", time(next), time(end));
        Problem::with(seen, "warded renew renews what is due now; let the timer run every hour (docs/RENEWAL.md)")
    })
}

/// What is wrong with the job that an appliance should have.
fn job_gone(context: &Context) -> Result<Option<Problem>> {
    let Some((name, seen)) =
        transaction::job_left(&context.state)?.and_then(|step| Some((step.change.name, step.seen?)))
    else {
        return Ok(None);
    };
    Ok(match seen.now(context.runner.as_ref()) {
        Ok((now, _)) if now == seen.after => None,
        Ok(_) => Some(Problem::of_drift(
            format!("nothing renews automatically: the job that {name} made is gone"),
            "warded apply certify-host makes it again",
        )),
        Err(fault) => Some(Problem::of(format!("whether the job that {name} made is there cannot be seen: {fault}"))),
    })
}

/// A renewal that did not succeed, in words.
fn failed(renewal: &LastRenewal) -> Option<String> {
    let error = renewal.error?;
    let message = renewal.message.as_ref().map(|message| format!(": {}", neutral(message))).unwrap_or_default();
    Some(format!("the last renewal ({}) {error} (exit code {}){message}", time(renewal.at), renewal.exit))
}

/// The newest run, if another process than its own rolled it back.
///
/// # Errors
/// The journals cannot be read.
pub(in crate::cli) fn last_roll_back(context: &Context) -> Result<Option<LastRollBack>> {
    let Some(last) = LastRollBack::load(&context.state) else { return Ok(None) };
    Ok(transaction::newest(&context.state)?.filter(|newest| newest.run.run == last.run).map(|_| last))
}

/// The file systems with too little free space for what a renewal writes.
pub(in crate::cli) fn rooms(context: &Context) -> Vec<Problem> {
    let beside_sshd = context.places.sshd_config.as_path().parent().unwrap_or(Path::new("/"));
    let rooms = [context.state.path(), beside_sshd].map(|path| (path, space::scarce(path).ok().flatten()));
    let problem = |(path, scarce): (&Path, Option<space::SpaceShortage>)| {
        let seen = format!("the file system of {} is nearly full: {}", path.display(), scarce?);
        Some(Problem::with(seen, "make room there: a renewal writes its journal before it changes a file"))
    };
    rooms.into_iter().filter_map(problem).collect()
}

/// A note if the installed OpenSSH is not the version that proved the present configuration.
fn other_version(context: &Context, sshd: &Sshd) -> Option<String> {
    let LastProof { run, openssh, .. } = LastProof::load(&context.state)?;
    let now = sshd.version();
    let is_known = ![now, &openssh].contains(&UNKNOWN_VERSION);
    (is_known && now != openssh).then(|| {
        let openssh = neutral(&openssh);
        format!("this is OpenSSH {now}, and run {run} was proved with {openssh}; `warded renew --force` proves it anew")
    })
}

/// A note if no certificate has the machine's name: it may have been renamed or cloned.
fn other_name(hostname: &str, enrolled: &Enrolment) -> Option<String> {
    let is_it = |name: &String| {
        let (name, host) = (name.to_ascii_lowercase(), hostname.to_ascii_lowercase());
        let is_longer = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'));
        name == host || is_longer(&name, &host) || is_longer(&host, &name)
    };
    if hostname.is_empty() || enrolled.principals.is_empty() || enrolled.principals.iter().any(is_it) {
        return None;
    }
    let names: Vec<&str> = enrolled.principals.iter().map(String::as_str).collect();
    Some(format!("this machine is called {}, and is certified as {}", neutral(hostname), names.join(", ")))
}

/// A time for a person who reads it now.
pub(super) fn time(at: Timestamp) -> String {
    moment::when(at, Timestamp::now())
}
