//! One run, killed at one point, and what is left of it.

use super::{
    point::{Point, Seen},
    trace::Traced,
    work::{Files, files},
    *,
};
use warded::digest::Digest;

/// A run may go another way than when it was traced: so often is it tried to meet the call that is meant.
/// What was never met is a failure.
const TRIES: usize = 12;

/// How it was left in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Old,
    New,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) left: Left,
    /// Whether the watchdog alone took it back.
    pub(super) by_watchdog: bool,
}

/// Kills it there, and its watchdog if that is to be dead; then recovers, and judges.
pub(super) fn kill(bench: &Bench<'_>, at: usize, alive: bool) -> Result<Outcome, String> {
    let seen = &bench.points[at];
    let guarded = bench.points[..=at].iter().any(|earlier| earlier.tells);
    let mut last = String::new();
    let mut number = seen.number;
    for _ in 0..TRIES {
        let run = trace::run(bench.machine, bench.work, &options(&seen.point, number), alive);
        if is_there(bench, seen, &run) && (alive || !guarded || run.watchdog_was_killed) {
            return judge(bench, alive && guarded);
        }
        last = format!("{run:?}");
        // Killed elsewhere, it has to be old or new all the same.
        judge(bench, false)?;
        bench.restore();
        number = closer(bench, seen, &run, number);
    }
    Err(format!("it was not killed there: {last}"))
}

/// For strace: by the file, where it has a name that is known.
fn options(point: &Point, number: usize) -> String {
    let Point { call, path, nth } = point;
    if point.has_path() {
        format!("-e trace={call} -P \"{path}\" -e inject={call}:signal=KILL:when={nth}")
    } else {
        let markers = MARKERS.join(",");
        format!("-e trace={call},{markers} -e inject={call}:signal=KILL:when={number}")
    }
}

/// What tells where a run is: these happen once for a file, in one order.
const MARKERS: [&str; 3] = ["fsync", "rename", "renameat2"];

fn is_marker(seen: &Seen) -> bool {
    seen.counts && seen.point.has_path() && MARKERS.contains(&seen.point.call.as_str())
}

/// The last marker of these calls.
fn last_marker(calls: &[Seen]) -> Option<&Point> {
    calls.iter().rev().find(|seen| is_marker(seen)).map(|seen| &seen.point)
}

/// Where the call has to be looked for after a run that did not meet it: behind the same marker as in the
/// reference, as many of its name later.
fn closer(bench: &Bench<'_>, seen: &Seen, run: &Traced, number: usize) -> usize {
    let (before, marker) = before(bench, seen);
    let is_of_name = |one: &&Seen| one.point.call == seen.point.call;
    let behind = |calls: &[Seen]| calls.iter().position(|one| Some(&one.point) == marker).map_or(0, |at| at + 1);
    let later = before[behind(before)..].iter().filter(is_of_name).count();
    let reached = marker.is_none() || run.seen.iter().any(|one| Some(&one.point) == marker);
    let mut calls = run.seen[behind(&run.seen)..].iter().filter(is_of_name);
    match calls.nth(later).filter(|found| reached && found.number != number) {
        Some(found) => found.number,
        None if reached => number.saturating_sub(1).max(1),
        None => number + 1,
    }
}

/// What comes before a call in the reference, and the last marker of that.
fn before<'a>(bench: &'a Bench<'_>, seen: &Seen) -> (&'a [Seen], Option<&'a Point>) {
    let is_meant = |known: &Seen| known.point.call == seen.point.call && known.number == seen.number;
    let before = &bench.reference[..bench.reference.iter().position(is_meant).unwrap()];
    (before, last_marker(before))
}

/// Whether a run was killed where it was meant to be. What has a file's name that is known is that very
/// call. What is counted by its name alone may come more often or less often before, because two
/// threads share the work: so it is one of its name after the same marker.
fn is_there(bench: &Bench<'_>, seen: &Seen, run: &Traced) -> bool {
    let Some((last, ended)) = run.seen.split_last().filter(|_| run.was_killed) else { return false };
    let Point { call, path, .. } = &seen.point;
    if seen.point.has_path() {
        return last.point == seen.point;
    }
    (&last.point.call, &last.point.path) == (call, path) && last_marker(ended) == before(bench, seen).1
}

