//! `warded status` for an ordinary user: what everybody can see, and what root has recorded for everybody.

use super::{Status, circumstances::time, prometheus, recorded};
use crate::{
    cli::{
        outlook::{Problem, too_short},
        output::{Output, Style},
        report,
    },
    context::{Options, rhythm_of_machine},
    outcomes::Failure,
    public_status::{CertifiedKey, PublicStatus, file_of, file_of_machine},
};
use jiff::Timestamp;
use serde::Serialize;
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};
use warded_lib::{
    ca::{self, Certificate, Kind, certificate, due},
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
/// What to say if no schedule was found.
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
    certificates: Vec<VisibleCertificate>,
    /// What root has recorded; `None` if there is nothing.
    recorded: Option<PublicStatus>,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct VisibleCertificate {
    path: String,
    until: Option<Timestamp>,
    #[serde(skip)]
    words: String,
    #[serde(skip)]
    has_expired: bool,
    #[serde(skip)]
    certificate: Certificate,
}

/// The status file that root writes for this machine, if this user has no state of their own and sshd belongs to
/// somebody else.
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

/// Shows the status.
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
            let rhythm = rhythm_of_machine(&sshd_config, facts.init);
            let holding = certificates.iter().filter(|seen| !seen.has_expired);
            problems.extend(rhythm.and_then(|rhythm| {
                holding.map(|seen| &seen.certificate).find_map(|certificate| too_short(certificate, rhythm))
            }));
            judge((recorded, Timestamp::now()), (rhythm, is_scheduled), &mut problems, &mut notes);
            let seen = certificates.iter().filter(|seen| seen.has_expired).count();
            problems.extend(expired_keys(recorded, seen, Timestamp::now()));
            let names = |argument: &String| {
                let argument = argument.to_lowercase();
                argument.starts_with("-c") || argument.contains("hostcertificate")
            };
            problems.extend(recorded::look(recorded, sshd.iter().flat_map(|sshd| &sshd.arguments).any(names)));
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
    if !asked.writes(output, || prometheus::of_public(status.recorded.as_ref(), status.problems.len()))? {
        show(&status, file, output)?;
    }
    output.object(&status)?;
    Ok(if status.healthy { Exit::Done } else { Exit::Degraded })
}

/// The host certificates beside sshd's configuration.
fn certificates(directory: &Path) -> Vec<VisibleCertificate> {
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

fn seen(path: &Path, certificate: &Certificate) -> VisibleCertificate {
    VisibleCertificate {
        path: neutral(&path.display().to_string()),
        until: report::time(certificate.valid_before()),
        words: report::until(certificate),
        has_expired: certificate.valid_before() <= ca::now(),
        certificate: certificate.clone(),
    }
}

/// What is wrong with what root has recorded. `rhythm` is the number of seconds between two renewals, if that is known.
fn judge(
    (recorded, now): (&PublicStatus, Timestamp),
    (rhythm, is_scheduled): (Option<u64>, bool),
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
        // The CA may answer again before a certificate is due; every other failure will repeat.
        (None, Some((at, error @ Failure::Unreachable, exit))) => {
            notes.push(format!("the last renewal ({}) {error} (exit code {exit}); none is due yet", time(at)));
        }
        (Some(_) | None, Some((at, error, exit))) => {
            let seen = format!("the last renewal ({}) {error} (exit code {exit})", time(at));
            problems.push(Problem::with(seen, "sudo warded status says why"));
        }
        (Some(due), None) if recorded.keys.iter().any(|key| is_overdue(key, now, rhythm)) => {
            let since = moment::distance(now.duration_since(due).unsigned_abs());
            problems.push(Problem::with(
                format!("a renewal has been due for {since}, and there was none"),
                "sudo warded renew shows why; run it every hour from cron or a systemd timer (docs/RENEWAL.md)",
            ));
        }
        (Some(_) | None, None) => {}
    }
}

/// Whether a certificate should have been renewed by now: by the rule that root uses if the rhythm is known; otherwise
/// if half of the time from its due date to its expiry is over. An expired certificate is reported separately.
fn is_overdue(key: &CertifiedKey, now: Timestamp, rhythm: Option<u64>) -> bool {
    let seconds = |at: Timestamp| u64::try_from(at.as_second()).unwrap_or_default();
    let (Some(due), until) = (key.due.map(seconds), key.until.map_or(u64::MAX, seconds)) else { return false };
    let now = seconds(now);
    let rhythm = rhythm.unwrap_or_else(|| until.saturating_sub(due) / 4);
    now < until && due::is_overdue(due, now, rhythm)
}

