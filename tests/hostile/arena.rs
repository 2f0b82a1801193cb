//! Runs each hostile guest on a machine of its own, measures it, and compares every file before and after.

use super::{
    case::{Case, End},
    hidden,
};
use crate::support::{
    Grants, Machine, Run,
    machine::{Found, tree},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};
use warded_lib::digest::Digest;

/// A guest may take no longer than one host call and its own time limit together, with a margin for a slow machine; and
/// no more memory than its own limit, the compiler's, and what one run may stage.
const LONGEST: Duration = Duration::from_secs(120);
const MOST_KIB: u64 = 700 * 1024;
/// The most that a run may add to the audit log.
const MOST_RECORDED: usize = 8_000_000;
/// Files of the real machine, which no test may change.
const ELSEWHERE: [&str; 5] =
    ["/etc/passwd", "/etc/shadow", "/etc/warded", "/var/lib/warded", env!("CARGO_BIN_EXE_warded")];

/// The time and memory that a run took.
pub(super) struct Cost {
    name: String,
    time: Duration,
    kib: u64,
}

/// Prints the worst of them in one line.
pub(super) fn report(costs: &[Cost]) {
    let slowest = costs.iter().max_by_key(|cost| cost.time);
    let fattest = costs.iter().max_by_key(|cost| cost.kib);
    if let (Some(slowest), Some(fattest)) = (slowest, fattest) {
        println!(
            "worst of {} hostile guests: {:.1} s ({}), {} MiB ({})",
            costs.len(),
            slowest.time.as_secs_f64(),
            slowest.name,
            fattest.kib / 1024,
            fattest.name,
        );
    }
}

/// Runs the guest on a machine of its own, and checks everything that it must not do.
pub(super) fn try_one(case: &Case) -> Cost {
    let machine = Machine::stopped();
    let directory = machine.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    case.prepare.iter().for_each(|prepare| prepare(&machine));
    let component = (case.component)(&machine);
    let grants: Vec<String> = case.grants.iter().map(|line| line.replace("{dir}", &directory)).collect();
    let mut grants = Grants::of(&grants.iter().map(String::as_str).collect::<Vec<_>>());
    if let Some(actions) = &case.actions {
        grants = grants.with_actions(&actions.replace("{dir}", &directory));
    }
    grants.write_confirming(&machine.path("policies"), "case", "go", &component);
    if case.other_digest {
        // A further custom section: the component does the same, but has another digest.
        fs::write(machine.path("policies/case.wasm"), [component.as_slice(), b"\0\x02\x01a"].concat()).unwrap();
    }
    let (before, elsewhere_before) = (everything(&machine), elsewhere(&machine));

    let measured = machine.path("measured");
    let mut command = machine.command("/usr/bin/time");
    machine.environment(&mut command).args(["-q", "-f", "%M", "-o"]).arg(&measured);
    // If a guest is not bounded, the other cases must still run.
    command.args(["timeout", "-s", "KILL", "55"]);
    // The limit of open files that most machines have.
    command.args(["prlimit", "--nofile=1024:1024"]);
    command.arg(env!("CARGO_BIN_EXE_warded")).args(["apply", "go", "--policy", "case", "--yes"]);
    command.args(case.arguments.iter().map(|argument| argument.replace("{dir}", &directory)));
    let (begun, done, rounds) = (Instant::now(), AtomicBool::new(false), AtomicUsize::new(0));
    let run = thread::scope(|scope| {
        if let Some(meanwhile) = &case.meanwhile {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    meanwhile(&machine);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let run = Run::of(&mut command);
        done.store(true, Ordering::Relaxed);
        run
    });
    let time = begun.elapsed();
    let kib = fs::read_to_string(&measured).unwrap().trim().parse().unwrap();
    fs::remove_file(measured).unwrap();
    look(case, &machine, &run, &directory, &before);
    assert_eq!(elsewhere_before, elsewhere(&machine), "{}: what is the whole machine's was changed", case.name);
    let rounds = rounds.load(Ordering::Relaxed);
    assert!(case.meanwhile.is_none() || rounds > 0, "{}: nothing happened meanwhile", case.name);
    // Programs that are about to end by themselves get a moment.
    let patience = Instant::now() + Duration::from_secs(10);
    while !machine.programs().is_empty() && Instant::now() < patience {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(machine.programs(), Vec::<String>::new(), "{}: it left programs behind", case.name);
    assert!(time < LONGEST, "{}: it took {time:?}", case.name);
    assert!(kib < MOST_KIB, "{}: it took {kib} KiB", case.name);
    Cost { name: case.name.clone(), time, kib }
}

/// Checks Warded's output, the audit log and the files of the machine.
fn look(case: &Case, machine: &Machine, run: &Run, directory: &str, before: &BTreeMap<PathBuf, Found>) {
    let Case { name, hides, changes, end: End { exits, says, most, records }, .. } = case;
    let all = format!("{}{}", run.stdout, run.stderr);
    let shown: String = all.chars().take(4000).collect();
    assert!(run.code.is_some_and(|code| exits.contains(&code)), "{name}: exit {:?}\n{shown}", run.code);
    for words in says.iter().map(|words| words.replace("{dir}", directory)) {
        assert!(all.contains(&words), "{name}: {words:?} was not said:\n{shown}");
    }
    assert!(all.len() <= *most, "{name}: it said {} bytes", all.len());
    assert_eq!(hidden::first_in(&all), None, "{name}: a character that hides or moves text reached the terminal");

    let log = fs::read_to_string(machine.path("state/audit/log.jsonl")).unwrap();
    assert_eq!(hidden::first_in(&log), None, "{name}: a character that hides or moves text is on record");
    for words in hides {
        assert!(!all.contains(words.as_str()), "{name}: {words:?} was shown");
        assert!(!log.contains(words.as_str()), "{name}: {words:?} is on record");
    }
    let listed = machine.warded(["audit", "log"]).ends(0).stdout;
    assert_eq!(hidden::first_in(&listed), None, "{name}: a character that hides or moves text is listed");
    machine.warded(["audit", "verify"]).ends(0);
    assert!(log.len() < MOST_RECORDED, "{name}: {} bytes are on record", log.len());
    records.iter().for_each(|record| record.look(name, &log, directory));

    let after = everything(machine);
    let paths: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    for path in paths.into_iter().filter(|path| before.get(*path) != after.get(*path)) {
        let short = path.strip_prefix(directory).unwrap();
        // A case that may change something leaves a run that can be undone.
        let run = !changes.is_empty() && short.starts_with("state/runs");
        let may = run || changes.iter().any(|change| short.to_string_lossy().starts_with(change.as_str()));
        assert!(may, "{name}: {} is not what it was", short.display());
    }
    let stray =
        after.keys().find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".warded")));
    assert_eq!(stray, None, "{name}: a temporary file stayed");
}

