//! System calls that fail, one at a time, through a whole run: strace(1) makes the kernel refuse them. Every exchange
//! and every other rename, the reload, and what is synced.

use super::{CERTIFY, left_as_before};
use crate::support::{Machine, Run};
use std::fs;

#[test]
fn each_exchange() {
    assert_eq!(sweep("renameat2", "EIO", 1, &CERTIFY, &Machine::start()), 4);
}

/// The same for a renewal, where the files exist already and are exchanged.
#[test]
fn each_exchange_of_a_renewal() {
    let machine = Machine::start();
    machine.certify();
    assert_eq!(sweep("renameat2", "EXDEV", 1, &["renew", "--force"], &machine), 3);
    machine.serves_certificates();
}

#[test]
fn each_step_of_the_journal() {
    assert!(sweep("rename", "ENOSPC", 1, &CERTIFY, &Machine::start()) >= 10);
}

#[test]
fn each_record_of_the_audit() {
    assert!(sweep("fdatasync", "EIO", 1, &CERTIFY, &Machine::start()) >= 3);
}

#[test]
fn the_reload() {
    assert_eq!(sweep("kill", "EPERM", 1, &CERTIFY, &Machine::start()), 1);
}

/// Only every second sync, since each costs a run.
#[test]
fn what_is_synced() {
    assert!(sweep("fsync", "EIO", 2, &CERTIFY, &Machine::start()) >= 6);
}

/// Refuses the first such call in one run, the next one in the next run, and so on until a run makes no further one.
/// Returns how many were refused.
fn sweep(call: &str, error: &str, step: usize, arguments: &[&str], machine: &Machine) -> usize {
    // After this the files exist that Warded creates when it first runs.
    machine.audit();
    let before = machine.tree();
    let mut refused = 0;
    for when in (1..).step_by(step) {
        let what = format!("{call} {when}: {error}");
        let (run, injected) = run(machine, call, error, when, arguments);
        if !injected {
            // The run succeeded: the earlier failures left nothing in its way.
            run.ends(0);
            assert_ne!(before, machine.tree(), "{what}");
            break;
        }
        refused += 1;
        if before == machine.tree() {
            left_as_before(machine, &before, &run, &what);
        } else {
            // A failure after the change was kept leaves the whole change in place, and the message says so.
            assert!(run.code == Some(0) || run.stderr.contains("the change was made and kept"), "{what}: {run:?}");
            machine.warded(["undo", "--yes", "--down-to", &newest_run(machine)]).ends(0);
            assert_eq!(before, machine.tree(), "{what}");
        }
    }
    machine.warded(["audit", "verify"]).ends(0);
    refused
}

/// Runs Warded with one of its calls refused. Returns also whether it made that call.
fn run(machine: &Machine, call: &str, error: &str, when: usize, arguments: &[&str]) -> (Run, bool) {
    let trace = machine.path("trace");
    let mut command = machine.command("strace");
    command.arg("-o").arg(&trace).args(["-e", &format!("trace={call}"), "-e"]);
    command.args([&format!("inject={call}:error={error}:when={when}"), env!("CARGO_BIN_EXE_warded")]);
    let run = Run::of(machine.environment(&mut command).args(arguments));
    (run, fs::read_to_string(&trace).expect("strace did not run: is it installed?").contains("(INJECTED)"))
}

/// The newest run that changed something.
fn newest_run(machine: &Machine) -> String {
    machine.warded(["history", "--json"]).ends(0).object("warded.history/1")["runs"][0]["run"].to_string()
}
