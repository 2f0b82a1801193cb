//! After certification: the machine reboots, NethServer updates its sshd or is restored from its backup, a power cut
//! interrupts a run, and somebody makes new host keys.

use super::{
    NEW, SET,
    cells::{INCLUDE, ROOT_TOO, agrees, expected, get_in_by_the_ca, user_certificate_gets_in},
    certify, pinned_get_in, properties, trusting,
};
use crate::support::{
    Run,
    machine::KEYS,
    nethserver::{CUSTOM, NethServer},
    peer::OLD,
    wait::{LONG, wait},
};
use jiff::Timestamp;
use std::fs;

const TRUST: [&str; 4] = ["apply", "trust-user-ca", "--yes", ROOT_TOO];
const LOSE: &str = "--accept-risk=lose-ssh";
/// An event that NethServer signals when the package is updated; it restarts sshd.
const UPDATE: &str = "nethserver-openssh-update";
/// OpenSSH 9.2 without NethServer's list of algorithms, and an OpenSSH nearly as old as NethServer 7's with that list.
const MACHINES: [(&str, bool); 2] = [(NEW, false), (OLD, true)];

/// A machine that is certified, that takes users' certificates, and that renews by cron.
fn certified(suite: &str, strong: bool) -> Option<NethServer> {
    let machine = NethServer::start(suite, properties(strong, true))?;
    machine.starts_cron();
    certify(&machine).ends(0);
    machine.warded(&TRUST).ends(0);
    is_well(&machine, suite, strong);
    Some(machine)
}

/// Checks that every client that should gets in, that the templates give what is there, and that `status` finds nothing
/// wrong.
#[track_caller]
fn is_well(machine: &NethServer, suite: &str, strong: bool) {
    pinned_get_in(machine, expected(suite, strong).0);
    get_in_by_the_ca(machine);
    user_certificate_gets_in(machine, true);
    agrees(machine);
    machine.warded(&["status"]).ends(0).prints(&["problems     none"]);
}

fn updates(machine: &NethServer) {
    machine.signals(UPDATE).ends(0);
    wait("sshd listens", LONG, || machine.listens());
}

fn sh(machine: &NethServer, script: &str) {
    Run::of(machine.command("sh").args(["-ec", script])).ends(0);
}

/// Whether a client that knows only the CA gets in.
fn gets_in_by_the_ca(machine: &NethServer) -> bool {
    machine.client(&trusting(machine)).by_name().tries().code == Some(0)
}

#[test]
fn a_reboot_and_an_update_change_nothing() {
    for (suite, strong) in MACHINES {
        let Some(machine) = certified(suite, strong) else { return };
        let before = machine.tree();
        machine.loses_power();
        machine.warded(&["recover"]).ends(0).prints(&["Nothing was interrupted."]);
        machine.serves();
        machine.starts_cron();
        is_well(&machine, suite, strong);
        updates(&machine);
        is_well(&machine, suite, strong);
        assert_eq!(machine.tree(), before);
        machine.warded(&["renew", "--force"]).ends(0);
        is_well(&machine, suite, strong);
    }
}

/// An update of nethserver-openssh made `StrongEncryption` the default.
#[test]
fn an_update_that_brings_the_strong_list() {
    let Some(machine) = certified(OLD, false) else { return };
    machine.sets(properties(true, true));
    updates(&machine);
    is_well(&machine, OLD, true);
    machine.warded(&["renew", "--force"]).ends(0);
    is_well(&machine, OLD, true);

    // Here the list hides every certificate.
    let Some(machine) = certified(NEW, false) else { return };
    machine.sets(properties(true, true));
    updates(&machine);
    pinned_get_in(&machine, expected(NEW, true).0);
    assert!(!gets_in_by_the_ca(&machine));
    let hidden =
        "is on disk, and not served: sshd's HostKeyAlgorithms hides it; add ssh-ed25519-cert-v01@openssh.com to";
    machine.warded(&["status"]).ends(4).prints(&[hidden]);
    let run = machine.warded(&["renew", "--force"]).ends(4);
    assert!(
        format!("{}{}", run.stdout, run.stderr).contains("HostKeyAlgorithms would hide its certificate"),
        "{run:?}"
    );
    machine.sets(properties(false, true));
    updates(&machine);
    is_well(&machine, NEW, false);
}

