//! `warded doctor`.

use super::{
    confirm::RECOVER,
    outlook::ProblemKind,
    output::{Output, Style},
    status::{self, StatusObject},
};
use crate::context::{Context, Options};
use clap::Args;
use serde::Serialize;
use std::{collections::BTreeMap, path::Path, time::Duration};
use warded_lib::{
    agent,
    ca::{
        CaError, CertificateAuthority as _, Kind, certificate, due, now,
        step::{
            StepAuthority, diagnosis,
            inspection::Concern,
            provisioner::{Provisioner, Purpose, choose},
        },
        verify,
    },
    error::{Error, Exit, Label, Result},
    machine::{
        bounded,
        facts::Init,
        schedule::{self, Starter},
        services,
        sshd::{Sshd, host_key::Standing},
    },
    moment::distance,
    text::{count, neutral},
};

#[derive(Debug, Args)]
pub(super) struct Doctor {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Not a fault, but worth knowing.
    Note,
    Warning,
    Wrong,
}

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    seen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct DoctorObject {
    schema: &'static str,
    healthy: bool,
    findings: Vec<Finding>,
}

impl Finding {
    fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, state: State::Ok, seen: seen.into(), next: None }
    }

    fn note(check: &'static str, seen: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check, state: State::Note, seen: seen.into(), next: Some(next.into()) }
    }

    fn warning(check: &'static str, seen: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check, state: State::Warning, seen: seen.into(), next: Some(next.into()) }
    }

    fn wrong(check: &'static str, seen: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check, state: State::Wrong, seen: seen.into(), next: Some(next.into()) }
    }

    /// The finding for an error.
    fn of(check: &'static str, error: &Error) -> Self {
        let next = error.notes_of(Label::Next).next().map(str::to_owned);
        Self { check, state: State::Wrong, seen: error.brief(), next }
    }
}

impl Doctor {
    pub(super) fn run(&self, context: &Context, options: &Options, output: Output) -> Result<Exit> {
        let mut findings = Vec::new();
        match context.authority.open_step() {
            Err(error @ CaError::OfRootOnly { .. }) => {
                findings.push(Finding::note("CA", error.to_string(), "sudo warded doctor"));
            }
            Err(error) => findings.push(Finding::of("CA", &error.into())),
            Ok(None) => findings.push(Finding::ok("CA", context.authority.identity())),
            Ok(Some(step)) => authority(step, &mut findings),
        }
        if status::is_without_root(options) {
            let seen = "the host keys, runs and the audit log can only be read by root";
            findings.push(Finding::note("machine", seen, "sudo warded doctor"));
        } else {
            machine(context, &mut findings)?;
        }
        let healthy = findings.iter().all(|finding| matches!(finding.state, State::Ok | State::Note));
        for finding in &findings {
            let (style, mark) = match finding.state {
                State::Ok => (Style::Green, "ok     "),
                State::Note => (Style::Dim, "note   "),
                State::Warning => (Style::Yellow, "warning"),
                State::Wrong => (Style::Red, "WRONG  "),
            };
            output.line(format!("{} {:12} {}", output.paint(style, mark), finding.check, finding.seen))?;
            for line in finding.next.iter().flat_map(|next| next.lines()) {
                output.line(format!("                     {line}"))?;
            }
        }
        output.object(&DoctorObject { schema: "warded.doctor/1", healthy, findings })?;
        Ok(if healthy { Exit::Done } else { Exit::Degraded })
    }
}

/// Checks everything about a step-ca, as far as it answers.
fn authority(step: &StepAuthority, findings: &mut Vec<Finding>) {
    let shown = match step.shown_provisioners() {
        Ok(shown) => shown,
        Err(error) => return findings.push(Finding::of("CA", &error.into())),
    };
    findings.push(Finding::ok("CA", format!("{} answers, and its root is the pinned one", step.describe())));
    findings.push(clock(step));
    match step.ssh_roots() {
        Err(error) => findings.push(Finding::of("SSH", &error.into())),
        Ok(roots) => {
            let kinds = [Kind::Host, Kind::User].into_iter().filter(|kind| !roots.of(*kind).is_empty());
            let signs: Vec<String> = kinds.map(|kind| format!("{kind} certificates")).collect();
            if !signs.is_empty() {
                findings.push(Finding::ok("SSH", format!("it signs {}", signs.join(" and "))));
            }
        }
    }
    match shown {
        Some(provisioners) => of_provisioners(provisioners, findings),
        None => findings.extend(step.provisioners().err().map(|error| {
            let seen = format!("the list of provisioners cannot be read, so they were not checked: {error}");
            Finding::ok("provisioner", seen)
        })),
    }
    match step.concerns() {
        Err(error) => findings.push(Finding::of("CA", &error.into())),
        Ok(concerns) => {
            if concerns.is_empty() {
                findings.push(Finding::ok("renewal", "the CA renews host certificates"));
            }
            findings.extend(concerns.into_iter().map(|concern| {
                let (seen, next) = (concern.seen(), concern.next(step.http().base()));
                if concern.stops_renewals() {
                    Finding::wrong("renewal", seen, next)
                } else if matches!(concern, Concern::RenamedProvisioner { .. }) {
                    // `renew` finds the provisioner that renews instead.
                    Finding::note("renewal", seen, next)
                } else {
                    Finding::warning("renewal", seen, next)
                }
            }));
        }
    }
}