/// Every file of the machine; of Warded's state only what a roll back, an undo and a renewal depend on.
fn everything(machine: &Machine) -> BTreeMap<PathBuf, Found> {
    let [state, runs, enrolment] = ["state", "state/runs", "state/enrolment.json"].map(|name| machine.path(name));
    let mut all = tree(&machine.path(""));
    all.retain(|path, _| !path.starts_with(&state) || path.starts_with(&runs) || *path == enrolment);
    all
}

/// A file's device, inode, mode, owner, group and times, and a digest of its contents unless it is too large.
type FileIdentity = (u64, u64, u32, u32, u32, (i64, i64), (i64, i64), Option<Digest>);

/// The files of [`ELSEWHERE`] as the machine under test sees them.
fn elsewhere(machine: &Machine) -> BTreeMap<PathBuf, FileIdentity> {
    let mut found = BTreeMap::new();
    ELSEWHERE.iter().for_each(|path| identify(&machine.inside(path), &mut found));
    found
}

fn identify(path: &Path, found: &mut BTreeMap<PathBuf, FileIdentity>) {
    let Ok(file) = path.symlink_metadata() else { return };
    let contents = (file.is_file() && file.len() < 1 << 20).then(|| fs::read(path).ok()).flatten();
    let times = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
    let contents = contents.map(|bytes| Digest::of(&bytes));
    let identified = (file.dev(), file.ino(), file.mode(), file.uid(), file.gid(), times.0, times.1, contents);
    found.insert(path.to_owned(), identified);
    let below = if file.is_dir() { fs::read_dir(path).ok() } else { None };
    below.into_iter().flatten().for_each(|entry| identify(&entry.unwrap().path(), found));
}
