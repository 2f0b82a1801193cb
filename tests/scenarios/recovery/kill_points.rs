//! SIGKILL before every system call of a run that writes, syncs, renames, removes or starts
//! something, from the journal to the end; found out from a trace of the shipped binary.
//! `WARDED_TEST_EVERY=1` tries all of them, with the watchdog alive and dead; otherwise some.

use super::*;
use std::{
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// What changes something. openat is one of them where it makes a file.
const CALLS: &str = "openat,write,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,\
                     fchmod,chmod,fchown,chown,fchmodat,fchownat,fsetxattr,ftruncate,kill,clone,clone3,vfork";

/// A system call, and which one of its name: from the first, as strace counts, and from the last.
/// Where the machine is busy, a probe of sshd is repeated, and all numbers after it are others.
#[derive(Clone, Debug)]
struct Point {
    name: String,
    number: usize,
    from_last: usize,
}

/// Warded's apply under strace, which does something to its first thread's calls, and to no other
/// process's: those it starts live on.
pub(super) fn traced(machine: &Machine, options: &[&str]) -> Command {
    let apply = certify(machine, &[]);
    let mut command = machine.command("strace");
    let words: Vec<_> = apply.get_args().map(std::ffi::OsStr::to_owned).collect();
    let binary = env!("CARGO_BIN_EXE_warded");
    // The words of nsenter(1) come first, where there is one.
    let from = words.iter().position(|word| word == binary).map_or(0, |at| at + 1);
    command.args(options).arg(binary).args(words.iter().skip(from));
    machine.environment(&mut command).stdout(Stdio::null());
    command
}

fn points(machine: &Machine) -> Vec<Point> {
    let trace = machine.path("trace");
    Run::of(&mut traced(machine, &["-o", trace.to_str().unwrap(), "-e", &format!("trace={CALLS}")])).ends(0);
    let mut count = BTreeMap::new();
    let mut points = Vec::new();
    for line in fs::read_to_string(trace).unwrap().lines() {
        let Some((name, rest)) = line.split_once('(') else { continue };
        let number = count.entry(name.to_owned()).or_insert(0);
        *number += 1;
        let begun = !points.is_empty() || (name.starts_with("mkdir") && rest.contains("/state/runs/"));
        if begun && (name != "openat" || rest.contains("O_CREAT")) {
            points.push(Point { name: name.to_owned(), number: *number, from_last: 0 });
        }
    }
    points.iter_mut().for_each(|point| point.from_last = count[&point.name] - point.number);
    assert!(points.iter().filter(|point| point.name.starts_with("rename")).count() > 8, "{points:?}");
    points
}

/// Kills the watchdog of the run that is on its way, as soon as that has begun to change files.
fn kill_watchdog(machine: &Machine, over: &AtomicBool) -> bool {
    let mut watchdog = None;
    while !over.load(Ordering::Relaxed) {
        watchdog = watchdog.or_else(|| watchdogs(machine).pop());
        if let Some(pid) = watchdog.filter(|_| state(machine) == "committing") {
            send(pid, Signal::KILL);
            return true;
        }
        sleep(Duration::from_millis(1));
    }
    watchdog.into_iter().for_each(|pid| send(pid, Signal::KILL));
    watchdog.is_some()
}

/// What has been seen.
#[derive(Default)]
struct Tally {
    killed: AtomicUsize,
    old: AtomicUsize,
    new: AtomicUsize,
    by_watchdog: AtomicUsize,
    /// Points that a run never came to.
    past: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

/// Runs it and kills it there, and its watchdog if that is to be dead. Else: how many calls there were.
fn kill_at(machine: &Machine, name: &str, number: usize, alive: bool) -> Result<(), usize> {
    let trace = machine.path("trace");
    let inject = format!("inject={name}:signal=KILL:when={number}");
    let mut run = traced(machine, &["-o", trace.to_str().unwrap(), "-e", &format!("trace={name}"), "-e", &inject]);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let killer = (!alive).then(|| scope.spawn(|| kill_watchdog(machine, &over)));
        ends_somehow(&mut run);
        over.store(true, Ordering::Relaxed);
        killer.map(|killer| killer.join().unwrap());
    });
    let trace = fs::read_to_string(&trace).unwrap();
    if trace.contains("+++ killed by SIGKILL +++") {
        return Ok(());
    }
    // So that the next one starts from the same.
    machine.warded(["recover"]);
    machine.warded(["undo", "--yes"]);
    Err(trace.lines().filter(|line| line.starts_with(&format!("{name}("))).count())
}