fn of_provisioners(provisioners: &[Provisioner], findings: &mut Vec<Finding>) {
    for provisioner in provisioners {
        if let Some(state) = provisioner.state() {
            findings.push(Finding::warning(
                "provisioner",
                format!("{provisioner} does not work: {state}"),
                "look at the CA's log; it tries again when it is restarted or reloaded (SIGHUP)",
            ));
        }
    }
    let fits = |purpose| provisioners.iter().filter(move |found| found.unfit(purpose).is_none());
    let issuing: Vec<String> =
        fits(Purpose::IssueWithKey).chain(fits(Purpose::IssueWithX5c)).map(ToString::to_string).collect();
    findings.push(if issuing.is_empty() {
        Finding::wrong(
            "enrolment",
            "none of its provisioners issues host certificates",
            "on the CA, put this into \"claims\" of a JWK provisioner in ca.json and restart it: \"enableSSHCA\": true",
        )
    } else {
        Finding::ok("enrolment", format!("host certificates come from {}", issuing.join(", ")))
    });
    findings.push(match choose(provisioners, Purpose::RenewExpired, None) {
        Ok(found) => Finding::ok("expiry", format!("{found} also renews expired certificates")),
        Err(_) => Finding::note(
            "expiry",
            "this CA does not renew expired certificates: a machine that was off for longer needs new tokens",
            "to allow it: \"allowRenewalAfterExpiry\": true in the claims of the SSHPOP provisioner",
        ),
    });
}

fn clock(step: &StepAuthority) -> Finding {
    let ahead = step.http().ahead();
    if let Some(CaError::Refused { cause, next, .. }) = diagnosis::clock(&step.describe(), ahead) {
        return Finding::wrong("clock", cause, next);
    }
    match ahead {
        None => Finding::warning(
            "clock",
            "the CA does not say what time it is",
            "check which server answers at that address",
        ),
        Some(ahead) if ahead.abs() > 30_000 => Finding::warning(
            "clock",
            format!(
                "this machine's clock and the CA's are {} s apart; from one minute on, the CA refuses requests",
                ahead.abs() / 1000
            ),
            "timedatectl set-ntp true",
        ),
        Some(_) => Finding::ok("clock", "it agrees with the CA's to within 30 s"),
    }
}

/// Checks sshd, its keys and agents, the disk, the schedule, and the recovery at boot.
fn parts(context: &Context, status: &StatusObject) -> Vec<Finding> {
    let mut findings = vec![match &status.sshd {
        Some(version) if status.listening => Finding::ok("sshd", format!("OpenSSH {version} listens")),
        Some(version) => {
            let next = "start it, so that a change is seen live and not only proved beforehand";
            Finding::note("sshd", format!("OpenSSH {version} does not listen"), next)
        }
        None => Finding::note("sshd", "there is no sshd here", "install openssh-server where people log in"),
    }];
    findings.extend(status.keys().filter(|_| !status.keys_are_roots).map(|(path, why)| match why {
        None => Finding::ok("key", path),
        Some((why, next)) => Finding::note("key", format!("{path} gets no certificate: {why}"), next),
    }));
    if status::rooms(context).is_empty() {
        findings.push(Finding::ok("disk", "there is room for what a renewal writes"));
    }
    if status.is_enrolled() {
        let seen = &status.schedule;
        findings.push(match status.scheduled {
            Some(false) => {
                let next = "run `warded renew` every hour, from a systemd timer or cron: docs/RENEWAL.md";
                Finding::note("schedule", seen, next)
            }
            None => {
                Finding::note("schedule", seen, "see that something runs `warded renew` every hour: docs/RENEWAL.md")
            }
            Some(true) => Finding::ok("schedule", seen),
        });
    }
    findings.extend(recovery(context, status.is_enrolled()));
    findings.extend(agents(context));
    findings.extend(status.notes.iter().map(|note| {
        // Root can see here what an ordinary user cannot.
        let seen = note.replace("sudo warded status", "sudo warded doctor");
        Finding { next: None, ..Finding::note("machine", seen, "") }
    }));
    findings
}

