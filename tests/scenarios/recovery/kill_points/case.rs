//! One run that is killed at one point, and the judgement of what it left.

use super::{
    point::{Point, TracedPoint},
    trace::TraceResult,
    work::{Files, files},
    *,
};
use warded_lib::digest::Digest;

/// A run may take another course than the traced one, so the test makes this many attempts to kill it at the intended
/// call. If only calls of the same name were met, one of them counts. If none was met, the case has failed.
const TRIES: usize = 12;

/// The state that the run left in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndState {
    Old,
    New,
}

/// The result of one kill.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) left: EndState,
    /// Whether the watchdog alone rolled it back.
    pub(super) by_watchdog: bool,
    /// Whether the run was killed at exactly the intended call.
    pub(super) met: KillPrecision,
}

/// How precisely a kill met the intended call. A call with a known file name is identified by it. Other calls are
/// counted by their name alone. How many of these come first may differ from run to run, because threads share the
/// work, so their position relative to a marker decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KillPrecision {
    /// The same call, or one with the same number of calls of its name since the same marker.
    Itself,
    /// A call of the same name after the same marker.
    Namesake,
}

/// Kills the work before this call, and kills its watchdog unless `alive`. Then it recovers, and judges the result.
pub(super) fn kill(bench: &Bench<'_>, at: usize, alive: bool) -> Result<Outcome, String> {
    let seen = &bench.points[at];
    let guarded = bench.points[..=at].iter().any(|earlier| earlier.tells);
    // A run whose watchdog is dead does not leave a change to it. So in this case the watchdog is killed after the run.
    let outlives = before(bench, seen).iter().any(|earlier| earlier.awaits);
    let mut last = String::new();
    let mut namesake = None;
    let mut number = seen.number;
    for _ in 0..TRIES {
        let run = trace::run(bench.machine, bench.work, &options(&seen.point, number), alive || outlives);
        if outlives && !alive {
            work::end_watchdogs(bench.machine);
        }
        let met = met(bench, seen, &run);
        let as_meant = met.filter(|_| alive || outlives || !guarded || run.watchdog_was_killed);
        // Even a run that was killed at another call must leave the old or the new state.
        let waits = alive && is_left_to_watchdog(bench, seen, &run);
        let (left, by_watchdog) = judge(bench, waits, as_meant.is_some() && alive && guarded)?;
        match as_meant.map(|met| Outcome { left, by_watchdog, met }) {
            Some(outcome) if outcome.met == KillPrecision::Itself => return Ok(outcome),
            Some(outcome) => namesake = Some(outcome),
            None => last = format!("{run:?}"),
        }
        bench.restore();
        if met != Some(KillPrecision::Itself) {
            number = closer(bench, seen, &run, number);
        }
    }
    namesake.ok_or_else(|| format!("it was not killed there: {last}"))
}

/// Options for strace, which match the call by its file, if that has a known name.
fn options(point: &Point, number: usize) -> String {
    let Point { call, path, nth } = point;
    if point.has_path() {
        format!("-e trace={call} -P \"{path}\" -e inject={call}:signal=KILL:when={nth}")
    } else {
        let markers = MARKERS.join(",");
        format!("-e trace={call},write,{markers} -e inject={call}:signal=KILL:when={number}")
    }
}

/// Calls that show how far a run has got: each of them happens once for a file, always in the same order.
const MARKERS: [&str; 3] = ["fsync", "rename", "renameat2"];

fn is_marker(seen: &TracedPoint) -> bool {
    seen.counts && seen.point.has_path() && MARKERS.contains(&seen.point.call.as_str())
}

/// The position of the next call of this name after these calls: the last marker, and how many calls of the name follow
/// it.
fn place<'a>(calls: &'a [TracedPoint], name: &str) -> (Option<&'a Point>, usize) {
    let from = calls.iter().rposition(is_marker).map_or(0, |at| at + 1);
    let marker = from.checked_sub(1).map(|at| &calls[at].point);
    (marker, calls[from..].iter().filter(|seen| seen.point.call == name).count())
}

/// The calls before this one in the reference trace.
fn before<'a>(bench: &'a Bench<'_>, seen: &TracedPoint) -> &'a [TracedPoint] {
    let is_meant = |known: &TracedPoint| known.point.call == seen.point.call && known.number == seen.number;
    &bench.reference[..bench.reference.iter().position(is_meant).unwrap()]
}