fn one(machine: &Machine, point: &Point, alive: bool, old: &Seen, new: &Seen, tally: &Tally) {
    let Point { name, number, from_last } = point;
    let fail = |what: String| {
        let what = format!("{name} {number}, watchdog {}: {what}", if alive { "alive" } else { "dead" });
        eprintln!("{what}");
        tally.failures.lock().unwrap().push(what);
    };
    let again = |calls: usize| kill_at(machine, name, calls.saturating_sub(*from_last).max(1), alive);
    if kill_at(machine, name, *number, alive).or_else(again).is_err() {
        // Twice it made fewer calls than when it was traced: a busy machine shifts them.
        tally.past.fetch_add(1, Ordering::Relaxed);
        if seen(machine) != *old {
            fail("it was not killed, and its work cannot be taken back".to_owned());
        }
        return;
    }
    tally.killed.fetch_add(1, Ordering::Relaxed);
    wait("the watchdog ends", LONG, || watchdogs(machine).is_empty());
    if alive && state(machine) == "rolled-back" && *old == seen(machine) {
        tally.by_watchdog.fetch_add(1, Ordering::Relaxed);
    }
    let recovered = machine.warded(["recover"]);
    if recovered.code != Some(0) {
        fail(format!("recover: {recovered:?}"));
    }
    let found = seen(machine);
    let client = machine.client(&Knows::Keys(machine.host_key("rsa"))).tries();
    if client.code != Some(0) {
        fail(format!("nobody gets in: {}", client.stderr));
    }
    if found == *old {
        tally.old.fetch_add(1, Ordering::Relaxed);
    } else if found == *new {
        tally.new.fetch_add(1, Ordering::Relaxed);
        machine.warded(["undo", "--yes"]).ends(0);
        assert_eq!(seen(machine), *old);
    } else {
        fail(format!("neither old nor new: {:?}", found.0.keys()));
    }
}

#[test]
fn killed_before_any_call_it_is_old_or_new() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("there is no strace here: not tried");
        return;
    }
    let every = std::env::var("WARDED_TEST_EVERY").map_or(11, |every| every.parse().unwrap());
    let machines: Vec<Machine> = (0..2).map(|_| Machine::start()).collect();
    let tally = Tally::default();
    let tried = thread::scope(|scope| {
        let halves = machines.iter().enumerate().map(|(half, machine)| {
            let tally = &tally;
            scope.spawn(move || {
                let old = seen(machine);
                // The first run of a machine makes directories that later ones find.
                machine.certify();
                machine.warded(["undo", "--yes"]).ends(0);
                let points = points(machine);
                let new = seen(machine);
                machine.warded(["undo", "--yes"]).ends(0);
                assert_eq!(seen(machine), old);
                // One half has the watchdog alive, the other dead.
                for point in points.iter().skip(half * every / 2).step_by(every) {
                    one(machine, point, half == 0, &old, &new, tally);
                }
                points.len()
            })
        });
        halves.collect::<Vec<_>>().into_iter().map(|half| half.join().unwrap()).max().unwrap()
    });
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "kill points: {tried}; runs killed: {}, old {}, new {}; by the watchdog {}; never reached {}",
        count(&tally.killed),
        count(&tally.old),
        count(&tally.new),
        count(&tally.by_watchdog),
        count(&tally.past)
    );
    let failures = tally.failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(tried > 60 && count(&tally.by_watchdog) > 0, "{tried}");
    assert!(count(&tally.past) * 8 <= count(&tally.killed), "{} points were never reached", count(&tally.past));
}
