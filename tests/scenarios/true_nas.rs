//! The policy `truenas` on machines that generate sshd's configuration from stored settings, each in the order of one
//! of several releases, with a real sshd.

mod belated;
mod cells;
mod core;
mod faults;
mod interrupted;
mod killed;
mod lasting;
mod removal;

use crate::support::{
    appliance::SECRET,
    true_nas::{CERTIFY, REMOVE, Settings, TRUST, TrueNas},
};
use std::{fs, time::Instant};

const USER: Option<&str> = Some("jane");

#[test]
fn everything_comes_and_goes() {
    let settings = Settings { password_user: USER, options: "Banner none", ..Settings::of("25.10") };
    let Some(machine) = TrueNas::start(settings) else { return };
    let before = machine.state();
    machine.lets_everybody_in(false);
    let begun = Instant::now();
    let plan = machine.warded(&["plan", "certify-host", "--set", "principal=web1.example.org"]).ends(3);
    eprintln!("plan on TrueNAS: {} ms", begun.elapsed().as_millis());
    let plan = plan.prints(&[
        "> run ssh-update",
        "> run renewal-job-create",
        "+HostCertificate /root/warded-ssh_host_rsa_key-cert.pub",
    ]);
    assert!(plan.stdout.lines().next().unwrap().contains("policy truenas 0.1.0 ("), "{}", plan.stdout);
    assert_eq!(machine.state(), before);

    let run = machine.warded(&CERTIFY).ends(0);
    assert!(!format!("{run:?}").contains(SECRET));
    machine.lets_everybody_in(true);
    machine.is_as_generated();
    let options = machine.stored("options");
    assert!(
        options.starts_with("Banner none\n# BEGIN warded\n") && options.contains("\nMatch all\nHostCertificate "),
        "{options}"
    );
    assert_eq!(machine.state().jobs.lines().count(), 1);
    machine.warded(&CERTIFY).ends(0).prints(&["Nothing to do"]);
    machine.warded(&["status"]).ends(0).prints(&["schedule     a job of the appliance's, made by renewal-job-create"]);
    machine.warded(&["doctor"]).ends(0);

    // The job renews without changing a setting, and the middleware deletes none of Warded's files.
    let stored = machine.stored("options");
    fs::write(machine.file("/data/store/calls"), "").unwrap();
    machine.warded(&["renew", "--force"]).ends(0);
    assert_eq!(machine.stored("calls"), "");
    machine.calls(&["cronjob.run", "1", "true"]).ends(0);
    machine.calls(&["service.reload", "ssh"]).ends(0).prints(&["True"]);
    machine.lets_everybody_in(true);
    assert_eq!(machine.stored("options"), stored);

    machine.lets_in_by_certificate(false);
    machine.warded(&TRUST).ends(0);
    machine.is_as_generated();
    machine.lets_everybody_in(true);
    machine.lets_in_by_certificate(true);
    assert!(machine.stored("options").contains("TrustedUserCAKeys /root/warded-user-ca.pub\n"));
    machine.warded(&TRUST).ends(0).prints(&["Nothing to do"]);
    let log = fs::read_to_string(machine.file("/var/lib/warded/audit/log.jsonl")).unwrap();
    assert!(!log.contains(SECRET));

    // Somebody deleted the job. Warded reports that, and makes it again, once.
    machine.calls(&["cronjob.delete", "1"]).ends(0);
    machine.warded(&["status"]).ends(4).prints(&["the job that renewal-job-create made is gone"]);
    machine.warded(&CERTIFY).ends(0);
    assert_eq!(machine.state().jobs.lines().count(), 1);

    machine.warded(&REMOVE).ends(0);
    assert_eq!(machine.state(), before);
    machine.lets_everybody_in(false);
    machine.lets_in_by_certificate(false);
    machine.is_as_generated();
    machine.warded(&["status"]).ends(4).prints(&["nothing renews automatically"]);
    machine.warded(&REMOVE).ends(0).prints(&["Nothing to do"]);
}

