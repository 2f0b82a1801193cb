//! Kills a run at each call of the middleware, before and after the call's effect, with the watchdog alive and dead.
//! Afterwards the stored settings, the jobs and the files must be all old or all new. `WARDED_TEST_EVERY=1` tries every
//! call, `=3` every third; otherwise it is a sample.

use super::USER;
use crate::support::{
    true_nas::{CERTIFY, REMOVE, Settings, State, TRUST, TrueNas},
    wait::{LONG, wait},
};
use std::{env, fs};

const FAULTS: [&str; 4] = ["kills-before", "kills-after", "kills-all-before", "kills-all-after"];
const UNDO: [&str; 4] = ["undo", "--yes", "--accept-risk=admit-logins", "--accept-risk=root-by-certificate"];

#[test]
fn settings_jobs_and_files_agree_wherever_a_run_is_killed() {
    let settings = Settings { password_user: USER, options: "Banner none", ..Settings::of("25.10") };
    let Some(machine) = TrueNas::start(settings) else { return };
    let every: usize = env::var("WARDED_TEST_EVERY").map_or(7, |every| every.parse().unwrap());
    let (mut points, mut at) = (0, 0);
    for words in [&CERTIFY[..], &TRUST, &REMOVE] {
        let old = machine.state();
        let (calls, new) = calls(&machine, words);
        assert!(calls >= 5, "{words:?} calls the middleware {calls} times");
        for fault in FAULTS {
            for call in 1..=calls {
                at += 1;
                if at % every == 0 {
                    killed(&machine, words, &format!("call-{call}:{fault}"), (&old, &new));
                    points += 1;
                }
            }
        }
        machine.warded(words).ends(0);
    }
    println!("{points} points of {at}, at calls of the middleware");
    assert!(points > 0, "no call of the middleware was met");
}

/// How many times a command calls the middleware, and the state to which it leads. The command is rolled back.
fn calls(machine: &TrueNas, words: &[&str]) -> (usize, State) {
    fs::write(machine.file("/data/store/calls"), "").unwrap();
    machine.warded(words).ends(0);
    let (calls, new) = (machine.stored("calls").lines().count(), machine.state());
    machine.warded(&[&UNDO[..], &["--accept-risk=lose-ssh"]].concat()).ends(0);
    (calls, new)
}

fn killed(machine: &TrueNas, words: &[&str], mode: &str, (old, new): (&State, &State)) {
    fs::write(machine.file("/data/store/calls"), "").unwrap();
    machine.mode(mode);
    let run = machine.warded(words);
    assert!(run.code.is_none_or(|code| code > 128), "{mode}: {run:?}");
    wait("the watchdog has ended", LONG, || machine.processes().is_empty());
    machine.warded(&["recover"]).ends(0);
    let now = machine.state();
    assert!(now == *old || now == *new, "{words:?}, {mode}: {now:?}, neither {old:?} nor {new:?}");
    machine.is_as_generated();
    machine.sshd_takes_it().unwrap();
    if now != *old {
        machine.warded(&[&UNDO[..], &["--accept-risk=lose-ssh"]].concat()).ends(0);
        assert_eq!(machine.state(), *old);
    }
}
