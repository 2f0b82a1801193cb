//! A middleware that fails, a person at the web interface, and a killed run.

use crate::support::{
    Run,
    appliance::SECRET,
    true_nas::{CERTIFY, REMOVE, Settings, State, TrueNas, all},
    wait::{LONG, wait},
};
use std::fs;

const USER: &str = "jane";

fn start(options: &str) -> Option<TrueNas> {
    TrueNas::start(Settings { options, password_user: Some(USER), ..Settings::of("25.10") })
}

#[test]
fn a_middleware_that_fails_changes_nothing() {
    let Some(machine) = start("Banner none\n") else { return };
    let before = machine.state();
    for (mode, says) in [
        ("ssh.config:is-down", "Failed connection handshake"),
        ("ssh.config:login", "neither an object nor a list of objects"),
        ("ssh.config:nonsense", "neither an object nor a list of objects"),
        ("ssh.config:other-version", "have no text `options`"),
        ("cronjob.query:refuses", "not permitted"),
        ("cronjob.query:other-version", "renewal-job shows none of the members that the policy names"),
        ("ssh.update:refuses", "not permitted"),
        ("ssh.update:dies", "was ended by a signal"),
        // The setting is stored, but sshd was not told.
        ("ssh.update:reload-fails", "Failed to reload SSH service"),
        // The call did everything, and then reported a failure.
        ("ssh.update:fails-after", "connection closed"),
        ("ssh.update:talks", "gave more than 1 MiB"),
        ("cronjob.create:refuses", "not permitted"),
        ("cronjob.create:fails-after", "connection closed"),
    ] {
        machine.mode(mode);
        let run = machine.warded(&CERTIFY);
        assert!(!matches!(run.code, Some(0) | None), "{mode}: {run:?}");
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains(says) && !said.contains(SECRET), "{mode}: {run:?}");
        is_untouched(&machine, &before, &format!("{mode}: {run:?}"));
    }
    machine.lets_everybody_in(false);
    machine.warded(&CERTIFY).ends(0);
    machine.lets_everybody_in(true);
}

/// Checks that the middleware works again, and has its old settings.
#[track_caller]
fn is_untouched(machine: &TrueNas, before: &State, what: &str) {
    machine.mode("none");
    assert_eq!(machine.state(), *before, "{what}");
    machine.is_as_generated();
}

/// `ssh.update` may take a minute and a half, so it hangs only if all cases are tried.
#[test]
fn a_middleware_that_hangs_changes_nothing() {
    let Some(machine) = start("Banner none\n") else { return };
    let before = machine.state();
    let modes = [("ssh.config:hangs", 20), ("cronjob.create:hangs", 20), ("ssh.update:hangs", 90)];
    for (mode, seconds) in modes.into_iter().filter(|(mode, _)| all() || !mode.starts_with("ssh.update")) {
        machine.mode(mode);
        let run = machine.warded(&CERTIFY).ends(1);
        let told = format!("(/usr/bin/midclt) did not end within {seconds} s");
        assert!(run.stderr.contains(&told), "{mode}: {run:?}");
        is_untouched(&machine, &before, &format!("{mode}: {run:?}"));
        machine.lets_everybody_in(false);
    }
    machine.warded(&CERTIFY).ends(0);
    machine.lets_everybody_in(true);
}

#[test]
fn a_person_at_the_web_interface_is_not_overruled() {
    let Some(machine) = start("Banner none\n") else { return };
    let before = machine.state();
    // The second query runs under the lock, and the third right before the change.
    for (asked, code) in [("2", 5), ("3", 4)] {
        fs::write(machine.file("/data/store/calls"), "").unwrap();
        fs::write(machine.file("/data/store/edit-before"), format!("ssh.config:{asked} options LogLevel INFO"))
            .unwrap();
        machine.warded(&CERTIFY).ends(code);
        assert_eq!(machine.stored("options"), "LogLevel INFO\n");
        assert_eq!(machine.state().jobs, before.jobs);
        fs::write(machine.file("/data/store/options"), "Banner none\n").unwrap();
        assert_eq!(machine.state(), before);
    }
    // The stored text has not been generated yet.
    fs::write(machine.file("/data/store/options"), "LogLevel INFO\n").unwrap();
    machine.warded(&CERTIFY).ends(1).says(&["stale-configuration", "save the settings of the SSH service"]);
    machine.calls(&["service.reload", "ssh"]);
    machine.warded(&CERTIFY).ends(0);
    machine.lets_everybody_in(true);
}

/// Somebody saves another setting of the SSH service right before one of the calls, from the first one of the plan to
/// the last one of the run. The middleware then generates from what is stored: with Warded's lines, or without them.
#[test]
fn another_setting_that_somebody_saves_meanwhile_holds_and_locks_nobody_out() {
    // The sample: the version, who could log in by password before, and whether Warded's lines are added or removed.
    const SAMPLE: [(&str, &str, bool); 2] = [("25.10", "", true), ("24.10", USER, false)];
    let mut points = 0;
    for version in ["24.10", "25.10"] {
        for (from, to) in [("", USER), (USER, "")] {
            for comes in [true, false] {
                if all() || SAMPLE.contains(&(version, from, comes)) {
                    let settings = Settings { options: "Banner none", ..Settings::of(version) };
                    let Some(machine) = TrueNas::start(settings) else { return };
                    points += saved_meanwhile(&machine, settings, (from, to), comes);
                }
            }
        }
    }
    println!("{points} moments at which somebody saves another setting");
}

