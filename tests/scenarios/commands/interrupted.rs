//! A run that was killed: seen by `plan` and `status`, which change nothing, and finished by the
//! next command that changes something.

use crate::support::{Machine, Run};

const SET: &str = "principal=web1.example.org";

#[test]
fn a_killed_run_is_reported_and_finished() {
    let machine = Machine::start();
    let before = machine.tree();
    let trace = machine.path("trace");
    let mut command = machine.command("strace");
    command.arg("-o").arg(&trace).args(["-e", "trace=renameat2", "-e", "inject=renameat2:signal=KILL:when=3"]);
    command.args([env!("CARGO_BIN_EXE_warded"), "apply", "certify-host", "--set", SET, "--yes"]);
    let killed = Run::of(machine.environment(&mut command));
    assert_ne!(killed.code, Some(0), "{killed:?}");
    let halfway = machine.tree();
    assert_ne!(before, halfway, "nothing was interrupted");
    machine.warded(["plan", "certify-host", "--set", SET]).says(&["was interrupted"]);
    let status = machine.warded(["status", "--json"]);
    assert!(status.code == Some(4) && status.stdout.contains("interrupted"), "{status:?}");
    assert_eq!(halfway, machine.tree(), "a command that only looks changed something");

    machine.warded(["apply", "certify-host", "--set", SET, "--yes"]).ends(0).says(&["had been interrupted"]);
    machine.serves_certificates();
    machine.warded(["undo", "--yes"]).ends(0);
    assert_eq!(before, machine.tree());
}
