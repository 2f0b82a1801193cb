//! The terminal, the reader of the output, the watchdog or the run itself may disappear at any moment.

use super::*;
use std::process::{Child, ExitStatus, Stdio};

/// Starts a certification, and returns it as soon as it has begun to change files.
fn committing(machine: &Machine, command: &mut Command) -> Child {
    let run = command.stdin(Stdio::null()).spawn().unwrap();
    wait("it changes files", LONG, || ["committing", "kept"].contains(&state(machine).as_str()));
    run
}

/// The process id of Warded itself: in a namespace, nsenter(1) has started it.
pub(super) fn warded(run: &Child) -> i32 {
    let pid = run.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let inner = children.split_whitespace().next().and_then(|child| child.parse().ok());
    inner
        .filter(|_| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() == "nsenter\n")
        .unwrap_or(run.id().try_into().unwrap())
}

fn kept(machine: &Machine, status: Option<ExitStatus>) {
    if let Some(status) = status {
        assert_eq!(status.code(), Some(0));
    }
    wait("it is kept", LONG, || state(machine) == "kept");
    wait("nothing is left of it", LONG, || watchdogs(machine).is_empty());
    machine.serves_certificates();
    assert!(recover(machine, 0)["runs"].as_array().unwrap().is_empty());
    assert!(details(machine, "ended").iter().any(|detail| detail == "kept"));
}

#[test]
fn no_signal_that_can_be_ignored_ends_it() {
    let machine = Machine::start();
    let mut run = committing(&machine, certify(&machine, &[]).stdout(Stdio::null()));
    let pid = warded(&run);
    let mut sent = 0;
    while state(&machine) == "committing" {
        for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::PIPE, Signal::TSTP] {
            send(pid, signal);
            sent += 1;
        }
        sleep(Duration::from_millis(5));
    }
    assert!(sent > 6, "{sent}");
    // A signal that arrives after the change is kept may end it.
    let status = run.wait().unwrap();
    kept(&machine, status.code().map(|_| status));
}

#[test]
fn its_terminal_may_hang_up() {
    let machine = Machine::start();
    let command = certify(&machine, &[]);
    let line: Vec<_> = command.get_args().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let line = format!("{} {}", command.get_program().to_str().unwrap(), line.join(" "));
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]).stdout(Stdio::null());
    let mut terminal = committing(&machine, machine.environment(&mut terminal));
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    kept(&machine, None);
}