/// Tries every such moment of a run, and returns how many there are.
fn saved_meanwhile(machine: &TrueNas, settings: Settings<'_>, (from, to): (&str, &str), comes: bool) -> usize {
    let (words, back) = if comes { (&CERTIFY[..], &REMOVE[..]) } else { (&REMOVE[..], &CERTIFY[..]) };
    let edit = machine.file("/data/store/edit-before");
    if !comes {
        machine.warded(&CERTIFY).ends(0);
    }
    let mut count = 0;
    loop {
        let options = machine.stored("options");
        machine.sets(Settings { password_user: Some(from), options: &options, ..settings });
        let before = machine.state();
        fs::write(machine.file("/data/store/calls"), "").unwrap();
        let call = if count == 0 { "ssh.update:1".to_owned() } else { format!("ssh.config:{count}") };
        fs::write(&edit, format!("{call} password-user {to}")).unwrap();
        let run = machine.warded(words);
        if edit.exists() {
            fs::remove_file(&edit).unwrap();
            run.ends(0);
            assert!(count > 4, "{count} calls");
            return count;
        }
        assert!(matches!(run.code, Some(0 | 4 | 5)), "{call}: {run:?}");
        println!("{}, {}, {call}: {:?} {}", settings.version, words[1], run.code, run.stderr);
        // The run is done, or everything is as before; in both cases the saved setting is in place.
        let is_done = run.code == Some(0);
        let now = machine.state();
        assert_eq!(now.options != before.options, is_done, "{call}: {run:?}");
        assert_eq!(now.jobs != before.jobs, is_done, "{call}: {run:?}");
        assert_eq!(now.sshd_config.contains(USER), to == USER, "{call}: {run:?}");
        machine.is_as_generated();
        machine.lets_everybody_in(comes == is_done);
        // The next command completes the change, and the way back works.
        machine.warded(words).ends(0);
        machine.is_as_generated();
        machine.lets_everybody_in(comes);
        machine.warded(back).ends(0);
        assert_eq!(machine.stored("options"), options, "{call}");
        count += 1;
    }
}

#[test]
fn a_tool_that_others_can_change_is_not_run() {
    let Some(machine) = start("") else { return };
    let before = machine.state();
    let sh = |script: &str| Run::of(machine.command("sh").args(["-ec", script])).ends(0);
    for (harm, mend, says) in [
        ("chmod 757 /usr/bin/midclt", "chmod 755 /usr/bin/midclt", "midclt"),
        (
            "mv /usr/bin/midclt /tmp/midclt; ln -s /tmp/midclt /usr/bin/midclt; chmod 777 /tmp",
            "rm /usr/bin/midclt; mv /tmp/midclt /usr/bin/midclt; chmod 1777 /tmp",
            "tmp",
        ),
        ("chmod 644 /usr/bin/midclt", "chmod 755 /usr/bin/midclt", "midclt"),
        (
            "mv /usr/bin/midclt /usr/lib/midclt; chmod 757 /usr/lib/midclt; ln -s /usr/lib/midclt /usr/bin/midclt",
            "rm /usr/bin/midclt; chmod 755 /usr/lib/midclt; mv /usr/lib/midclt /usr/bin/midclt",
            "midclt",
        ),
    ] {
        sh(harm);
        let run = machine.warded(&CERTIFY);
        assert!(!matches!(run.code, Some(0) | None) && run.stderr.contains(says), "{harm}: {run:?}");
        sh(mend);
        assert_eq!(machine.state(), before, "{harm}");
    }
    // Without this program it is not a TrueNAS.
    sh("mv /usr/bin/midclt /usr/bin/midclt.away");
    machine.warded(&[&CERTIFY[..], &["--policy", "truenas"]].concat()).ends(1).says(&["there is no /usr/bin/midclt"]);
    sh("mv /usr/bin/midclt.away /usr/bin/midclt");
    assert_eq!(machine.state(), before);
}

#[test]
fn a_run_that_is_killed_is_rolled_back_with_the_stored_settings() {
    let Some(machine) = start("Banner none") else { return };
    let before = machine.state();
    for mode in [
        "ssh.update:kills-before",
        "ssh.update:kills-after",
        "cronjob.create:kills-before",
        "cronjob.create:kills-after",
    ] {
        machine.mode(mode);
        machine.warded(&CERTIFY);
        wait("the watchdog has rolled it back", LONG, || machine.processes().is_empty() && machine.state() == before);
        machine.is_as_generated();
        machine.lets_everybody_in(false);
    }
    // The next command finds nothing to roll back.
    machine.warded(&["recover"]).ends(0);
    assert_eq!(machine.state(), before);
}
