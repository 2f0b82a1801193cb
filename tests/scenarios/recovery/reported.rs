//! A run that was killed together with its watchdog. Commands that only look report it and change nothing. Commands
//! that change something roll it back first, and then do their own work.

use super::*;
use crate::support::stand_in::{ActionTime, is_asked, stand_in};
use std::process::Stdio;

/// Accepts that keys which clients know are replaced.
const ACCEPT: &str = "--accept-risk=replace-host-keys";

/// Runs a Warded command under strace, which affects the calls of its first thread only. The processes that it starts
/// are not traced.
pub(super) fn traced(machine: &Machine, what: &Command, options: &[&str]) -> Command {
    let mut command = machine.command("strace");
    let words: Vec<_> = what.get_args().map(std::ffi::OsStr::to_owned).collect();
    let binary = env!("CARGO_BIN_EXE_warded");
    // If the command begins with nsenter(1), its words are left out.
    let from = words.iter().position(|word| word == binary).map_or(0, |at| at + 1);
    command.args(options).arg(binary).args(words.iter().skip(from));
    machine.environment(&mut command).stdout(Stdio::null());
    command
}

/// Kills the watchdog of the current run, and returns the run's process id.
fn kill_watchdog(machine: &Machine) -> i32 {
    let watchdog = watchdogs(machine).pop().unwrap();
    let status = fs::read_to_string(format!("/proc/{watchdog}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    send(watchdog, Signal::KILL);
    parent
}

/// Kills the run and its watchdog.
pub(super) fn kill_with_watchdog(machine: &Machine) {
    let run = kill_watchdog(machine);
    send(run, Signal::KILL);
    wait("the watchdog ends", LONG, || watchdogs(machine).is_empty());
}

/// Runs a command that changes files, and kills it half-way, after its watchdog.
pub(in crate::scenarios) fn killed(machine: &Machine, what: &Command) {
    let first = || fs::read(machine.path("ssh/ssh_host_rsa_key-cert.pub")).ok();
    let before = first();
    let trace = machine.path("trace");
    // Each rename is delayed. This leaves time to kill the watchdog before the first file, and the run between two
    // files.
    let slowly = "inject=renameat2:delay_enter=4000000";
    let options = ["-o", trace.to_str().unwrap(), "-e", "trace=renameat2", "-e", slowly];
    let mut run = traced(machine, what, &options).spawn().unwrap();
    wait("it changes files", LONG, || state(machine) == "committing");
    let parent = kill_watchdog(machine);
    wait("the first file is in place", LONG, || first() != before);
    send(parent, Signal::KILL);
    run.wait().unwrap();
    assert!(fs::read_to_string(&trace).unwrap().contains("+++ killed by SIGKILL +++"));
    wait("the watchdog ends", LONG, || watchdogs(machine).is_empty());
    assert_eq!(state(machine), "committing", "somebody rolled it back already");
}

/// A temporary failure is retried: nobody comes later to tell sshd.
#[test]
fn a_reload_that_fails_for_a_moment_is_tried_again() {
    if missing::strace() {
        return;
    }
    let machine = Machine::start();
    let old = seen(&machine);
    killed(&machine, &certify(&machine, &[]));
    // The plan shows what would be done, and does nothing.
    let half = machine.tree();
    let plan = machine.warded(["recover", "--plan", "--json"]).ends(3).object("warded.recover/1");
    let would: Vec<&str> =
        plan["would_roll_back"]["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
    assert!(would.contains(&machine.path("ssh/ssh_host_rsa_key-cert.pub").to_str().unwrap()), "{plan}");
    machine
        .warded(["recover", "--plan"])
        .ends(3)
        .prints(&["was interrupted; it would be rolled back", "Nothing has been"]);
    assert_eq!((machine.tree(), state(&machine).as_str()), (half, "committing"));
    let mut recover = machine.command("strace");
    recover.args(["-o", "/dev/null", "-e", "trace=kill", "-e", "inject=kill:error=EAGAIN:when=1"]);
    recover.args([env!("CARGO_BIN_EXE_warded"), "recover", "--json"]);
    let recovered = Run::of(machine.environment(&mut recover)).ends(0).object("warded.recover/1");
    let how = recovered["runs"][0]["reloads"][0]["how"].as_str().unwrap();
    assert!(how.starts_with("SIGHUP to process"), "{recovered}");
    assert_eq!(seen(&machine), old);
    serves(&machine);
    machine.warded(["recover", "--plan"]).ends(0).prints(&["Nothing was interrupted."]);
}

/// One run is rolled back, and another cannot be read: both are reported.
#[test]
fn what_was_rolled_back_is_told_although_something_else_cannot_be_read() {
    if missing::strace() {
        return;
    }
    let machine = Machine::start();
    machine.certify();
    let old = seen(&machine);
    killed(&machine, &machine.warded_command(["renew", "--force"]));
    fs::write(machine.path("state/runs/1/journal.json"), "{").unwrap();
    fs::write(machine.path("state/runs/1/journal.kept"), "{").unwrap();
    let recovered = machine.warded(["recover", "--json"]).ends(1).says(&["runs/1/journal.json cannot be read"]);
    let object = recovered.object("warded.recover/1");
    assert_eq!((&object["runs"][0]["run"], &object["unconfirmed"]), (&2.into(), &Value::Null), "{object}");
    assert!(object["error"].as_str().unwrap().contains("runs/1/journal.json cannot be read"), "{object}");
    assert_eq!(seen(&machine), old);
    // Now there is nothing to roll back, so the output is only the error.
    machine.warded(["recover", "--json"]).ends(1).object("warded.error/1");
    machine.warded(["renew", "--force"]).ends(1).says(&["runs/1/journal.json cannot be read"]);
    // A run that has ended and is tidied up cannot need recovery. It is reported, and does not stop other commands.
    fs::remove_file(machine.path("state/runs/1/journal.kept")).unwrap();
    let told = ["runs/1/journal.json cannot be read", "a run has ended", "move "];
    machine.warded(["renew", "--force"]).ends(0).says(&told);
    machine.warded(["recover"]).ends(4).says(&told);
    machine.warded(["status"]).ends(4).prints(&told);
    machine.warded(["undo", "--yes"]).ends(1).says(&told[..1]);
    serves(&machine);
}

#[test]
fn what_was_interrupted_is_told_and_the_next_apply_begins_with_it() {
    if missing::strace() {
        return;
    }
    let machine = Machine::start();
    let old = seen(&machine);
    killed(&machine, &certify(&machine, &[]));
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
    assert!(
        details(&machine, "ended").iter().any(|detail| detail.starts_with("rolled back (it had been interrupted)"))
    );
    machine.warded(["undo", "--yes"]).ends(0);
    assert_eq!(seen(&machine), old);
}

/// If a command first rolled a run back, that was a change, whatever ends the command later.
#[test]
fn a_failure_after_a_run_was_rolled_back_says_so() {
    if missing::strace() {
        return;
    }
    let machine = Machine::start();
    let old = seen(&machine);
    killed(&machine, &certify(&machine, &[]));
    let drop_in = machine.path("ssh/sshd_config.d/60-odd.conf");
    fs::write(&drop_in, "NoSuchKeyword 7\n").unwrap();
    let said = Run::of(&mut certify(&machine, &[])).ends(5).stderr;
    assert!(said.contains("state: run 1, which was interrupted, was rolled back; nothing else was changed"), "{said}");
    fs::remove_file(&drop_in).unwrap();
    assert_eq!(seen(&machine), old);
}

#[test]
fn every_command_that_changes_something_begins_with_what_was_interrupted() {
    if missing::strace() {
        return;
    }
    let machine = Machine::start();
    let plain = seen(&machine);
    machine.certify();
    for command in [&["renew"][..], &["rekey", "--yes", ACCEPT], &["undo", "--yes", ACCEPT]] {
        killed(&machine, &machine.warded_command(["renew", "--force"]));
        // `confirm` keeps a change that waits for its confirmation, and nothing else.
        machine.warded(["confirm", "--same-login"]).ends(0);
        assert_eq!(state(&machine), "committing", "before {command:?}");
        let mut next = machine.warded_command([]);
        let said = Run::of(next.args(command)).ends(0).stderr;
        assert!(said.contains("had been interrupted"), "{command:?}: {said}");
        assert_ne!(state(&machine), "committing", "{command:?}");
        machine.serves_certificates();
    }
    // The last command rolled the new keys back, and left the certificates.
    machine.warded(["undo", "--yes"]).ends(0);
    assert_eq!(seen(&machine), plain);
}

/// If somebody kills a run and removes its records of the change, the log is no longer intact.
#[test]
fn what_a_killed_run_recorded_of_its_change_cannot_be_cut_off() {
    if missing::strace() {
        return;
    }
    let machine = Machine::start();
    killed(&machine, &certify(&machine, &[]));
    let log = machine.path("state/audit/log.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let verified = || machine.warded(["audit", "verify", "--json"]).object("warded.audit-verify/1");
    assert_eq!(verified()["records"], lines.len());
    let first = lines.iter().position(|line| line.contains("\"kind\":\"intent\"")).unwrap();
    assert!(first + 6 < lines.len(), "three certificates and the change: {text}");
    for kept in first..lines.len() {
        fs::write(&log, lines[..kept].iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        let said = verified();
        assert_eq!((&said["intact"], &said["record"]), (&false.into(), &(kept + 1).into()), "cut after {kept}: {said}");
    }
    fs::write(&log, &text).unwrap();
    recover(&machine, 0);
}

#[test]
fn what_a_killed_run_got_from_the_ca_cannot_be_cut_off() {
    let machine = Machine::start();
    let log = machine.path("state/audit/log.jsonl");
    // The proof comes after the last certificate was recorded, and sealed together with the intent of the change. The
    // stand-in for sshd waits until the test has ended, so the run records nothing further.
    let sshd = stand_in(&machine, ActionTime::Proof, "while [ -e \"$0\" ]; do sleep 0.02; done; exit 1");
    let mut run = certify(&machine, &["--sshd", sshd.to_str().unwrap()]);
    let mut run = run.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    wait("it proves its certificates", LONG, || is_asked(&sshd));
    send(unattended::warded(&run), Signal::KILL);
    run.wait().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.matches("\"detail\":\"serial").count(), 3, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let [.., serial, intent] = lines[..] else { panic!("{text}") };
    assert!(serial.contains("\"detail\":\"serial") && intent.contains("\"kind\":\"intent\""), "it went on: {text}");
    for kept in [lines.len() - 2, lines.len() - 1] {
        fs::write(&log, lines[..kept].iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        let said = machine.warded(["audit", "verify", "--json"]).object("warded.audit-verify/1");
        assert_eq!((&said["intact"], &said["record"]), (&false.into(), &(kept + 1).into()), "{said}");
    }
}
