//! `warded status`: what is on disk, what is served, what is due.

mod advice;
mod circumstances;
mod configured;
mod drift;
mod principals;
mod prometheus;
mod recorded;
mod strict_modes;
mod unenrolled;
mod user_ca;
mod without_root;
mod words;

pub(super) use circumstances::{last_roll_back, rooms};
pub(super) use unenrolled::has_lost_enrolment;
use user_ca::UserCa;
pub(super) use user_ca::is_own as is_own_list;

use super::{
    outlook::{self, Outlook, Problem, ProblemKind},
    output::Output,
    prometheus::Metrics,
    recover, renew,
    report::{self, CertificateObject},
};
use crate::{
    components,
    context::{Context, Options},
    enrolment::{Enrolment, Enrolments},
    outcomes::{LastRenewal, LastRollBack},
    publishing::offered::{NewerVersion, newer},
};
use advice::Unserved;
use circumstances::Circumstances;
use clap::Args;
use configured::ConfigFindings;
use jiff::Timestamp;
use serde::Serialize;
use ssh_key::HashAlg;
use std::{collections::BTreeSet, path::PathBuf};
use warded_lib::{
    agent,
    ca::{self, Certificate, Kind, certificate, due, verify},
    config,
    error::{Exit, Result},
    guard::{ListenerOffer, former_key::former, live},
    machine::{
        keys::public::RawPublicKey,
        path::AbsolutePath,
        sshd::{
            self, Sshd,
            host_key::{IgnoredReason, UncertifiedReason},
        },
    },
    text::neutral,
    transaction,
};

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Write metrics for Prometheus' textfile collector instead of text: into a file, or to standard output
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with = "json")]
    #[expect(clippy::option_option, reason = "clap's: not given, given, given with a value")]
    prometheus: Option<Option<PathBuf>>,
}

#[derive(Serialize)]
pub(super) struct StatusObject {
    schema: &'static str,
    healthy: bool,
    hostname: String,
    os: String,
    sshd_config: AbsolutePath,
    pub(super) sshd: Option<String>,
    pub(super) listening: bool,
    /// Whether sshd allows no algorithm that Warded itself speaks, so that the `ssh` program asked it.
    needed_ssh: bool,
    enrolled: Option<Enrolment>,
    host_keys: Vec<HostKey>,
    /// The CA keys that sshd's list trusts, if the list is Warded's own.
    user_cas: Vec<UserCa>,
    /// The other enrolled sshds, unless the operator named one.
    others: Vec<Self>,
    interrupted: Option<u64>,
    /// A run that is rolled back unless it is confirmed in time.
    unconfirmed: Option<u64>,
    pub(super) problems: Vec<Problem>,
    /// Faults of sshd's logins that Warded did not cause and that do not hinder it.
    pub(super) warnings: Vec<Problem>,
    /// Whether the CA answered; null if it was not asked.
    ca_reachable: Option<bool>,
    /// How the last `warded renew` ended.
    last_renewal: Option<LastRenewal>,
    /// When the next certificate is due.
    due: Option<Timestamp>,
    /// What runs `warded renew` by the clock.
    pub(super) schedule: String,
    /// The time of the next run, if systemd knows it.
    next_run: Option<Timestamp>,
    /// Whether something runs it; null if that is not known.
    pub(super) scheduled: Option<bool>,
    /// The newest run, if another process rolled it back.
    rolled_back: Option<LastRollBack>,
    /// Higher versions of accepted policies that packages offer.
    offered: Vec<NewerVersion>,
    /// What is not a problem yet.
    pub(super) notes: Vec<String>,
    /// Whether only root can read the host keys.
    #[serde(skip)]
    pub(super) keys_are_roots: bool,
}