#[test]
fn undo_and_removal_give_back_what_was_there() {
    let settings = Settings { options: "Match User bob\n  X11Forwarding no", ..Settings::of("24.10") };
    let Some(machine) = TrueNas::start(Settings { password_user: USER, ..settings }) else { return };
    let before = machine.state();
    machine.warded(&CERTIFY).ends(0).prints(&["before an", "update to such a release"]);
    assert!(machine.stored("options").starts_with("# BEGIN warded\n"));
    machine.lets_everybody_in(true);
    machine.is_as_generated();
    machine.warded(&["undo", "--yes"]).ends(0);
    assert_eq!(machine.state(), before);
    machine.lets_everybody_in(false);

    machine.warded(&TRUST).ends(0);
    machine.warded(&CERTIFY).ends(0);
    machine.warded(&["remove", "--yes", "--accept-risk=lose-ssh"]).ends(0);
    assert_eq!(machine.state(), before);
    machine.lets_everybody_in(false);
}

/// The template omits a line of its own if the stored text contains its keyword anywhere, even in a comment. No text of
/// Warded's contains one of these words.
#[test]
fn no_word_of_ours_switches_a_default_of_the_appliances_off() {
    const DEFAULTS: [&str; 7] = [
        "Protocol 2",
        "UseDNS no",
        "ChallengeResponseAuthentication no",
        "ClientAliveCountMax 3",
        "ClientAliveInterval 15",
        "VersionAddendum none",
        "Ciphers +aes128-cbc",
    ];
    let Some(machine) = TrueNas::start(Settings::of("25.10")) else { return };
    let missing = || {
        let text = machine.state().sshd_config;
        DEFAULTS.into_iter().filter(|line| text.lines().all(|there| there != *line)).collect::<Vec<_>>()
    };
    let is_alive = || {
        let shown = crate::support::Run::of(machine.command("/usr/sbin/sshd").arg("-T")).ends(0).stdout;
        shown.lines().any(|line| line == "clientaliveinterval 15")
    };
    for version in ["22.02", "24.10", "25.10"] {
        let settings = Settings::of(version);
        for line in DEFAULTS {
            let word = line.split(' ').next().unwrap();
            machine.sets(Settings { options: &format!("# Warded leaves {word} as it is."), ..settings });
            assert_eq!(missing(), [line], "{version}");
            assert_eq!(is_alive(), word != "ClientAliveInterval", "{version}");
        }
        machine.sets(settings);
        machine.warded(&CERTIFY).ends(0);
        machine.warded(&TRUST).ends(0);
        machine.is_as_generated();
        assert!(machine.stored("options").contains("# Managed by Warded") && is_alive());
        assert_eq!(missing(), [""; 0], "{version}");
        machine.warded(&REMOVE).ends(0);
    }
}