fn judge(bench: &Bench<'_>, by_watchdog_alone: bool) -> Result<Outcome, String> {
    let Bench { machine, work, old, .. } = bench;
    wait("the watchdog ends", LONG, || watchdogs(machine).is_empty());
    // Nobody has recovered anything yet.
    everybody_gets_in(bench, "before recovery", *work == Work::Renew)?;
    let of_watchdog = state(machine) == "rolled-back";
    if by_watchdog_alone && !matches!(state(machine).as_str(), "rolled-back" | "kept") {
        return Err(format!("the watchdog lived, and left it {}", state(machine)));
    }
    let recovered = machine.warded(["recover", "--json"]);
    if recovered.code != Some(0) {
        return Err(format!("recover: {recovered:?}"));
    }
    let runs = recovered.object("warded.recover/1")["runs"].as_array().unwrap().len();
    if by_watchdog_alone && runs > 0 {
        return Err(format!("the watchdog lived, and left something to recover: {recovered:?}"));
    }
    let verified = machine.warded(["audit", "verify"]);
    if verified.code != Some(0) {
        return Err(format!("the audit log: {verified:?}"));
    }
    let now = files(machine);
    let left = if now == *old {
        Left::Old
    } else if work.can_be_new() && is_new(bench, &now) {
        Left::New
    } else {
        return Err(format!("neither old nor new: {}", differences(old, &now)));
    };
    everybody_gets_in(bench, "after recovery", work.is_certified(left))?;
    Ok(Outcome { left, by_watchdog: by_watchdog_alone && of_watchdog && left == Left::Old })
}

/// sshd starts anew, and whoever got in before the run gets in; those who know only the CA, too, if
/// they did.
fn everybody_gets_in(bench: &Bench<'_>, when: &str, strangers: bool) -> Result<(), String> {
    let machine = bench.machine;
    machine.another_sshd_starts();
    let mut clients: Vec<(&str, Knows)> =
        machine.keys().into_iter().map(|name| (name, Knows::Keys(machine.host_key(name)))).collect();
    if strangers {
        clients.push(("the CA", Knows::Authority(machine.authority())));
    }
    for (what, knows) in clients {
        let tried = tries(machine, &knows);
        if tried.code != Some(0) {
            return Err(format!("{when}, who knows {what} does not get in: {}", tried.stderr));
        }
    }
    Ok(())
}

/// A login. An sshd that has just been told to reload does not listen for a moment.
fn tries(machine: &Machine, knows: &Knows) -> Run {
    let end = Instant::now() + LONG;
    loop {
        let tried = machine.client(knows).tries();
        if !tried.stderr.contains("Connection refused") || Instant::now() > end {
            return tried;
        }
        sleep(Duration::from_millis(20));
    }
}

/// Every file is as the work leaves it, and holds what this run's journal says.
fn is_new(bench: &Bench<'_>, now: &Files) -> bool {
    let journal = journal(bench.machine).expect("a run without a journal changed something");
    let as_in_journal = journal["entries"].as_array().unwrap().iter().all(|entry| {
        let path = PathBuf::from(entry["path"].as_str().unwrap());
        match (now.get(&path), entry["after"]["digest"].as_str()) {
            (Some(found), Some(digest)) => Digest::of(&found.bytes).to_string() == digest,
            (None, None) => true,
            _ => false,
        }
    });
    as_in_journal && without_what_is_made_anew(now) == without_what_is_made_anew(&bench.new)
}

/// Certificates and the time of an enrolment are others every time.
fn without_what_is_made_anew(files: &Files) -> Files {
    let mut files = files.clone();
    for (path, file) in &mut files {
        let path = path.to_str().unwrap();
        if path.ends_with("-cert.pub") || path.ends_with("enrolment.json") {
            file.bytes.clear();
        }
    }
    files
}

fn differences(old: &Files, now: &Files) -> String {
    let paths: std::collections::BTreeSet<_> = old.keys().chain(now.keys()).collect();
    let differs = paths.into_iter().filter(|path| old.get(*path) != now.get(*path));
    differs.map(|path| format!("{}: was {:?}, is {:?}; ", path.display(), old.get(path), now.get(path))).collect()
}