/// How precisely a run was killed where it should be; none, if it was not.
fn met(bench: &Bench<'_>, seen: &TracedPoint, run: &TraceResult) -> Option<KillPrecision> {
    let (last, ended) = run.seen.split_last().filter(|_| run.was_killed)?;
    if seen.point.has_path() {
        return (last.point == seen.point).then_some(KillPrecision::Itself);
    }
    let Point { call, path, .. } = &seen.point;
    let ((marker, count), (found, counted)) = (place(before(bench, seen), call), place(ended, call));
    let is_namesake = (&last.point.call, &last.point.path) == (call, path) && found == marker;
    is_namesake.then_some(if counted == count { KillPrecision::Itself } else { KillPrecision::Namesake })
}

/// After a run that missed the call, returns the number to try next: the one at the same position relative to the
/// marker as in the reference.
fn closer(bench: &Bench<'_>, seen: &TracedPoint, run: &TraceResult, number: usize) -> usize {
    let call = &seen.point.call;
    let (marker, count) = place(before(bench, seen), call);
    let behind = |marker: &Point| run.seen.iter().position(|one| one.point == *marker).map(|at| at + 1);
    // The run did not get as far as the marker.
    let Some(from) = marker.map_or(Some(0), behind) else { return number + 1 };
    let of_name: Vec<usize> =
        run.seen[from..].iter().filter(|one| one.point.call == *call).map(|one| one.number).collect();
    match of_name.get(count) {
        Some(found) if *found != number => *found,
        // It was killed after that marker, but too early.
        None if met(bench, seen, run) == Some(KillPrecision::Namesake) => number + count + 1 - of_name.len(),
        _ => number.saturating_sub(1).max(1),
    }
}

/// Whether the run has ended and its watchdog waits for a confirmation: then only the watchdog can roll it back.
fn is_left_to_watchdog(bench: &Bench<'_>, seen: &TracedPoint, run: &TraceResult) -> bool {
    let told = |calls: &[TracedPoint]| calls.iter().any(|seen| seen.awaits);
    match bench.work {
        Work::Confirm => true,
        Work::Await if !run.was_killed => run.code == Some(0),
        // If the call is matched by its file, the trace has no other calls, so the reference decides.
        Work::Await if seen.point.has_path() => told(before(bench, seen)),
        Work::Await => run.seen.split_last().is_some_and(|(_, ended)| told(ended)),
        _ => false,
    }
}

/// Returns the state that is left, and whether the watchdog alone rolled the run back.
fn judge(bench: &Bench<'_>, waits: bool, by_watchdog_alone: bool) -> Result<(EndState, bool), String> {
    let Bench { machine, work, old, .. } = bench;
    if waits {
        match state(machine).as_str() {
            "unconfirmed" => return judge_waiting(bench).map(|()| (EndState::New, false)),
            "kept" if work.finds_watchdog() => {}
            other => return Err(format!("its watchdog was to wait, and it is {other}")),
        }
    }
    wait("the watchdog ends", LONG, || watchdogs(machine).is_empty());
    // Before anybody has recovered anything.
    everybody_gets_in(bench, "before recovery", *work == Work::Renew)?;
    let of_watchdog = state(machine) == "rolled-back";
    if by_watchdog_alone && !matches!(state(machine).as_str(), "rolled-back" | "kept") {
        return Err(format!("the watchdog lived, and left it {}", state(machine)));
    }
    let recovered = recovers(machine)?;
    if by_watchdog_alone && has_runs(&recovered) {
        return Err(format!("the watchdog lived, and left something to recover: {recovered}"));
    }
    is_sound(machine)?;
    let now = files(machine);
    let left = if now == *old && !waits {
        EndState::Old
    } else if work.can_be_new() && is_new(machine, &now, &bench.new) {
        EndState::New
    } else {
        return Err(format!("neither old nor new: {}", differences(old, &now)));
    };
    everybody_gets_in(bench, "after recovery", work.is_certified(left))?;
    Ok((left, by_watchdog_alone && of_watchdog && left == EndState::Old))
}