impl StatusObject {
    /// Each host key's file; if no certificate is requested for it, also why, and what to do.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, Option<(&str, &str)>)> {
        self.host_keys.iter().map(|key| {
            let why = key.left_alone.as_deref().map(|why| (why, key.next.as_deref().unwrap_or_default()));
            (key.path.as_str(), why)
        })
    }

    /// Whether `renew` has something to do here.
    pub(super) fn is_enrolled(&self) -> bool {
        self.enrolled.is_some()
    }

    /// The files of the host keys' certificates.
    pub(super) fn certificate_files(&self) -> impl Iterator<Item = &str> {
        let sshds = std::iter::once(self).chain(&self.others);
        let files: BTreeSet<&str> =
            sshds.flat_map(|sshd| &sshd.host_keys).map(|key| key.certificate_file.as_str()).collect();
        files.into_iter()
    }

    /// Adds the status of another sshd. What concerns the machine or the CA is not repeated.
    fn add(&mut self, other: Self) {
        let config = other.sshd_config.clone();
        let named = |problem: &Problem| Problem { seen: format!("{config}: {}", problem.seen), ..problem.clone() };
        let new: Vec<_> = other.problems.iter().filter(|problem| !self.problems.contains(problem)).map(named).collect();
        self.problems.extend(new);
        let new: Vec<_> = other.warnings.iter().filter(|problem| !self.warnings.contains(problem)).map(named).collect();
        self.warnings.extend(new);
        let new: Vec<_> = other.notes.iter().filter(|note| !self.notes.contains(note)).cloned().collect();
        self.notes.extend(new);
        self.others.push(other);
    }
}

#[derive(Serialize)]
struct HostKey {
    path: String,
    algorithm: String,
    certificate: Option<CertificateObject>,
    due: Option<Timestamp>,
    /// Whether sshd serves the certificate; null if nothing listens that could be asked.
    served: Option<bool>,
    /// Why no certificate is requested for it.
    left_alone: Option<String>,
    problem: Option<String>,
    #[serde(skip)]
    problem_kind: ProblemKind,
    #[serde(skip)]
    next: Option<String>,
    #[serde(skip)]
    until: String,
    #[serde(skip)]
    parsed: Option<Certificate>,
    /// The path of its certificate, whether or not the file exists.
    #[serde(skip)]
    certificate_file: String,
}

/// Whether this user can see only what root publishes to everybody.
pub(super) fn is_without_root(options: &Options) -> bool {
    without_root::file(options).is_some()
}

impl Status {
    pub(super) fn run(&self, open: &impl Fn() -> Result<Context>, options: &Options, output: Output) -> Result<Exit> {
        if let Some(file) = without_root::file(options) {
            return without_root::run(&file, options, output, self);
        }
        let status = look(&open()?)?;
        if !self.writes(output, || prometheus::of(&status))? {
            words::show(&status, output)?;
        }
        output.object(&status)?;
        Ok(if status.healthy { Exit::Done } else { Exit::Degraded })
    }

    /// Writes metrics, if the user asked for them.
    fn writes(&self, output: Output, metrics: impl FnOnce() -> Metrics) -> Result<bool> {
        match &self.prometheus {
            None => Ok(false),
            Some(None) => output.verbatim(metrics().text().trim_end()).map(|()| true),
            Some(Some(file)) => {
                let written = metrics().write(file).map(|()| true);
                written.map_err(|error| {
                    let is_refused = error.exit() == Exit::Refused;
                    if is_refused { error.next("without FILE, metrics go to standard output") } else { error }
                })
            }
        }
    }
}

/// Checks everything, and asks sshd what it serves.
///
/// # Errors
/// Something of Warded's own cannot be read.
pub(super) fn look(context: &Context) -> Result<StatusObject> {
    let enrolments = Enrolments::load(&context.state)?;
    let config = &context.places.sshd_config;
    let mut status = look_at(context, enrolments.of(config))?;
    for enrolled in enrolments.beside(config).filter(|_| !context.is_sshd_chosen) {
        let config = &enrolled.sshd_config;
        if renew::is_gone(enrolled) {
            status.problems.push(Problem::with(renew::gone(enrolled), renew::gone_next(enrolled)));
            continue;
        }
        match look_at(&context.for_sshd(config), Some(enrolled)) {
            Ok(other) => status.add(other),
            Err(error) => status.problems.push(Problem::of(format!("{config}: {}", error.message()))),
        }
    }
    status.problems.extend(drift::look(context)?);
    // Policies that cannot be read are reported where something depends on them.
    let accepted = components::load(&context.policies).unwrap_or_default();
    status.offered = accepted.iter().filter_map(|accepted| newer(&context.offered, accepted)).collect();
    status.notes.extend(status.offered.iter().map(ToString::to_string));
    status.healthy = status.problems.is_empty();
    Ok(status)
}

