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
    let second = machine.warded(["recover", "--json"]).ends(0);
    assert_eq!((seen(&machine), state(&machine)), (before, "rolled-back".to_owned()), "{second:?}");
    assert_eq!(second.object("warded.recover/1")["others"].as_array().map(Vec::len), Some(1));
    Run::ended(first).ends(0).prints(&["had been interrupted; it was rolled back:"]);
    serves(&machine);
    machine.warded(["recover"]).ends(0).prints(&["Nothing was interrupted."]);
}

/// Neither knows of the other when it looks for runs; only one gets the lock.
#[test]
fn who_begins_at_the_same_time_waits_as_well() {
    let machine = Machine::start();
    let before = seen(&machine);
    apply_unconfirmed(&machine);
    let recover = || {
        let mut command = machine.warded_command(["recover"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [recover(), recover(), recover()].map(Run::ended);
    let rolled_back = both.iter().filter(|run| run.stdout.contains("had been interrupted; it was rolled back:"));
    assert_eq!(rolled_back.count(), 1, "{both:?}");
    for run in both {
        run.ends(0);
    }
    assert_eq!((seen(&machine), state(&machine)), (before, "rolled-back".to_owned()));
    serves(&machine);
}