/// Checks the recovery of an interrupted run at boot.
fn recovery(context: &Context, is_enrolled: bool) -> Option<Finding> {
    let has_systemd = context.facts.init == Init::Systemd;
    if has_systemd && services::is_enabled(RECOVER) {
        return Some(Finding::ok("recovery", format!("{RECOVER} is enabled")));
    }
    if let Some(file) = schedule::recovers_at_start(Path::new("/"), &context.installation) {
        let seen = format!("{} runs `warded recover` at the start of the machine", neutral(&file.to_string_lossy()));
        return Some(Finding::ok("recovery", seen));
    }
    let waits = "an interrupted run waits for the next command or renewal";
    if has_systemd {
        let next = format!("docs/RECOVERY.md has the unit: without it {waits}");
        return Some(Finding::note("recovery", format!("{RECOVER} is not enabled"), next));
    }
    let next = match Starter::of(Path::new("/"), context.facts.init) {
        Some(_) => {
            format!("`warded apply certify-host`, run again, installs it (docs/RECOVERY.md): without it {waits}")
        }
        None => format!("docs/RECOVERY.md has scripts for other inits: without one {waits}"),
    };
    is_enrolled.then(|| Finding::note("recovery", "nothing runs `warded recover` at the start of the machine", next))
}

/// Checks the agents that sign with host keys for sshd.
fn agents(context: &Context) -> Vec<Finding> {
    let sshd = Sshd::find(&context.places.sshd_config, context.sshd_binary.as_deref()).ok().flatten();
    let keys = sshd.and_then(|sshd| sshd.host_keys().ok()).unwrap_or_default();
    let mut findings = Vec::new();
    let mut held: BTreeMap<String, usize> = BTreeMap::new();
    for key in &keys {
        let Standing::InAgent { socket } = &key.standing else { continue };
        match agent::lost(key) {
            Some(lost) => {
                let seen = format!("{}: {}", neutral(&key.path.to_string_lossy()), lost.because());
                findings.push(Finding::wrong("agent", seen, lost.next()));
            }
            None => *held.entry(neutral(&socket.to_string_lossy())).or_default() += 1,
        }
    }
    let holds = |(socket, keys)| Finding::ok("agent", format!("{socket} holds {} for sshd", count(keys, "host key")));
    findings.extend(held.into_iter().map(holds));
    findings
}

/// Adds what `status` finds.
fn machine(context: &Context, findings: &mut Vec<Finding>) -> Result<()> {
    let status = status::look(context)?;
    for problem in status.warnings.iter().chain(&status.problems).filter(|problem| problem.kind != ProblemKind::Ca) {
        let next = problem.next.clone().unwrap_or_else(|| "warded status".to_owned());
        findings.push(Finding::wrong("machine", problem.seen.clone(), next));
    }
    if status.problems.is_empty() && !status.keys_are_roots {
        findings.push(Finding::ok("machine", "nothing is wrong with its certificates, and no run was interrupted"));
    }
    findings.extend(parts(context, &status));
    let Ok(roots) = context.authority.open().and_then(|authority| authority.roots(Kind::Host)) else { return Ok(()) };
    for path in status.certificate_files() {
        let Ok(bytes) = bounded::read(Path::new(path)) else { continue };
        let Ok(certificate) = certificate::parse(&bytes) else { continue };
        if let Err(wrong) = verify::signed_by(&certificate, &roots) {
            let next = "warded apply certify-host gets one from this CA";
            findings.push(Finding::wrong("certificate", format!("{path}: {wrong}"), next));
        } else if certificate.valid_before() <= now() {
            let next = "warded renew; if the CA does not renew what has expired: warded apply certify-host";
            findings.push(Finding::wrong("certificate", format!("{path} has expired"), next));
        } else if let Some(life) = due::short_life(&certificate, context.renew_every) {
            findings.push(Finding::warning(
                "certificate",
                format!(
                    "{path} is valid for {} in total: too short to be renewed every {}",
                    distance(life),
                    distance(Duration::from_secs(context.renew_every))
                ),
                "run warded renew more often, at least six times in that period; or on the CA, raise the claim \
                 \"defaultHostSSHCertDuration\" of the provisioner",
            ));
        }
    }
    Ok(())
}