/// The steps of the TrueNAS document, each with its effect, and Warded's instead.
#[test]
fn the_documents_steps_lock_people_out_and_ours_do_not() {
    let key2 = "HostKey /etc/ssh/ssh_host_ecdsa_key2\nHostCertificate /etc/ssh/ssh_host_ecdsa_key2-cert.pub";
    let settings = Settings { password_user: USER, ..Settings::of("25.04.2") };
    let Some(machine) = TrueNas::start(settings) else { return };
    let make = "ssh-keygen -q -t ecdsa -N '' -f /etc/ssh/ssh_host_ecdsa_key2 && cp /etc/ssh/ssh_host_ecdsa_key2.pub \
                /tmp/k.pub && ssh-keygen -q -s /root/ca/host_ca -h -I x -n web1.example.org /tmp/k.pub && \
                cp /tmp/k-cert.pub /etc/ssh/ssh_host_ecdsa_key2-cert.pub";
    let sh = |script: &str| crate::support::Run::of(machine.command("sh").args(["-ec", script])).ends(0);
    // After a `Match` of the appliance's, sshd no longer starts.
    sh(make);
    machine.calls(&["ssh.update", &format!("{{\"options\":{}}}", serde_json::Value::from(key2))]).ends(0);
    let refused = machine.sshd_takes_it().unwrap_err();
    assert!(refused.contains("is not allowed within a Match block"), "{refused}");
    assert!(!machine.gets_in(Some("ed25519")), "sshd is dead");
    // The same call has also removed the new key: the middleware does not know that file.
    assert!(!machine.file("/etc/ssh/ssh_host_ecdsa_key2").exists());

    // Without such a user sshd starts, but no longer offers the keys that people know.
    let quiet = Settings { options: "", ..Settings::of("25.04.2") };
    machine.sets(quiet);
    machine.serves();
    machine.lets_everybody_in(false);
    for (directory, code, words) in [
        ("/root/.step", 1, "take the line `HostKey /root/.step/ssh_host_ecdsa_key2` out"),
        ("/root/keys", 3, "does not use the host keys that TrueNAS made"),
    ] {
        sh(&format!("mkdir -p {directory} && ssh-keygen -q -t ecdsa -N '' -f {directory}/ssh_host_ecdsa_key2"));
        machine.sets(Settings { options: &format!("HostKey {directory}/ssh_host_ecdsa_key2"), ..quiet });
        machine.sshd_takes_it().unwrap();
        assert!(!machine.gets_in(Some("ed25519")), "the key that was pinned is gone");
        // That line belongs to the administrator: it stays, and the plan says what it does.
        let plan = machine.warded(&["plan", "certify-host", "--set", "principal=web1.example.org"]).ends(code);
        assert!(format!("{}{}", plan.stdout, plan.stderr).contains(words), "{plan:?}");
    }

    // If the administrator has a certificate for it, there is nothing left to certify, and so nothing to renew.
    sh("ssh-keygen -q -s /root/ca/host_ca -h -I x -n web1.example.org /root/keys/ssh_host_ecdsa_key2.pub");
    let theirs = "HostKey /root/keys/ssh_host_ecdsa_key2\nHostCertificate /root/keys/ssh_host_ecdsa_key2-cert.pub";
    machine.sets(Settings { options: theirs, ..quiet });
    machine.sshd_takes_it().unwrap();
    let jobs = machine.stored("jobs");
    machine
        .warded(&CERTIFY)
        .ends(1)
        .says(&["there is nothing to certify", "take the HostKey and HostCertificate lines out"]);
    assert_eq!(machine.stored("jobs"), jobs);

    // The database owns certificates in /etc/ssh, so a certificate that is renewed beside its key is lost at the next
    // reload. A file with the user CA is deleted.
    machine.sets(quiet);
    sh("echo old >/data/store/keys/ssh_host_ed25519_key-cert.pub; echo new >/etc/ssh/ssh_host_ed25519_key-cert.pub; \
        echo key >/etc/ssh/ssh_user_key.pub");
    machine.calls(&["service.reload", "ssh"]).ends(0);
    assert_eq!(fs::read_to_string(machine.file("/etc/ssh/ssh_host_ed25519_key-cert.pub")).unwrap(), "old\n");
    assert!(!machine.file("/etc/ssh/ssh_user_key.pub").exists());

    // Warded's way.
    machine.sets(settings);
    machine.warded(&CERTIFY).ends(0);
    machine.warded(&TRUST).ends(0);
    machine.calls(&["service.reload", "ssh"]).ends(0).prints(&["True"]);
    machine.lets_everybody_in(true);
    // The same after settings that somebody changes later.
    for later in [
        Settings { password_user: None, ..settings },
        Settings { two_factor: true, ..settings },
        Settings { password_user: Some("ann"), ..settings },
    ] {
        let options = machine.stored("options");
        machine.sets(Settings { options: &options, ..later });
        machine.lets_everybody_in(true);
    }
}