#[test]
fn nobody_has_to_read_what_it_says() {
    let machine = Machine::start();
    // If the review cannot be printed, nothing is changed.
    let before = seen(&machine);
    let command = certify(&machine, &[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" >/dev/full", "sh"]).arg(command.get_program()).args(command.get_args());
    Run::of(machine.environment(&mut shell)).ends(1).says(&["stdout"]);
    assert_eq!((seen(&machine), state(&machine)), (before, String::new()));
    // The reader disappears while files are being changed.
    let mut run = committing(&machine, certify(&machine, &["--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()));
    drop((run.stdout.take(), run.stderr.take()));
    kept(&machine, Some(run.wait().unwrap()));
}

#[test]
fn the_watchdog_rolls_back_what_a_killed_run_left() {
    let machine = Machine::start();
    let old = seen(&machine);
    let mut run = committing(&machine, certify(&machine, &[]).stdout(Stdio::null()));
    send(warded(&run), Signal::KILL);
    run.wait().unwrap();
    wait("rolled back", LONG, || state(&machine) == "rolled-back" && watchdogs(&machine).is_empty());
    assert_eq!(seen(&machine), old);
    serves(&machine);
    assert!(details(&machine, "ended").last().unwrap().contains("the run ended before it was complete"));
}

#[test]
fn the_watchdog_ends_a_run_that_hangs_and_rolls_it_back() {
    let machine = Machine::start();
    let old = seen(&machine);
    // Without this limit a stage may take two minutes.
    let mut run =
        committing(&machine, certify(&machine, &[]).env("WARDED_TEST_STAGE_LIMIT", "3").stdout(Stdio::null()));
    let pid = warded(&run);
    send(pid, Signal::STOP);
    assert_eq!(state(&machine), "committing");
    wait("rolled back", LONG, || state(&machine) == "rolled-back" && watchdogs(&machine).is_empty());
    assert!(!PathBuf::from(format!("/proc/{pid}/exe")).exists(), "it was not ended");
    // nsenter(1) was stopped together with the process that it started.
    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!(seen(&machine), old);
    serves(&machine);
    assert!(details(&machine, "ended").last().unwrap().contains("the run hung"));
}

#[test]
fn the_death_of_the_watchdog_does_not_hurt_the_run() {
    let machine = Machine::start();
    let mut run = committing(&machine, certify(&machine, &[]).stdout(Stdio::null()));
    watchdogs(&machine).into_iter().for_each(|pid| send(pid, Signal::KILL));
    kept(&machine, Some(run.wait().unwrap()));
}

#[test]
fn the_watchdog_has_a_session_of_its_own_and_heeds_no_signal() {
    let machine = Machine::start();
    Run::of(&mut certify(&machine, &["--confirm-within", "10m"])).ends(0);
    let [pid] = watchdogs(&machine)[..] else { panic!("one watchdog") };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // Fields of proc_pid_stat(5), beginning with the third: state, ppid, pgrp, session, tty_nr.
    let own = |field: &str| field != "0";
    assert!(fields[2] == fields[3] && own(fields[2]) && fields[4] == "0", "{stat}");
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
        send(pid, signal);
    }
    let pending = |name: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() != 0
    };
    wait("every signal has come", LONG, || !pending("SigPnd:") && !pending("ShdPnd:"));
    assert_eq!(watchdogs(&machine), [pid]);
    machine.warded(["confirm", "--same-login"]).ends(0);
    wait("it lets go", LONG, || watchdogs(&machine).is_empty());
}

#[test]
fn recovery_leaves_what_somebody_edited_and_says_so() {
    let machine = Machine::start();
    let old = seen(&machine);
    Run::of(&mut certify(&machine, &["--confirm-within", "10m"])).ends(0);
    watchdogs(&machine).into_iter().for_each(|pid| send(pid, Signal::KILL));
    wait("the watchdog ends", LONG, || watchdogs(&machine).is_empty());
    let edited = machine.path("ssh/sshd_config.d/50-warded.conf");
    fs::write(&edited, "# mine\n").unwrap();
    let recovered = recover(&machine, 4);
    let left = &recovered["runs"][0]["left_alone"][0];
    assert_eq!(left["path"], edited.to_str().unwrap(), "{recovered}");
    assert_eq!(fs::read(&edited).unwrap(), b"# mine\n");
    fs::remove_file(&edited).unwrap();
    assert_eq!(seen(&machine), old);
    serves(&machine);
}

#[test]
fn an_edit_that_would_stop_sshd_is_not_reloaded_by_a_recovery() {
    let machine = Machine::start();
    Run::of(&mut certify(&machine, &["--confirm-within", "10m"])).ends(0);
    watchdogs(&machine).into_iter().for_each(|pid| send(pid, Signal::KILL));
    wait("the watchdog ends", LONG, || watchdogs(&machine).is_empty());
    fs::write(machine.path("ssh/sshd_config.d/70-theirs.conf"), "Prot 22\n").unwrap();
    let recovered = recover(&machine, 4);
    let reload = recovered["runs"][0]["reloads"][0]["error"].as_str().unwrap();
    assert!(reload.contains("it would stop"), "{recovered}");
    fs::remove_file(machine.path("ssh/sshd_config.d/70-theirs.conf")).unwrap();
    serves(&machine);
}

#[test]
fn a_listener_that_is_gone_is_told_of() {
    let machine = Machine::start();
    Run::of(&mut certify(&machine, &["--confirm-within", "10m"])).ends(0);
    watchdogs(&machine).into_iter().for_each(|pid| send(pid, Signal::KILL));
    wait("the watchdog ends", LONG, || watchdogs(&machine).is_empty());
    let pid = fs::read_to_string(machine.path("sshd.pid")).unwrap();
    Run::of(machine.command("kill").arg(pid.trim())).ends(0);
    wait("sshd ends", LONG, || !machine.path("sshd.pid").exists());
    let recovered = recover(&machine, 4);
    assert!(recovered.to_string().contains("sshd does not listen any more"), "{recovered}");
}