/// The recorded certificates that have expired, if there are more than the user sees.
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
            // What this user can see is not repeated.
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
    use crate::public_status::PublicRenewal;
    use jiff::SignedDuration;

    const NOW: i64 = 2_000_000_000;

    fn in_hours(hours: i64) -> Timestamp {
        Timestamp::from_second(NOW).unwrap() + SignedDuration::from_hours(hours)
    }

    /// A status with one certificate that has been due for so many hours, and expires in so many.
    fn due_for(hours: i64, left: i64) -> PublicStatus {
        let due = Some(in_hours(-hours));
        let (algorithm, until) = ("ssh-ed25519".to_owned(), Some(in_hours(left)));
        let key = CertifiedKey { algorithm, until, due, file: None, sshd_config: None };
        PublicStatus { due, keys: vec![key], ..PublicStatus::empty() }
    }

    fn judged(recorded: &PublicStatus, rhythm: Option<u64>) -> (Vec<String>, Vec<String>) {
        let (mut problems, mut notes) = (Vec::new(), Vec::new());
        let is_scheduled = recorded.scheduled != Some(false);
        judge((recorded, in_hours(0)), (rhythm, is_scheduled), &mut problems, &mut notes);
        (problems.iter().map(ToString::to_string).collect(), notes)
    }

    #[test]
    fn what_is_recorded_is_told() {
        let failed = Some(PublicRenewal { at: in_hours(-1), exit: 6, error: Some(Failure::Unreachable) });
        let left = Some(PublicRenewal { at: in_hours(-1), exit: 4, error: Some(Failure::Attention) });
        for (case, recorded, problem, note) in [
            ("nothing", PublicStatus::empty(), None, None),
            ("healthy", due_for(-100, 400), None, None),
            ("waits", PublicStatus { change_waits: true, ..PublicStatus::empty() }, Some("confirmed"), None),
            (
                "failed while nothing was due",
                PublicStatus { last_renewal: failed.clone(), ..due_for(-1, 9) },
                None,
                Some("did not reach the CA"),
            ),
            (
                "left a key while nothing was due",
                PublicStatus { last_renewal: left, ..due_for(-1, 9) },
                Some("did not renew everything (exit code 4)"),
                None,
            ),
            (
                "failed since it was due",
                PublicStatus { last_renewal: failed, ..due_for(2, 9) },
                Some("did not reach the CA (exit code 6)"),
                None,
            ),
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
            ("overdue", due_for(49, 400), Some("2 days"), None),
        ] {
            let (problems, notes) = judged(&recorded, Some(24 * 3600));
            assert_eq!(problems.len(), usize::from(problem.is_some()), "{case}: {problems:?}");
            assert!(problem.is_none_or(|problem| problems[0].contains(problem)), "{case}: {problems:?}");
            assert_eq!(notes.len(), usize::from(note.is_some()), "{case}: {notes:?}");
            assert!(note.is_none_or(|note| notes[0].contains(note)), "{case}: {notes:?}");
        }
    }

    #[test]
    fn what_is_recorded_is_judged_as_root_would() {
        let now = u64::try_from(NOW).unwrap();
        for rhythm in [1, 2, 24, 168] {
            for hours in [-1, 0, 1, 2, 3, 4, 5, 47, 48, 49, 335, 336, 400] {
                let due = now.checked_add_signed(-hours * 3600).unwrap();
                let by_root = due::is_overdue(due, now, rhythm * 3600);
                let (problems, _) = judged(&due_for(hours, 1000), Some(rhythm * 3600));
                assert_eq!(!problems.is_empty(), by_root, "every {rhythm} h, due for {hours} h: {problems:?}");
            }
        }
        // If a user cannot see how often root renews, the time that was left at the due date decides.
        for (hours, left, expected) in [(1, 3, false), (2, 2, true), (1, 1, true), (10, 100, false), (3, 1, true)] {
            let (problems, _) = judged(&due_for(hours, left), None);
            assert_eq!(!problems.is_empty(), expected, "due for {hours} h, {left} h left: {problems:?}");
        }
    }
}
