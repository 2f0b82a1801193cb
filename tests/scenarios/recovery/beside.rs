//! Two processes that recover at once, as an init's script and cron's line for the start of the machine do.

use super::{apply_unconfirmed, seen, serves, state};
use crate::support::{
    Machine, Run,
    wait::{LONG, wait},
};
use std::process::Stdio;

/// What comes after it, such as the start of sshd, finds the files as before.
#[test]
fn who_comes_second_ends_when_the_files_are_as_before() {
    let machine = Machine::start();
    let before = seen(&machine);
    apply_unconfirmed(&machine);
    let mut first = machine.warded_command(["recover"]);
    let first = first.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait("it has begun", LONG, || state(&machine).starts_with("roll"));
    let second = machine.warded(["recover"]).ends(0);
    assert_eq!((seen(&machine), state(&machine)), (before, "rolled-back".to_owned()), "{second:?}");
    assert!(!second.stdout.contains("Nothing was interrupted."), "{}", second.stdout);
    Run::ended(first).ends(0).prints(&["had been interrupted; it was rolled back:"]);
    serves(&machine);
    machine.warded(["recover"]).ends(0).prints(&["Nothing was interrupted."]);
}