/// Checks a change that waits for its confirmation, with its watchdog: it is in place, nobody rolls it back, and it
/// stays once it is confirmed.
fn judge_waiting(bench: &Bench<'_>) -> Result<(), String> {
    let machine = bench.machine;
    everybody_gets_in(bench, "while it waits", true)?;
    let recovered = recovers(machine)?;
    if recovered["unconfirmed"] != work::newest_run(machine) || has_runs(&recovered) {
        return Err(format!("it waits, and was not left alone: {recovered}"));
    }
    // The old files still lie beside the new ones, and the machine is enrolled only if the change is kept.
    let mut now = files(machine);
    now.retain(|path, _| !path.to_str().unwrap().contains(".warded-"));
    let mut new = bench.new.clone();
    new.remove(&work::enrolment(machine));
    if !is_new(machine, &now, &new) {
        return Err(format!("it waits, and is not in place: {}", differences(&new, &now)));
    }
    if (state(machine).as_str(), watchdogs(machine).len()) != ("unconfirmed", 1) {
        return Err(format!("it does not wait any more: {}, {:?}", state(machine), watchdogs(machine)));
    }
    let confirmed = machine.warded(["confirm", "--same-login"]);
    wait("the watchdog lets go", LONG, || watchdogs(machine).is_empty());
    if confirmed.code != Some(0) || state(machine) != "kept" {
        return Err(format!("it cannot be confirmed: {confirmed:?}"));
    }
    is_sound(machine)?;
    let now = files(machine);
    if !is_new(machine, &now, &bench.new) {
        return Err(format!("it was confirmed, and is not new: {}", differences(&bench.new, &now)));
    }
    everybody_gets_in(bench, "after it was confirmed", true)
}

/// Runs `warded recover`, which must not report a fault.
fn recovers(machine: &Machine) -> Result<Value, String> {
    let recovered = machine.warded(["recover", "--json"]);
    if recovered.code != Some(0) {
        return Err(format!("recover: {recovered:?}"));
    }
    Ok(recovered.object("warded.recover/1"))
}

/// Whether it rolled back any run.
fn has_runs(recovered: &Value) -> bool {
    !recovered["runs"].as_array().unwrap().is_empty()
}

/// Checks that the audit log can be verified.
fn is_sound(machine: &Machine) -> Result<(), String> {
    let verified = machine.warded(["audit", "verify"]);
    if verified.code == Some(0) { Ok(()) } else { Err(format!("the audit log: {verified:?}")) }
}

/// Checks that sshd starts anew, and that whoever got in before the run still does. With `strangers`, clients that know
/// only the CA must get in, too.
fn everybody_gets_in(bench: &Bench<'_>, when: &str, strangers: bool) -> Result<(), String> {
    let machine = bench.machine;
    machine.another_sshd_starts();
    let mut clients: Vec<(&str, ClientKnowledge)> =
        machine.keys().into_iter().map(|name| (name, ClientKnowledge::Keys(machine.host_key(name)))).collect();
    if strangers {
        clients.push(("the CA", ClientKnowledge::Authority(machine.authority())));
    }
    for (what, knows) in clients {
        let tried = tries(machine, &knows);
        if tried.code != Some(0) {
            return Err(format!("{when}, who knows {what} does not get in: {}", tried.stderr));
        }
    }
    Ok(())
}

/// Tries to log in. An sshd that has just been told to reload does not listen for a moment.
fn tries(machine: &Machine, knows: &ClientKnowledge) -> Run {
    let end = Instant::now() + LONG;
    loop {
        let tried = machine.client(knows).tries();
        if !tried.stderr.contains("Connection refused") || Instant::now() > end {
            return tried;
        }
        sleep(Duration::from_millis(20));
    }
}

/// Whether every file is as it should be, and has the contents that this run's journal states.
fn is_new(machine: &Machine, now: &Files, new: &Files) -> bool {
    let journal = journal(machine).expect("a run without a journal changed something");
    let as_in_journal = journal["entries"].as_array().unwrap().iter().all(|entry| {
        let path = PathBuf::from(entry["path"].as_str().unwrap());
        match (now.get(&path), entry["after"]["digest"].as_str()) {
            (Some(found), Some(digest)) => Digest::of(&found.bytes).to_string() == digest,
            (None, None) => true,
            _ => false,
        }
    });
    as_in_journal && without_what_is_made_anew(now) == without_what_is_made_anew(new)
}

/// Removes the certificates and the time of the enrolment, which differ each time.
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