/// Checks one sshd, and asks it what it serves.
fn look_at(context: &Context, enrolled: Option<&Enrolment>) -> Result<StatusObject> {
    let sshd = context.settled_sshd(enrolled.is_some())?;
    let mut problems = Vec::new();
    // A connection also makes the running sshd read these files.
    let has_end = |sshd: &&Sshd| sshd::tree::refuse_endless(sshd.config.as_path()).is_ok();
    let offered = sshd.as_ref().filter(has_end).map_or(Ok(None), live::served);
    let offered = offered.unwrap_or_else(|error| {
        problems.push(Problem::of(error.message()));
        None
    });
    let configured = sshd.as_ref().map(|sshd| configured::look(context, sshd, enrolled)).transpose()?;
    let ConfigFindings { keys, named, algorithms, user_cas, problems: wrong, warnings, notes: user_notes, is_broken } =
        configured.unwrap_or_default();
    problems.extend(wrong);
    let on_disk = |key: &sshd::HostKey| Some((key.path.clone(), key.public.as_ref()?.key()?));
    let on_disk: Vec<_> = keys.iter().filter_map(on_disk).collect();
    let asked = offered.as_ref().zip(sshd.as_ref().and_then(|sshd| sshd.listener.as_ref()));
    let former = asked.map(|(offered, listener)| former(offered, &on_disk, listener)).unwrap_or_default();
    problems.extend(former.iter().map(|former| Problem::with(former.to_string(), former.next())));
    let unserved = Unserved { algorithms, has_former_key: !former.is_empty() };
    let look = |key| host_key(context, (key, &named), offered.as_ref(), enrolled.is_some(), &unserved);
    let host_keys: Vec<HostKey> = keys.iter().filter_map(look).collect();
    problems.extend(host_keys.iter().filter_map(|key| {
        let seen = format!("{}: {}", key.path, key.problem.as_ref()?);
        Some(Problem { next: key.next.clone(), kind: key.problem_kind, ..Problem::of(seen) })
    }));
    problems.extend(enrolled.iter().flat_map(|_| advice::without_key(&named, &host_keys, &on_disk)));
    let certificates: Vec<_> =
        host_keys.iter().filter_map(|key| Some((key.certificate_file.clone(), key.parsed.clone()?))).collect();
    let due = host_keys.iter().filter_map(|key| key.due).min();
    let end = certificates.iter().filter_map(|(_, certificate)| report::time(certificate.valid_before())).min();
    let is_due = due.is_some_and(|due| due <= Timestamp::now());
    let around = Circumstances::look(context, sshd.as_ref(), enrolled, (is_due, end))?;
    let Outlook { problems: coming, mut notes, ca_reachable } =
        enrolled.map(|enrolled| outlook::look(context, enrolled, &certificates)).unwrap_or_default();
    problems.extend(coming.into_iter().chain(around.problems));
    notes.extend(around.notes.into_iter().chain(user_notes));
    let interrupted = transaction::interrupted(&context.state)?;
    let unconfirmed = transaction::unconfirmed(&context.state)?;
    problems.extend(recover::damaged(context)?);
    let rolled_back = transaction::being_rolled_back(&context.state)?;
    let unended = recover::unended(interrupted.as_ref(), unconfirmed.as_ref(), rolled_back.as_ref());
    problems.extend(unended.map(Problem::of));
    let unreadable = sshd.as_ref().filter(|_| !is_broken && keys.iter().all(advice::is_hidden));
    let keys_are_roots = unreadable.is_some() && !config::is_root();
    if let Some(sshd) = unreadable {
        if config::is_root() {
            problems.push(Problem::of(format!("sshd {} has no host key that can be read", sshd.version())));
        } else {
            notes.push("the host keys can only be read by root: sudo warded status".to_owned());
        }
    }
    Ok(StatusObject {
        schema: "warded.status/1",
        healthy: problems.is_empty(),
        hostname: neutral(&context.facts.hostname),
        os: neutral(&context.facts.os_name),
        sshd_config: context.places.sshd_config.clone(),
        listening: sshd.as_ref().is_some_and(|sshd| sshd.listener.is_some()),
        needed_ssh: offered.is_some_and(|offered| offered.by_program),
        sshd: sshd.map(|sshd| sshd.version().to_owned()),
        enrolled: enrolled.cloned(),
        host_keys,
        user_cas,
        others: Vec::new(),
        interrupted: interrupted.map(|journal| journal.run.run),
        unconfirmed: unconfirmed.map(|journal| journal.run.run),
        problems,
        warnings,
        ca_reachable,
        last_renewal: around.last_renewal,
        due,
        schedule: around.schedule.to_string(),
        next_run: around.next_run,
        scheduled: around.schedule.is_there(),
        rolled_back: around.last_roll_back,
        offered: Vec::new(),
        notes,
        keys_are_roots,
    })
}

