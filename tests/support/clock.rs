//! A machine whose clock is wrong: faketime(1)'s library shifts the clock for one program. A CA's clock cannot be
//! shifted like this, because step-ca asks the kernel itself.

use jiff::Timestamp;
use std::{fs, path::PathBuf, process::Command};

/// Shifts the clock that a program and its children see, by seconds.
pub(crate) fn shift(command: &mut Command, seconds: i64) {
    command.env("LD_PRELOAD", library()).env("FAKETIME", format!("{seconds:+}"));
    // Durations stay real.
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_NO_CACHE", "1");
}

fn library() -> PathBuf {
    let directories = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut libraries = directories.map(|directory| directory.join("faketime/libfaketime.so.1"));
    libraries.find(|library| library.exists()).expect("the package libfaketime is missing: run .ci/install")
}

#[test]
fn a_programs_clock_is_wrong_and_the_machines_is_not() {
    let now = || Timestamp::now().as_second();
    for seconds in [3600, -90] {
        let machine = super::Machine::stopped();
        let mut command = machine.warded_command(["plan", "certify-host", "--set", "principal=web1.example.org"]);
        shift(&mut command, seconds);
        let planned = super::Run::of(&mut command).ends(3);
        let record = machine.audit().pop().unwrap();
        let time: Timestamp = record["time"].as_str().unwrap().parse().unwrap();
        let off = time.as_second() - now();
        assert!((off - seconds).abs() < 10, "{off} s: {record} {planned:?}");
    }
}
