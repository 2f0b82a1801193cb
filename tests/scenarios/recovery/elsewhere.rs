//! Runs with different state directories know of each other: no run builds on a change that another may still roll
//! back.

use super::*;

/// Gives the command a state directory of its own.
fn elsewhere(machine: &Machine, mut command: Command) -> Command {
    command.env("WARDED_STATE", machine.path("another-state"));
    command
}

#[test]
fn nothing_is_built_on_what_another_state_directory_may_roll_back() {
    if missing::root() {
        return;
    }
    let machine = Machine::start();
    let old = seen(&machine);
    Run::of(&mut certify(&machine, &["--confirm-within", "10m"])).ends(0);
    let waiting = seen(&machine);
    let refused = || {
        let revoke = machine.warded_command(["apply", "revoke-users", "--yes", "--set", "serial=7"]);
        let run = Run::of(&mut elsewhere(&machine, revoke));
        assert!(!matches!(run.code, Some(0) | None), "{run:?}");
        run.says(&["whose state is in", "has not ended", "nothing was changed", "--state"]);
        assert_eq!(seen(&machine), waiting);
    };
    refused();
    // No watchdog is left.
    watchdogs(&machine).into_iter().for_each(|pid| send(pid, Signal::KILL));
    wait("the watchdog ends", LONG, || watchdogs(&machine).is_empty());
    refused();
    recover(&machine, 0);
    assert_eq!(seen(&machine), old);
    Run::of(&mut elsewhere(&machine, certify(&machine, &[]))).ends(0);
    machine.serves_certificates();
}

#[test]
fn whoever_changes_what_one_sshd_reads_waits_for_the_other() {
    if missing::root() {
        return;
    }
    // Both start at once: one of them is first, and the other sees its whole change or is refused.
    for _ in 0..3 {
        let machine = Machine::start();
        let spawn = |mut command: Command| {
            command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).spawn().unwrap()
        };
        let mut runs = [spawn(certify(&machine, &[])), spawn(elsewhere(&machine, certify(&machine, &[])))];
        let ended = runs.each_mut().map(|run| run.wait().unwrap().code());
        assert!(ended.contains(&Some(0)), "{ended:?}");
        machine.serves_certificates();
        serves(&machine);
        assert!(recover(&machine, 0)["runs"].as_array().unwrap().is_empty());
    }
}