/// The status of one host key; `None` if Warded does not use its path. `named` are the values that sshd reports for
/// `HostCertificate`.
fn host_key(
    context: &Context,
    (found, named): (&sshd::HostKey, &[String]),
    offered: Option<&ListenerOffer>,
    enrolled: bool,
    unserved: &Unserved,
) -> Option<HostKey> {
    let path = AbsolutePath::spelled(&found.private_path()).ok()?;
    let public = found.public.as_ref().and_then(RawPublicKey::key);
    let certificate_file = certificate::whereabouts(named, path.as_str(), public.as_ref());
    let certificate = advice::certificate_in(&certificate_file);
    let mut key = HostKey {
        path: path.to_string(),
        algorithm: neutral(found.public.as_ref().map_or("unknown", |public| public.algorithm())),
        certificate: None,
        due: None,
        served: None,
        left_alone: None,
        problem: None,
        problem_kind: ProblemKind::Other,
        next: None,
        parsed: None,
        certificate_file,
        until: String::new(),
    };
    let public = match found.certifiable() {
        Ok(public) => public,
        Err(why) => {
            // A key that has been certified has also been served.
            let was_certified = enrolled && matches!(certificate, Some(Ok(_)));
            let is_expected = |why: &_| matches!(why, IgnoredReason::SecondOfItsType(_) | IgnoredReason::Unreadable(_));
            let is_lost = matches!(&why, UncertifiedReason::Ignored(why) if !is_expected(why));
            key.problem = (was_certified && is_lost).then(|| why.because());
            key.next = why.next(&found.path);
            key.left_alone = Some(why.because());
            return Some(key);
        }
    };
    let lost = agent::lost(found).filter(|_| enrolled);
    let fingerprint = public.fingerprint(HashAlg::Sha256).to_string();
    // A key that sshd does not offer needs no certificate.
    let is_offered = offered.is_none_or(|offered| offered.keys.iter().any(|seen| seen.fingerprint == fingerprint));
    match certificate {
        None if enrolled && is_offered => {
            (key.problem, key.next) = (Some("no certificate".to_owned()), Some(advice::NONE.to_owned()));
        }
        None => {}
        Some(Err(error)) => key.problem = Some(error),
        Some(Ok(certificate)) => {
            key.until = report::until(&certificate);
            let due = due::due_at(&certificate, context.renew_after, &context.facts.machine_id);
            key.due = due.and_then(report::time);
            key.served =
                offered.map(|offered| offered.certificates.iter().any(|seen| seen.seen.serial == certificate.serial()));
            let wrong = verify::problem(&certificate, Kind::Host, std::slice::from_ref(&public), ca::now());
            // A certificate with another fault is reported with that fault, and not renewed.
            if matches!(wrong, None | Some(verify::CertificateFault::Expired(_))) {
                key.parsed = Some(certificate.clone());
            }
            if let Some(wrong) = wrong {
                let (seen, next) = advice::on(&wrong, &key.until, enrolled);
                (key.problem, key.next) = (Some(seen), next);
            } else if enrolled && is_offered && !named.contains(&key.certificate_file) {
                (key.problem, key.next, key.problem_kind) = advice::unnamed(key.served);
            } else if key.served == Some(false) && is_offered {
                (key.problem, key.next) = unserved.problem(&certificate);
            }
            key.certificate = Some(CertificateObject::from(&certificate));
        }
    }
    if let Some(lost) = lost {
        (key.problem, key.next, key.problem_kind) = (Some(lost.because()), Some(lost.next()), ProblemKind::Other);
    } else if enrolled && let Some(error) = advice::unusable(context, found, &path, key.parsed.is_some()) {
        let unusable = Problem::of_error("renew would not use it", &error);
        (key.problem, key.next, key.problem_kind) = (Some(unusable.seen), unusable.next, unusable.kind);
    }
    Some(key)
}
