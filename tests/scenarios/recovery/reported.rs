//! A run that was killed, and its watchdog with it: what only looks says so and changes nothing; what
//! changes something takes it back first, and then does its own work.

use super::*;
use std::process::Stdio;

/// Warded's apply under strace, which does something to its first thread's calls, and to no other
/// process's: those it starts live on.
fn traced(machine: &Machine, options: &[&str]) -> Command {
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

/// A run that is killed half-way, when its watchdog is dead already.
pub(super) fn killed(machine: &Machine) {
    let trace = machine.path("trace");
    // Each file takes its place slowly: there is time before the first for the watchdog to go, and
    // between two for the run.
    let slowly = "inject=renameat2:delay_enter=4000000";
    let options = ["-o", trace.to_str().unwrap(), "-e", "trace=renameat2", "-e", slowly];
    let mut run = traced(machine, &options).spawn().unwrap();
    wait("it changes files", LONG, || state(machine) == "committing");
    let watchdog = watchdogs(machine).pop().unwrap();
    let status = fs::read_to_string(format!("/proc/{watchdog}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    send(watchdog, Signal::KILL);
    wait("the first file is in place", LONG, || machine.path("ssh/ssh_host_rsa_key-cert.pub").exists());
    send(parent, Signal::KILL);
    run.wait().unwrap();
    assert!(fs::read_to_string(&trace).unwrap().contains("+++ killed by SIGKILL +++"));
    wait("the watchdog ends", LONG, || watchdogs(machine).is_empty());
    assert_eq!(state(machine), "committing", "somebody took it back already");
}

#[test]
fn what_was_interrupted_is_told_and_the_next_apply_begins_with_it() {
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "this test needs strace in CI");
        eprintln!("SKIPPED: there is no strace here");
        return;
    }
    let machine = Machine::start();
    let old = seen(&machine);
    killed(&machine);
    let interrupted = seen(&machine);
    assert_ne!(interrupted, old, "nothing had been changed");

    let name = format!("principal={NAME}");
    let plan = machine.warded(["plan", "certify-host", "--set", &name]);
    assert!(matches!(plan.code, Some(0 | 3)), "{plan:?}");
    plan.says(&["note: run 1 (unix certify-host", "was interrupted", "warded recover"]);
    let status = machine.warded(["status", "--json"]).ends(4).object("warded.status/1");
    assert_eq!((&status["interrupted"], &status["healthy"]), (&1.into(), &false.into()), "{status}");
    let words = machine.warded(["status"]).ends(4).stdout;
    assert!(words.contains("problem      run 1 (unix certify-host") && words.contains("was interrupted"), "{words}");
    assert_eq!(seen(&machine), interrupted, "what only looks changed something");
    assert_eq!(state(&machine), "committing");
    serves(&machine);

    let apply = Run::of(&mut certify(&machine, &["--json"])).ends(0);
    assert!(apply.stderr.contains("had been interrupted: 1 file restored"), "{}", apply.stderr);
    assert_eq!(apply.object("warded.apply/1")["review"]["files"].as_array().unwrap().len(), 4);
    machine.serves_certificates();
    assert!(details(&machine, "ended").iter().any(|detail| detail.starts_with("taken back (it had been interrupted)")));
    machine.warded(["undo", "--yes"]).ends(0);
    assert_eq!(seen(&machine), old);
}
