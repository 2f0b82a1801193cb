//! After certification: the machine boots while its middleware is down, an upgrade replaces the system, and somebody
//! makes new host keys.

use super::USER;
use crate::support::{
    Run,
    true_nas::{CERTIFY, REMOVE, Settings, TRUST, TrueNas},
    wait::{LONG, wait},
};
use std::fs;

fn start() -> Option<TrueNas> {
    TrueNas::start(Settings { password_user: USER, options: "Banner none", ..Settings::of("25.10") })
}

fn sh(machine: &TrueNas, script: &str) {
    Run::of(machine.command("sh").args(["-ec", script])).ends(0);
}

/// A power cut interrupts the creation of a job, and the middleware starts later than the recovery. Each command tries
/// again.
#[test]
fn what_a_middleware_that_was_down_kept_from_being_rolled_back_is_tried_again() {
    let Some(machine) = start() else { return };
    let before = machine.state();
    for (again, code) in [(&["recover"][..], 0), (&["renew"], 2), (&["apply", "trust-user-ca", "--yes"], 5)] {
        machine.mode("cronjob.create:kills-all-after");
        machine.warded(&CERTIFY);
        wait("run and watchdog have ended", LONG, || machine.processes().is_empty());
        assert_ne!(machine.state(), before);
        machine.mode("cronjob.query:is-down");
        machine.warded(&["recover"]).ends(1).says(&["Failed connection handshake", "warded recover"]);
        let interrupted =
            "was interrupted; `warded recover`, or the next command that changes something, rolls it back";
        machine.warded(&["status"]).ends(4).prints(&[interrupted]);
        machine.mode("none");
        let run = machine.warded(again).ends(code);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains("had been interrupted") && said.contains("renewal-job-create"), "{said}");
        assert_eq!(machine.state(), before, "{again:?}: {run:?}");
        machine.is_as_generated();
        machine.lets_everybody_in(false);
    }
}

/// An upgrade keeps /root, the stored settings and the jobs, and replaces the rest of the system.
fn upgrade(machine: &TrueNas) {
    sh(
        machine,
        "pid=$(cat /run/sshd.pid); kill $pid; while [ -e /run/sshd.pid ]; do sleep 0.01; done
         rm -rf /var/lib/warded /etc/warded /etc/cron.d/middlewared /etc/ssh/ssh_host* /etc/ssh/sshd_config",
    );
    machine.calls(&["etc.generate", "ssh"]).ends(0);
    machine.serves();
}

const JOB: &str = "schedule     a job of the appliance's, made by renewal-job-create";

