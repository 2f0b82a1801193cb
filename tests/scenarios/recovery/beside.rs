//! Two processes recover at once, as an init's script and cron's `@reboot` line do.

use super::{apply_unconfirmed, seen, serves, state};
use crate::support::{
    Machine, Run,
    enclosure::is_root,
    wait::{LONG, wait},
};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    process::{Child, Stdio},
    thread::sleep,
    time::Duration,
};

/// Starts `warded recover`.
fn begin(machine: &Machine) -> Child {
    let mut command = machine.warded_command(["recover"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Locks sshd's directory as a run does, until its standard input is closed.
fn lock_directory(machine: &Machine) -> Child {
    let directory = machine.path("ssh");
    let found = directory.metadata().unwrap();
    let locked = format!("/run/warded/locks/{:x}-{}", found.dev(), found.ino());
    let mut holder = machine.command("flock");
    holder.arg(if is_root() { locked.into() } else { directory }).args(["sh", "-c", "echo locked; cat"]);
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "locked\n");
    holder
}

/// Whether a process holds the lock of the newest run's directory.
fn is_run_locked(machine: &Machine) -> bool {
    let inode = super::newest(machine).unwrap().metadata().unwrap().ino();
    fs::read_to_string("/proc/locks").unwrap().lines().any(|line| line.contains(&format!(":{inode} ")))
}

/// Whatever starts after `recover`, such as sshd, must find the old files.
#[test]
fn who_comes_second_ends_when_the_files_are_as_before() {
    let machine = Machine::start();
    let before = seen(&machine);
    apply_unconfirmed(&machine);
    let first = begin(&machine);
    wait("it has begun", LONG, || state(&machine).starts_with("roll"));
    let second = machine.warded(["recover", "--json"]).ends(0);
    assert_eq!((seen(&machine), state(&machine)), (before, "rolled-back".to_owned()), "{second:?}");
    assert_eq!(second.object("warded.recover/1")["others"].as_array().map(Vec::len), Some(1));
    Run::ended(first).ends(0).prints(&["had been interrupted; it was rolled back:"]);
    serves(&machine);
    machine.warded(["recover"]).ends(0).prints(&["Nothing was interrupted."]);
}

/// The first process has locked the run, and waits for the directories before it records that it rolls the run back.
#[test]
fn who_waits_for_the_directories_is_waited_for() {
    let machine = Machine::start();
    let before = seen(&machine);
    apply_unconfirmed(&machine);
    let mut holder = lock_directory(&machine);
    let first = begin(&machine);
    wait("it has locked the run", LONG, || is_run_locked(&machine));
    let mut second = begin(&machine);
    // Most recoveries take less time than this.
    sleep(Duration::from_secs(2));
    let ended = second.try_wait().unwrap();
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert!(ended.is_none(), "{:?}", Run::ended(second));
    Run::ended(first).ends(0).prints(&["had been interrupted; it was rolled back:"]);
    Run::ended(second).ends(0).prints(&["had been interrupted; another process rolled it back."]);
    assert_eq!((seen(&machine), state(&machine)), (before, "rolled-back".to_owned()));
}

/// None of the processes knows of the others when it looks for runs; only one gets the lock.
#[test]
fn who_begins_at_the_same_time_waits_as_well() {
    let machine = Machine::start();
    let before = seen(&machine);
    apply_unconfirmed(&machine);
    let both = [(); 3].map(|()| begin(&machine)).map(Run::ended);
    let rolled_back = both.iter().filter(|run| run.stdout.contains("had been interrupted; it was rolled back:"));
    assert_eq!(rolled_back.count(), 1, "{both:?}");
    for run in both {
        run.ends(0);
    }
    assert_eq!((seen(&machine), state(&machine)), (before, "rolled-back".to_owned()));
    serves(&machine);
}
