//! A middleware that does what it was asked for only after its client was ended and the run was rolled back.

use super::USER;
use crate::support::{
    Run,
    true_nas::{CERTIFY, REMOVE, Settings, TRUST, TrueNas, all},
    wait::{LONG, wait},
};
use std::fs;

fn start() -> Option<TrueNas> {
    TrueNas::start(Settings { password_user: USER, options: "Banner none", ..Settings::of("25.10") })
}

/// Runs a command whose change the middleware makes after the run has been rolled back.
fn belated(machine: &TrueNas, words: &[&str], fault: &str, says: &[&str]) {
    let before = machine.state();
    machine.mode(fault);
    machine.warded(words).ends(1).says(says).says(&["as before"]);
    assert_eq!(machine.state(), before, "{fault}");
    fs::write(machine.file("/data/store/go-on"), "").unwrap();
    wait("the middleware has done it", LONG, || !machine.stored("went-on").is_empty());
    for name in ["go-on", "went-on"] {
        fs::remove_file(machine.file(&format!("/data/store/{name}"))).unwrap();
    }
    assert_ne!(machine.state(), before, "{fault}");
    machine.is_as_generated();
    machine.mode("none");
}

/// The settings are changed late. `ssh.update` may take a minute and a half, so its client hangs only if all cases are
/// tried, and fails otherwise.
fn settings_belated(machine: &TrueNas, words: &[&str]) {
    if all() {
        let told = "ssh-update (/usr/bin/midclt) did not end within 90 s; what it has asked for may still happen";
        belated(machine, words, "ssh.update:works-on", &[told, "in a few minutes: warded status"]);
    } else {
        belated(machine, words, "ssh.update:breaks-off", &["ssh-update", "connection closed"]);
    }
}

/// sshd starts anew with what the middleware has generated, and lets everybody in.
#[track_caller]
fn sshd_starts_anew(machine: &TrueNas, is_certified: bool) {
    let pid = fs::read_to_string(machine.file("/run/sshd.pid")).unwrap();
    Run::of(machine.command("kill").arg(pid.trim())).ends(0);
    wait("sshd ends", LONG, || !machine.is_served());
    machine.serves();
    machine.lets_everybody_in(is_certified);
}

fn set(run: u32, query: &str, action: &str) -> String {
    format!("run {run} was rolled back, and {query} shows all the same what {action} was to set")
}

#[test]
fn what_a_middleware_does_after_the_roll_back_locks_nobody_out_and_is_told() {
    let Some(machine) = start() else { return };
    let before = machine.state();
    settings_belated(&machine, &CERTIFY);
    // The configuration names certificates that the roll back has removed. sshd goes on without them.
    let now = machine.state();
    assert!(now.options.contains("HostCertificate /root/warded-") && now.sshd_config.contains(&now.options));
    assert_eq!(now.files.keys().collect::<Vec<_>>(), before.files.keys().collect::<Vec<_>>());
    sshd_starts_anew(&machine, false);
    let next = "run warded apply certify-host again, with the same settings";
    machine.warded(&["status"]).ends(4).prints(&[
        &set(1, "ssh-config", "ssh-update"),
        next,
        "but this machine is not enrolled",
    ]);
    machine.warded(&["status", "--prometheus"]).ends(4).prints(&["warded_drift 1"]);
    machine.warded(&REMOVE).ends(0);
    assert_eq!(machine.state(), before);
    machine.warded(&["status"]).ends(0).prints(&["enrolled     no", "problems     none"]);

    settings_belated(&machine, &CERTIFY);
    machine.warded(&CERTIFY).ends(0);
    machine.is_as_generated();
    machine.lets_everybody_in(true);
    machine.warded(&["status"]).ends(0).prints(&["problems     none"]);

    settings_belated(&machine, &TRUST);
    sshd_starts_anew(&machine, true);
    machine.lets_in_by_certificate(false);
    machine.warded(&["renew", "--force"]).ends(0);
    machine
        .warded(&["status"])
        .ends(4)
        .prints(&[&set(5, "ssh-config", "ssh-update"), "run warded apply trust-user-ca again"]);
    machine.warded(&TRUST).ends(0);
    machine.lets_in_by_certificate(true);
    machine.lets_everybody_in(true);
    machine.is_as_generated();
    machine.warded(&["status"]).ends(0).prints(&["problems     none"]);

    settings_belated(&machine, &REMOVE);
    sshd_starts_anew(&machine, false);
    let status = machine.warded(&["status"]).ends(4);
    let status = status.prints(&[&set(8, "ssh-config", "ssh-update"), "run warded apply remove again"]);
    assert!(!status.stdout.contains("somebody changed"), "{status:?}");
    machine.warded(&REMOVE).ends(0);
    assert_eq!(machine.state(), before);
    machine.lets_everybody_in(false);
    machine.warded(&["status"]).ends(4).prints(&["nothing renews automatically"]);
}

#[test]
fn a_job_that_comes_after_the_roll_back_is_told_and_not_doubled() {
    let Some(machine) = start() else { return };
    let before = machine.state();
    let told = "renewal-job-create (/usr/bin/midclt) did not end within 20 s; what it has asked for may still happen";
    belated(&machine, &CERTIFY, "cronjob.create:works-on", &[told, "in a few minutes: warded status"]);
    sshd_starts_anew(&machine, false);
    assert_eq!(machine.state().jobs.lines().count(), 1);
    machine.calls(&["cronjob.run", "1", "true"]).ends(1).says(&["this machine is not enrolled"]);
    machine
        .warded(&["status"])
        .ends(4)
        .prints(&[&set(1, "renewal-job", "renewal-job-create"), "run warded apply certify-host again"]);
    machine.warded(&CERTIFY).ends(0);
    assert_eq!(machine.state().jobs.lines().count(), 1);
    machine.calls(&["cronjob.run", "1", "true"]).ends(0);
    machine.warded(&["status"]).ends(0).prints(&["problems     none"]);
    machine.warded(&REMOVE).ends(0);
    assert_eq!(machine.state(), before);
}