#[test]
fn an_upgrade_leaves_what_lies_in_places_that_last() {
    let Some(machine) = start() else { return };
    sh(&machine, "mv /etc/warded/policies /root/warded-policies; echo >/root/warded.toml");
    // A shell runs the job's command, so this path has to be quoted.
    const STATE: &str = "/root/jane's warded \"state\"";
    let warded = |words: &[&str]| {
        let mut command = machine.warded_command(words);
        command.env("WARDED_STATE", STATE).env("WARDED_POLICIES", "/root/warded-policies");
        Run::of(command.env("WARDED_CONFIG", "/root/warded.toml"))
    };
    warded(&CERTIFY).ends(0);
    let job = machine.stored("jobs");
    assert!(job.contains(r#"/root/jane'\''s warded "state""#) && job.contains("/root/warded-policies"), "{job}");
    upgrade(&machine);
    machine.lets_everybody_in(true);
    machine.is_as_generated();
    warded(&["status"]).ends(0).prints(&[JOB, "problems     none"]);
    machine.calls(&["cronjob.run", "1", "true"]).ends(0);
    assert!(!machine.file("/var/lib/warded").exists(), "the job has another state");
    warded(&["renew", "--force"]).ends(0);
    machine.lets_everybody_in(true);

    // A certificate is missing: sshd serves the others, and the next renewal makes it.
    fs::remove_file(machine.file("/root/warded-ssh_host_ed25519_key-cert.pub")).unwrap();
    machine.calls(&["service.reload", "ssh"]).ends(0);
    let lost = ["/etc/ssh/ssh_host_ed25519_key: no certificate; warded renew gets one", "which cannot be read"];
    warded(&["status"]).ends(4).prints(&lost);
    machine.calls(&["cronjob.run", "1", "true"]).ends(0);
    machine.lets_everybody_in(true);
    warded(&["status"]).ends(0);
}

#[test]
fn an_upgrade_replaces_what_lies_elsewhere() {
    let Some(machine) = start() else { return };
    machine.warded(&CERTIFY).ends(0);
    let certified = machine.state();
    upgrade(&machine);
    // What sshd serves is not lost. The renewal fails with a message, and so does the check of the jobs.
    machine.lets_everybody_in(true);
    machine.is_as_generated();
    let lost = ["enrolled     no: warded apply certify-host", "this machine is not enrolled: nothing renews it"];
    machine.warded(&["status"]).ends(4).prints(&lost);
    let words = ["this machine is not enrolled", "warded apply certify-host --set principal=NAME", "exited with 2"];
    machine.calls(&["cronjob.run", "1", "true"]).ends(1).says(&words);
    // After the policy is accepted and applied again, everything is as before, with the one existing job.
    machine.adds_policy("truenas");
    machine.warded(&CERTIFY).ends(0).prints(&["Enrolled. No file had to change."]);
    assert_eq!(machine.state(), certified);
    machine.warded(&["status"]).ends(0).prints(&[JOB, "problems     none"]);
    machine.calls(&["cronjob.run", "1", "true"]).ends(0);
    // The rejected line may be that job, so the job's existence alone proves nothing.
    sh(&machine, "echo '17 * * * * nobody /usr/bin/warded renew' >/etc/cron.d/rejected");
    machine.warded(&["status"]).ends(4).prints(&["nothing renews automatically: ", "/etc/cron.d/rejected"]);
    sh(&machine, "rm /etc/cron.d/rejected");
    machine.calls(&["cronjob.delete", "1"]).ends(0);
    machine.warded(&["status"]).ends(4).prints(&["nothing renews automatically"]);
    machine.warded(&CERTIFY).ends(0).prints(&["> run renewal-job-create"]);
    machine.warded(&["status"]).ends(0).prints(&[JOB]);
}

/// No record covers the lines. A person who sees them in the plan accepts that they go, whether or not the machine is
/// enrolled again. In releases before 25.04.1 the block has no `Match all`.
#[test]
fn without_records_the_lines_go_on_request() {
    let next = "--accept-risk=unrecorded-lines";
    for (version, enrols) in [("25.10", true), ("25.10", false), ("24.10", true), ("24.10", false)] {
        let settings = Settings { password_user: USER, options: "Banner none", ..Settings::of(version) };
        let Some(machine) = TrueNas::start(settings) else { return };
        let before = machine.state();
        machine.warded(&CERTIFY).ends(0);
        machine.warded(&TRUST).ends(0);
        let certified = machine.state();
        sh(&machine, "rm -rf /var/lib/warded /etc/warded");
        machine.adds_policy("truenas");
        if enrols {
            machine.warded(&CERTIFY).ends(0).prints(&["Enrolled. No file had to change."]);
        }
        let found = ["/etc/ssh/sshd_config has lines of Warded's", "warded apply remove", next];
        machine.warded(&["remove", "--yes"]).ends(4).prints(&found);
        machine.warded(&REMOVE).ends(5).says(&["which Warded did not write", next]);
        assert_eq!(machine.state(), certified, "{version}");
        machine.warded(&[&REMOVE[..], &[next]].concat()).ends(0);
        assert_eq!(machine.state(), before, "{version}, enrolled again: {enrols}");
        // What was taken out stays out.
        machine.warded(&["remove", "--yes", "--accept-risk=lose-ssh"]).ends(0);
        assert_eq!(machine.state(), before, "{version}, enrolled again: {enrols}");
        machine.is_as_generated();
        machine.lets_everybody_in(false);
    }
}

#[test]
fn a_job_that_somebody_disabled_is_told_and_not_doubled() {
    let Some(machine) = start() else { return };
    let before = machine.state();
    machine.warded(&CERTIFY).ends(0);
    let certified = machine.state();
    machine.calls(&["cronjob.update", "1", "{\"enabled\": false}"]).ends(0);
    let disabled = machine.state();
    assert_ne!(disabled, certified);
    machine.warded(&["status"]).ends(4).prints(&[
        "schedule     none: the job of the appliance's, made by renewal-job-create, is disabled",
        "nothing renews automatically: the appliance's job that renewal-job-create makes is disabled",
        "enable it where the appliance lists its jobs",
    ]);
    let told = "The cron job `Warded: renew SSH host certificates` is disabled";
    for words in [&["plan", "certify-host", "--set", "principal=web1.example.org"][..], &CERTIFY] {
        let run = machine.warded(words).ends(0);
        assert!(format!("{}{}", run.stdout, run.stderr).replace('\n', " ").contains(told), "{run:?}");
        assert_eq!(machine.state(), disabled);
    }
    machine.calls(&["cronjob.update", "1", "{\"enabled\": true}"]).ends(0);
    machine.warded(&["status"]).ends(0).prints(&[JOB, "problems     none"]);
    assert_eq!(machine.state(), certified);
    // A disabled job is removed like any other, and restored as disabled.
    machine.calls(&["cronjob.update", "1", "{\"enabled\": false}"]).ends(0);
    machine.warded(&REMOVE).ends(0);
    assert_eq!(machine.state(), before);
    machine.warded(&["undo", "--yes"]).ends(0);
    assert_eq!(machine.state(), disabled);
    machine.mode("cronjob.delete:fails-after");
    machine.warded(&REMOVE).ends(1).says(&["renewal-job-delete"]);
    machine.mode("none");
    assert_eq!(machine.state(), disabled);
    machine.warded(&REMOVE).ends(0);
    assert_eq!(machine.state(), before);
}

#[test]
fn host_keys_that_are_made_anew_get_new_certificates() {
    let Some(machine) = start() else { return };
    machine.warded(&CERTIFY).ends(0);
    sh(
        &machine,
        "cd /data/store/keys; for kind in rsa ecdsa ed25519; do rm ssh_host_${kind}_key*
         ssh-keygen -q -N '' -t $kind -f ssh_host_${kind}_key; done",
    );
    machine.calls(&["service.reload", "ssh"]).ends(0).prints(&["True"]);
    machine.lets_everybody_in(false);
    let problems =
        ["/etc/ssh/ssh_host_ed25519_key: no certificate; warded renew gets one", "and has no host key for it"];
    machine.warded(&["status"]).ends(4).prints(&problems);
    machine.calls(&["cronjob.run", "1", "true"]).ends(0);
    machine.lets_everybody_in(true);
    machine.is_as_generated();
    machine.warded(&["status"]).ends(0).prints(&["problems     none"]);
}

/// Until a certificate is due, nothing else than the renewal's warning and `status` would tell.
#[test]
fn parameters_that_somebody_emptied_are_told_by_the_renewal() {
    let Some(machine) = start() else { return };
    machine.warded(&CERTIFY).ends(0);
    machine.warded(&["renew"]).ends(0).prints(&["Nothing is due."]);
    machine.sets(Settings { password_user: USER, options: "", ..Settings::of("25.10") });
    let told = ["/root/warded-ssh_host_ed25519_key-cert.pub", "To put back what is missing: warded apply certify-host"];
    machine.warded(&["renew"]).ends(4).prints(&told);
    machine.warded(&CERTIFY).ends(0);
    machine.warded(&["renew"]).ends(0);
}