/// NethServer's backup has what the lists name: of sshd's host keys only the RSA key, and Warded's certificates. Neither
/// Warded's state nor its policies are in it.
#[test]
fn a_backup_that_is_restored_on_a_new_machine() {
    for (suite, strong) in MACHINES {
        let Some(machine) = certified(suite, strong) else { return };
        let included = fs::read(machine.file(INCLUDE)).unwrap();
        // The lists of nethserver-base, nethserver-openssh and nethserver-backup-config, as far as they matter here.
        sh(
            &machine,
            "cd /etc/backup-config.d
             echo /etc/e-smith/templates-custom >nethserver-base.include
             printf '%s\n' /etc/ssh/ssh_host_rsa_key /etc/ssh/ssh_host_rsa_key.pub >nethserver-openssh.include
             echo /etc/backup-config.d/custom.include >nethserver-backup-config.include
             tar -cPf /root/backup.tar $(cat *.include)",
        );
        machine.loses_power();
        sh(
            &machine,
            "rm -r /etc/warded /var/lib/warded /etc/cron.d/warded-renew /etc/e-smith/templates-custom /etc/ssh/ssh_host_*
             rm /etc/backup-config.d/custom.include /etc/ssh/warded-user-ca.pub
             for kind in rsa ecdsa ed25519; do ssh-keygen -q -N '' -t $kind -f /etc/ssh/ssh_host_${kind}_key; done
             /sbin/e-smith/expand-template /etc/ssh/sshd_config",
        );
        machine.serves();
        machine.starts_cron();
        sh(&machine, "tar -xPf /root/backup.tar");
        updates(&machine);
        // On 9.2 the RSA key, which is restored, has its certificate.
        let has_certificate = suite == NEW;
        let pin = &machine.pins(&[if has_certificate { "rsa" } else { "ed25519" }])[0];
        machine.client(pin).connects();
        machine.client_with_certificate(pin).connects();
        assert_eq!(gets_in_by_the_ca(&machine), has_certificate);
        machine.warded(&["status"]).ends(4).prints(&[
            "enrolled     no: warded apply certify-host --set principal=NAME",
            "this machine is not enrolled: nothing renews it",
            "/etc/ssh/ssh_host_ed25519_key: its certificate is for another key",
        ]);
        machine.warded(&["renew"]).ends(2).says(&["warded apply certify-host --set principal=NAME"]);
        machine.adds_policy("nethserver");
        certify(&machine).ends(0);
        machine.warded(&TRUST).ends(0).prints(&["Nothing to do."]);
        is_well(&machine, suite, strong);
        assert_eq!(fs::read(machine.file(INCLUDE)).unwrap(), included);
        machine.warded(&["renew", "--force"]).ends(0);
        is_well(&machine, suite, strong);
    }
}

/// No record covers the lines. A person who sees them in the plan accepts that they go.
#[test]
fn without_records_the_lines_go_on_request() {
    let Some(machine) = NethServer::start(NEW, properties(false, true)) else { return };
    machine.starts_cron();
    // Only a record says who made the directories of the fragment.
    let files = || {
        let is_file = |(_, (mode, ..)): &(_, (u32, _, _, _))| mode & 0o170_000 != 0o040_000;
        machine.tree().into_iter().filter(is_file).collect::<Vec<_>>()
    };
    let before = files();
    certify(&machine).ends(0);
    machine.warded(&TRUST).ends(0);
    sh(&machine, "rm -r /etc/warded /var/lib/warded /etc/cron.d/warded-renew");
    machine.adds_policy("nethserver");
    certify(&machine).ends(0);
    let certified = machine.tree();
    let next = "--accept-risk=unrecorded-lines";
    machine.warded(&["apply", "remove", "--yes", LOSE]).ends(5).says(&["which Warded did not write", next]);
    machine.warded(&["plan", "remove", LOSE]).ends(5).prints(&["-HostCertificate"]).says(&[next]);
    machine.warded(&["plan", "remove", LOSE, next]).ends(3).prints(&["-HostCertificate", "-TrustedUserCAKeys"]);
    assert_eq!(machine.tree(), certified);
    machine.warded(&["apply", "remove", "--yes", LOSE, next]).ends(0);
    assert!(files() == before);
    agrees(&machine);
    assert!(!gets_in_by_the_ca(&machine));
}

/// sshd has the lines until the next event.
#[test]
fn a_fragment_that_is_gone_is_told_and_mended() {
    const COPY: &str = "sed -n '/^# BEGIN warded/,/^# END warded/p' /etc/ssh/sshd_config \
                        >>/etc/e-smith/templates-custom/etc/ssh/sshd_config/80Certificates";
    let Some(machine) = certified(NEW, false) else { return };
    let fragment = machine.file(CUSTOM).join("80Certificates");
    fs::remove_file(&fragment).unwrap();
    let told = format!("80Certificates are gone; put them back: {COPY}");
    machine.warded(&["status"]).ends(4).prints(&["the lines that run 2 left in", &told]);
    certify(&machine).ends(5).says(&["nothing was changed"]);
    machine.shell_beside(COPY).ends(0);
    is_well(&machine, NEW, false);

    // After the event the lines are in neither of the two.
    fs::remove_file(&fragment).unwrap();
    updates(&machine);
    pinned_get_in(&machine, &KEYS);
    assert!(!gets_in_by_the_ca(&machine));
    user_certificate_gets_in(&machine, false);
    machine.warded(&["status"]).ends(4).prints(&[
        "no HostCertificate line of sshd's configuration names its certificate",
        "no TrustedUserCAKeys line of sshd's configuration names the list of the CA's user keys",
        "put them back: warded apply certify-host, then warded apply trust-user-ca",
    ]);
    machine.warded(&["renew"]).ends(4).prints(&["To put back what is missing: warded apply certify-host"]);
    certify(&machine).ends(0);
    machine.warded(&TRUST).ends(0);
    is_well(&machine, NEW, false);
}

