//! `warded status` for a user of the machine: what anybody can see, and what root has recorded for everybody.

use super::{Status, circumstances::time, prometheus};
use crate::{
    cli::{
        outlook::Problem,
        output::{Output, Style},
        report,
    },
    context::Options,
    public_status::{CertifiedKey, PublicStatus, file_of, file_of_machine},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};
use warded_lib::{
    ca::{self, Certificate, Kind, certificate},
    config::{self, Config},
    error::{Error, Exit, Result},
    machine::{
        facts::Facts,
        files,
        path::AbsolutePath,
        schedule::is_of_machine,
        sshd::{Sshd, default_config},
    },
    moment,
    text::neutral,
};

/// More certificates than any machine has.
const MAX_CERTIFICATES: usize = 64;
/// More than a certificate takes.
const MAX_BYTES: u64 = 64 << 10;
/// How long after a renewal was due it counts as missing: two daily runs.
const OVERDUE: SignedDuration = SignedDuration::from_hours(48);

/// Where no schedule was found.
const UNSCHEDULED: &str = "no timer and no line of cron's runs `warded renew`";
/// What to do then.
const SCHEDULED: &str =
    "sudo warded apply certify-host schedules it where systemd or cron runs; else see docs/RENEWAL.md";

#[derive(Serialize)]
struct StatusWithoutRoot {
    schema: &'static str,
    healthy: bool,
    hostname: String,
    os: String,
    sshd: Option<String>,
    /// The host certificates that this user can read.
    certificates: Vec<SeenCertificate>,
    /// What root has recorded; none: nothing.
    recorded: Option<PublicStatus>,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct SeenCertificate {
    path: String,
    until: Option<Timestamp>,
    #[serde(skip)]
    words: String,
    #[serde(skip)]
    has_expired: bool,
}

/// The file that root writes for this machine, where the user who runs this has no state, and sshd is
/// somebody else's.
pub(super) fn file(options: &Options) -> Option<PathBuf> {
    if config::is_root() {
        return None;
    }
    let config = Config::load(options.config.as_deref()).ok()?;
    let us = rustix::process::geteuid().as_raw();
    let is_others = |path: &Path| fs::metadata(path).map_or(true, |found| found.uid() != us);
    let configured = config.sshd_config.as_ref().map(AbsolutePath::as_path);
    let sshd_config = options.sshd_config.as_deref().or(configured).unwrap_or(Path::new(default_config()));
    if !is_others(sshd_config) {
        return None;
    }
    let named = options.state.clone().or_else(|| config.state.map(|path| path.as_path().to_owned()));
    match named {
        Some(state) => (state.exists() && is_others(&state)).then(|| file_of(&state)),
        None => (!config::default_state().join("enrolment.json").exists()).then(file_of_machine),
    }
}

/// Shows what there is.
pub(super) fn run(file: &Path, options: &Options, output: Output, asked: &Status) -> Result<Exit> {
    let facts = Facts::read(Path::new("/"));
    let sshd_config = options.sshd_config.clone().unwrap_or_else(|| default_config().into());
    let sshd = AbsolutePath::try_from(sshd_config.as_path())
        .ok()
        .and_then(|config| Sshd::find(&config, options.sshd.as_deref()).ok().flatten());
    let certificates = certificates(sshd_config.parent().unwrap_or(Path::new("/")));
    let (recorded, mut problems) = match PublicStatus::read(file) {
        Ok(recorded) => (recorded, Vec::new()),
        Err(error) => (None, vec![Problem::of(error.brief())]),
    };
    let expired = certificates.iter().filter(|seen| seen.has_expired);
    problems.extend(expired.map(|seen| Problem::with(format!("{} has expired", seen.path), "sudo warded renew")));
    let mut notes = Vec::new();
    match &recorded {
        Some(recorded) => {
            let is_scheduled = !is_of_machine(&sshd_config) || recorded.scheduled != Some(false);
            judge(recorded, Timestamp::now(), is_scheduled, &mut problems, &mut notes);
            let seen = certificates.iter().filter(|seen| seen.has_expired).count();
            problems.extend(expired_keys(recorded, seen, Timestamp::now()));
        }
        None if certificates.is_empty() || !problems.is_empty() => {}
        None => problems.push(Problem::with(
            format!("root has recorded nothing in {}, so nobody knows here whether they are renewed", file.display()),
            "sudo warded renew records it",
        )),
    }
    let status = StatusWithoutRoot {
        schema: "warded.status-without-root/1",
        healthy: problems.is_empty(),
        hostname: neutral(&facts.hostname),
        os: neutral(&facts.os_name),
        sshd: sshd.map(|sshd| sshd.version().to_owned()),
        certificates,
        recorded,
        problems,
        notes,
    };
    if !asked.writes(output, || prometheus::of_public(status.recorded.as_ref(), status.healthy))? {
        show(&status, file, output)?;
    }
    output.object(&status)?;
    Ok(if status.healthy { Exit::Done } else { Exit::Degraded })
}

/// The host certificates beside sshd's configuration.
fn certificates(directory: &Path) -> Vec<SeenCertificate> {
    let listed = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = listed.filter(|path| path.to_string_lossy().ends_with("-cert.pub")).collect();
    paths.sort_unstable();
    let parsed = |path: &PathBuf| {
        let bytes = files::read_ours(path, MAX_BYTES, |why| Error::failed(why.to_string())).ok()??;
        let certificate = certificate::parse(&bytes).ok().filter(|found| found.kind() == Kind::Host)?;
        Some(seen(path, &certificate))
    };
    paths.iter().take(MAX_CERTIFICATES).filter_map(parsed).collect()
}

fn seen(path: &Path, certificate: &Certificate) -> SeenCertificate {
    SeenCertificate {
        path: neutral(&path.display().to_string()),
        until: report::time(certificate.valid_before()),
        words: report::until(certificate),
        has_expired: certificate.valid_before() <= ca::now(),
    }
}

/// What is wrong with what root has recorded.
fn judge(
    recorded: &PublicStatus,
    now: Timestamp,
    is_scheduled: bool,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<String>,
) {
    if recorded.ca.is_some() && !is_scheduled {
        problems.push(Problem::with(format!("nothing renews automatically: {UNSCHEDULED}"), SCHEDULED));
    }
    if recorded.change_waits {
        let next = "sudo warded status says which, and until when";
        problems.push(Problem::with("a change is rolled back unless it is confirmed", next));
    }
    let due = recorded.due.filter(|due| *due <= now);
    let failed = recorded.last_renewal.as_ref().and_then(|last| Some((last.at, last.error?, last.exit)));
    match (due, failed) {
        (Some(_), Some((at, error, exit))) => {
            let seen = format!("the last renewal ({}) {error} (exit code {exit})", time(at));
            problems.push(Problem::with(seen, "sudo warded status says why"));
        }
        (None, Some((at, error, exit))) => {
            notes.push(format!("the last renewal ({}) {error} (exit code {exit}); none is due yet", time(at)));
        }
        (Some(due), None) if now.duration_since(due) > OVERDUE => {
            let since = moment::distance(now.duration_since(due).unsigned_abs());
            problems.push(Problem::with(
                format!("a renewal has been due for {since}, and there was none"),
                "sudo warded renew shows why; run it every hour from cron or a systemd timer (docs/RENEWAL.md)",
            ));
        }
        (Some(_) | None, None) => {}
    }
}

/// The recorded certificates that have ended, where these are more than the user sees.
fn expired_keys(recorded: &PublicStatus, seen: usize, now: Timestamp) -> Option<Problem> {
    let has_ended = |key: &&CertifiedKey| key.until.is_some_and(|until| until <= now);
    let keys: Vec<&str> = recorded.keys.iter().filter(has_ended).map(|key| key.algorithm.as_str()).collect();
    let told = || format!("certificates have expired: {}", keys.join(", "));
    (keys.len() > seen).then(|| Problem::with(told(), "sudo warded renew"))
}

fn show(status: &StatusWithoutRoot, file: &Path, output: Output) -> Result<()> {
    let sshd = status.sshd.as_ref().map_or_else(|| "no sshd".to_owned(), |version| format!("OpenSSH {version}"));
    output.line(format!("{} · {} · {sshd}", status.hostname, status.os))?;
    let width = status.certificates.iter().map(|seen| seen.path.chars().count()).max().unwrap_or_default();
    for seen in &status.certificates {
        output.line(format!("certificate  {:width$}  {}", seen.path, seen.words))?;
    }
    match &status.recorded {
        Some(recorded) => {
            let at = fs::metadata(file).and_then(|found| found.modified()).ok();
            let at = at.and_then(|at| Timestamp::try_from(at).ok()).map(|at| format!(", {}", time(at)));
            output.line(format!("recorded by root in {}{}:", file.display(), at.unwrap_or_default()))?;
            // What this user sees as well is said once.
            let unseen = if status.certificates.is_empty() { recorded.keys.as_slice() } else { &[] };
            show_recorded(recorded, unseen, output)?;
        }
        None if status.certificates.is_empty() => {
            output.line("enrolled     not as far as can be seen without root: sudo warded status")?;
        }
        None => {}
    }
    output.line("private      whether sshd serves them, the CA's answer, runs, the audit log: sudo warded status")?;
    for note in &status.notes {
        output.line(format!("note         {note}"))?;
    }
    if status.problems.is_empty() {
        return output.line("problems     none");
    }
    let mut problems = status.problems.iter();
    problems.try_for_each(|one| output.line(format!("problem      {}", output.paint(Style::Red, &one.to_string()))))
}

fn show_recorded(recorded: &PublicStatus, keys: &[CertifiedKey], output: Output) -> Result<()> {
    let Some(ca) = recorded.ca_in_words() else { return output.line("  enrolled     no") };
    let names: Vec<&str> = recorded.names.iter().map(String::as_str).collect();
    output.line(format!("  enrolled     {} by {}", names.join(" "), ca))?;
    for key in keys {
        let until = key.until.map_or_else(|| "without end".to_owned(), |end| moment::left(end, Timestamp::now()));
        output.line(format!("  host key     {:20} {until}", key.algorithm))?;
    }
    if let Some(due) = recorded.due {
        output.line(format!("  renewal      due {}", time(due)))?;
    }
    if let Some(last) = &recorded.last_renewal {
        let how = last.error.map_or_else(|| "succeeded".to_owned(), |error| error.to_string());
        output.line(format!("  last run     {}: {how}", time(last.at)))?;
    }
    let schedule = match recorded.scheduled {
        Some(true) => "yes",
        Some(false) => &format!("none: {UNSCHEDULED}"),
        None => "unknown",
    };
    output.line(format!("  schedule     {schedule}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{outcomes::Failure, public_status::PublicRenewal};

    #[test]
    fn what_is_recorded_is_judged_as_root_would() {
        let now = Timestamp::from_second(2_000_000_000).unwrap();
        let hours = |hours: i64| now - SignedDuration::from_hours(hours);
        let renewal = |exit, error| Some(PublicRenewal { at: hours(1), exit, error });
        for (case, recorded, problem, note) in [
            ("nothing", PublicStatus::empty(), None, None),
            ("healthy", PublicStatus { due: Some(hours(-100)), ..PublicStatus::empty() }, None, None),
            ("waits", PublicStatus { change_waits: true, ..PublicStatus::empty() }, Some("confirmed"), None),
            (
                "failed while nothing was due",
                PublicStatus {
                    due: Some(hours(-1)),
                    last_renewal: renewal(6, Some(Failure::Unreachable)),
                    ..PublicStatus::empty()
                },
                None,
                Some("did not reach the CA"),
            ),
            (
                "failed since it was due",
                PublicStatus {
                    due: Some(hours(2)),
                    last_renewal: renewal(6, Some(Failure::Unreachable)),
                    ..PublicStatus::empty()
                },
                Some("did not reach the CA (exit code 6)"),
                None,
            ),
            ("due a while", PublicStatus { due: Some(hours(47)), ..PublicStatus::empty() }, None, None),
            (
                "not scheduled, not enrolled",
                PublicStatus { scheduled: Some(false), ..PublicStatus::empty() },
                None,
                None,
            ),
            (
                "not scheduled",
                PublicStatus { scheduled: Some(false), ca: Some("local".to_owned()), ..PublicStatus::empty() },
                Some("nothing renews automatically"),
                None,
            ),
            ("overdue", PublicStatus { due: Some(hours(49)), ..PublicStatus::empty() }, Some("2 days"), None),
        ] {
            let (mut problems, mut notes) = (Vec::new(), Vec::new());
            judge(&recorded, now, recorded.scheduled != Some(false), &mut problems, &mut notes);
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(problems.len(), usize::from(problem.is_some()), "{case}: {problems:?}");
            assert!(problem.is_none_or(|problem| problems[0].contains(problem)), "{case}: {problems:?}");
            assert_eq!(notes.len(), usize::from(note.is_some()), "{case}: {notes:?}");
            assert!(note.is_none_or(|note| notes[0].contains(note)), "{case}: {notes:?}");
        }
    }
}
