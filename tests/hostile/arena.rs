//! Where hostile guests are run: each on a machine of its own, measured, and everything compared.

use super::case::Case;
use crate::support::{
    Grants, Machine, Run,
    machine::{Found, tree},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// No guest may take longer than one host call and its own time together, with room for a slow
/// machine; nor more memory than its own, the compiler's, and what one run may stage.
const LONGEST: Duration = Duration::from_secs(60);
const MOST_KIB: u64 = 700 * 1024;

/// What a run took.
struct Cost {
    name: String,
    time: Duration,
    kib: u64,
}

/// Runs all, several at a time; says in one line how many there were and what the worst took.
pub(super) fn run(cases: &[Case]) {
    let mut names = BTreeSet::new();
    let twice = cases.iter().find(|case| !names.insert(case.name.as_str()));
    assert!(twice.is_none(), "two guests have the name {:?}", twice.map(|case| &case.name));
    let (next, costs, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let workers = thread::available_parallelism().map_or(2, usize::from) + 2;
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| try_one(case)));
                    match ended {
                        Ok(cost) => costs.lock().unwrap().push(cost),
                        Err(_) => failures.lock().unwrap().push(case.name.clone()),
                    }
                }
            });
        }
    });
    let (costs, failures) = (costs.into_inner().unwrap(), failures.into_inner().unwrap());
    let slowest = costs.iter().max_by_key(|cost| cost.time).unwrap();
    let fattest = costs.iter().max_by_key(|cost| cost.kib).unwrap();
    // Not captured: this is for whoever reads the log of a run in which all went well.
    writeln!(
        std::io::stderr(),
        "{} hostile guests, {} failed; worst: {:.1} s ({}), {} MiB ({})",
        cases.len(),
        failures.len(),
        slowest.time.as_secs_f64(),
        slowest.name,
        fattest.kib / 1024,
        fattest.name,
    )
    .unwrap();
    assert!(failures.is_empty(), "failed: {failures:#?}");
}

fn try_one(case: &Case) -> Cost {
    let machine = Machine::stopped();
    let directory = machine.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    case.prepare.iter().for_each(|prepare| prepare(&machine));
    let component = (case.component)(&machine);
    let grants: Vec<String> = case.grants.iter().map(|line| line.replace("{dir}", &directory)).collect();
    let grants = Grants::of(&grants.iter().map(String::as_str).collect::<Vec<_>>());
    grants.write_confirming(&machine.path("policies"), "case", "go", &component);
    if case.other_digest {
        // One more custom section: it does the same, and is another component.
        fs::write(machine.path("policies/case.wasm"), [component.as_slice(), b"\0\x02\x01a"].concat()).unwrap();
    }
    let before = everything(&machine);

    let measured = machine.path("measured");
    let mut command = machine.command("/usr/bin/time");
    machine.environment(&mut command).args(["-q", "-f", "%M", "-o"]).arg(&measured);
    // A guest that is not bounded must not keep the others from being tried.
    command.args(["timeout", "-s", "KILL", "55"]);
    command.arg(env!("CARGO_BIN_EXE_warded")).args(["apply", "go", "--policy", "case", "--yes"]);
    command.args(case.arguments.iter().map(|argument| argument.replace("{dir}", &directory)));
    let (begun, done) = (Instant::now(), AtomicBool::new(false));
    let run = thread::scope(|scope| {
        if let Some(meanwhile) = &case.meanwhile {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    meanwhile(&machine);
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
    // Whatever was about to end by itself has a moment for that.
    let patience = Instant::now() + Duration::from_secs(10);
    while !machine.programs().is_empty() && Instant::now() < patience {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(machine.programs(), Vec::<String>::new(), "{}: it left programs behind", case.name);
    assert!(time < LONGEST, "{}: it took {time:?}", case.name);
    assert!(kib < MOST_KIB, "{}: it took {kib} KiB", case.name);
    Cost { name: case.name.clone(), time, kib }
}

/// What it said, what is on record, and what is on the machine.
fn look(case: &Case, machine: &Machine, run: &Run, directory: &str, before: &BTreeMap<PathBuf, Found>) {
    let Case { name, exits, says, hides, record, changes, .. } = case;
    let all = format!("{}{}", run.stdout, run.stderr);
    let shown: String = all.chars().take(4000).collect();
    assert!(run.code.is_some_and(|code| exits.contains(&code)), "{name}: exit {:?}\n{shown}", run.code);
    for words in says.iter().map(|words| words.replace("{dir}", directory)) {
        assert!(all.contains(&words), "{name}: {words:?} was not said:\n{shown}");
    }
    let raw = all.chars().find(|character| character.is_control() && !matches!(character, '\n' | '\t'));
    assert_eq!(raw, None, "{name}: a control character reached the terminal");
    let hidden = all.chars().find(|character| matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'));
    assert_eq!(hidden, None, "{name}: a character that hides or reorders text reached the terminal");

    let log = fs::read_to_string(machine.path("state/audit/log.jsonl")).unwrap();
    for words in hides {
        assert!(!all.contains(words.as_str()), "{name}: {words:?} was shown");
        assert!(!log.contains(words.as_str()), "{name}: {words:?} is on record");
    }
    machine.warded(["audit", "verify"]).ends(0);
    if let Some((kind, words)) = record {
        let words = words.replace("{dir}", directory);
        let found = log.lines().any(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
            record["kind"] == kind.as_str()
                && ["capability", "need", "grant", "detail"].iter().any(|key| text(key).contains(&words))
        });
        let end: Vec<&str> = log.lines().rev().take(5).collect();
        assert!(found, "{name}: no record {kind} with {words:?}; the last are\n{}", end.join("\n"));
    }

    let after = everything(machine);
    let paths: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    for path in paths.into_iter().filter(|path| before.get(*path) != after.get(*path)) {
        let short = path.strip_prefix(directory).unwrap();
        let may = changes.iter().any(|change| short.to_string_lossy().starts_with(change.as_str()));
        assert!(may, "{name}: {} is not what it was", short.display());
    }
    let stray =
        after.keys().find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".warded")));
    assert_eq!(stray, None, "{name}: a temporary file stayed");
}

/// Every file of the machine, but for Warded's state.
fn everything(machine: &Machine) -> BTreeMap<PathBuf, Found> {
    let state = machine.path("state");
    let mut all = tree(&machine.path(""));
    all.retain(|path, _| !path.starts_with(&state));
    all
}