/// sshd starts with the run's lines, NethServer expands the templates, and the recovery comes later.
#[test]
fn a_run_that_a_power_cut_interrupts_is_recovered_after_the_reboot() {
    let Some(machine) = NethServer::start(NEW, properties(false, true)) else { return };
    let before = machine.tree();
    let cuts: [&dyn Fn(); 2] = [
        &|| drop(machine.warded(&["apply", "certify-host", "--set", SET, "--yes", "--confirm-within", "10m"]).ends(0)),
        &|| is_killed_before_the_commit(&machine),
    ];
    for (cut, is_changed) in cuts.iter().zip([true, false]) {
        cut();
        machine.loses_power();
        assert_ne!(machine.tree(), before);
        machine.serves();
        updates(&machine);
        pinned_get_in(&machine, &KEYS);
        assert_eq!(gets_in_by_the_ca(&machine), is_changed);
        assert_eq!(machine.product(), machine.configuration());
        machine.warded(&["status"]).ends(4).prints(&["was interrupted; `warded recover`"]);
        machine.warded(&["recover"]).ends(0).prints(&["had been interrupted; it was rolled back"]);
        assert_eq!(machine.tree(), before);
        pinned_get_in(&machine, &KEYS);
        assert!(!gets_in_by_the_ca(&machine));
        agrees(&machine);
    }
    // A renewal that waits before it asks the CA again does not let the recovery wait, too.
    let attempts = machine.file("/var/lib/warded/renewal-attempts.json");
    let until = Timestamp::now().as_second() + 1800;
    cuts[0]();
    machine.loses_power();
    machine.serves();
    fs::write(&attempts, format!(r#"{{"failures":3,"not_before":{until}}}"#)).unwrap();
    machine.warded(&["renew"]).ends(4).prints(&["Not tried"]).says(&["had been interrupted"]);
    assert_eq!(machine.tree(), before);
    fs::remove_file(&attempts).unwrap();
    certify(&machine).ends(0);
    get_in_by_the_ca(&machine);
}

/// Kills a run and its watchdog when the engine is asked again: the new files are there, and none is in place.
fn is_killed_before_the_commit(machine: &NethServer) {
    let tool = machine.file("/sbin/e-smith/expand-template");
    let engine = fs::read_to_string(&tool).unwrap();
    let kills = "open my $asked, '>>', '/run/asked'; print $asked 'x'; close $asked;
                 if (-s '/run/asked' == 2) {
                     for (glob '/proc/[0-9]*/cmdline') {
                         open my $line, '<', $_ or next;
                         kill 'KILL', m{(\\d+)} if (<$line> // '') =~ /\\0watchdog\\0/;
                     }
                     kill 'KILL', getppid;
                 }\n";
    fs::write(&tool, engine.replacen("use strict;\n", &format!("use strict;\n{kills}"), 1)).unwrap();
    assert!(certify(machine).code.is_none_or(|code| code > 128));
    fs::write(&tool, engine).unwrap();
}

#[test]
fn host_keys_that_are_made_anew_get_new_certificates() {
    let Some(machine) = NethServer::start(NEW, properties(false, true)) else { return };
    certify(&machine).ends(0);
    get_in_by_the_ca(&machine);
    // Removes the certificates together with the keys.
    let make = "rm /etc/ssh/ssh_host_*
                for kind in rsa ecdsa ed25519; do ssh-keygen -q -N '' -t $kind -f /etc/ssh/ssh_host_${kind}_key; done";
    Run::of(machine.command("sh").args(["-ec", make])).ends(0);
    machine.saves();
    pinned_get_in(&machine, &KEYS);
    let run = machine.client(&trusting(&machine)).by_name().tries();
    assert_ne!(run.code, Some(0), "{run:?}");
    let seen = "/etc/ssh/ssh_host_ed25519_key: no certificate; warded renew gets one";
    machine.warded(&["status"]).ends(4).prints(&[seen]);
    machine.warded(&["renew"]).ends(0);
    get_in_by_the_ca(&machine);
    pinned_get_in(&machine, &KEYS);
    agrees(&machine);
    let shown = machine.warded(&["status"]).prints(&["served"]).stdout;
    assert!(!shown.contains("no certificate"), "{shown}");
}
