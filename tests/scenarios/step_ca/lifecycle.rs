//! From no setup to certificates, their renewal, and back.

use crate::support::{
    ClientKnowledge, Machine, Member, Run,
    machine::KEYS,
    step_ca::{Provisioner, Setup, StepCa},
};
use std::{fs, process::Command};

/// ssh-keygen's listing of a certificate.
fn listed(member: &Member, name: &str) -> String {
    Run::of(Command::new("ssh-keygen").arg("-L").arg("-f").arg(member.certificate_file(name))).ends(0).stdout
}

#[test]
fn certificates_of_every_key_are_issued_served_renewed_and_undone() {
    let machine = Machine::start();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    let strict = || member.machine.client(&ClientKnowledge::Authority(ca.authority("host"))).connects();
    strict();
    for name in KEYS {
        let listed = listed(&member, name);
        for words in ["host certificate", "web1.example.org", "Key ID: \"web1.example.org\""] {
            assert!(listed.contains(words), "{name}: {words} is missing in {listed}");
        }
    }
    let before: Vec<String> = KEYS.iter().map(|name| member.certificate(name)).collect();
    assert!(member.warded(&["renew"]).ends(0).stdout.contains("Nothing is due"));
    // No password is available any more: the host's keys authenticate the renewals.
    let renewed = member.warded(&["renew", "--force", "--json"]).ends(0).object("warded.renew/1");
    strict();
    for (name, before) in KEYS.iter().zip(&before) {
        assert_ne!(member.certificate(name), *before, "{name}");
    }
    let log = fs::read_to_string(ca.path("log")).unwrap();
    assert_eq!(log.matches("\"/ssh/renew\"").count(), 3, "one request for each key");
    member.warded(&["undo", "--yes", "--down-to", &renewed["run"].to_string()]).ends(0);
    assert_eq!(member.certificate("ed25519"), before[2]);
    member.warded(&["undo", "--yes"]).ends(0);
    assert!(!member.certificate_file("ed25519").exists());
    member.machine.audit();
}

#[test]
fn an_x509_certificate_serves_instead_of_a_password() {
    let machine = Machine::stopped();
    let setup = Setup::of([Provisioner::jwk("admin"), Provisioner::x5c("machines"), Provisioner::sshpop("sshpop")]);
    let Some(ca) = StepCa::with(&machine.network(), &setup) else { return };
    let member = Member::of(machine, &ca);
    let (chain, key) = ca.x5c();
    member.certifies(&["--x5c-cert", chain.to_str().unwrap(), "--x5c-key", key.to_str().unwrap()]).ends(0);
    assert!(listed(&member, "rsa").contains("web1.example.org"));
}

#[test]
fn the_provisioners_key_serves_instead_of_its_password() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca);
    member.certifies(&["--provisioner-key-file", ca.key_file("admin").to_str().unwrap()]).ends(0);
    member.warded(&["renew", "--force"]).ends(0);
}

#[test]
fn what_expired_is_renewed_where_the_ca_allows_it() {
    let machine = Machine::stopped();
    let setup = Setup::of([
        Provisioner::jwk("admin"),
        Provisioner::sshpop("strict"),
        Provisioner::sshpop("late").claim("allowRenewalAfterExpiry", true),
    ]);
    let Some(ca) = StepCa::with(&machine.network(), &setup) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    member.signed_by_hand(&ca, &["-V", "-2d:-1d"]);
    member.warded(&["renew"]).ends(0);
    for name in KEYS {
        assert!(!listed(&member, name).contains("Serial: 77\n"), "{name} was not renewed");
    }
}

/// A host key of any type authenticates its own renewal, and Warded ignores the proxies in the environment.
#[test]
fn keys_of_every_curve_renew_themselves() {
    for bits in ["384", "521"] {
        let machine = Machine::stopped();
        let Some(ca) = StepCa::start(&machine.network()) else { return };
        let key = machine.path("ssh/ssh_host_ecdsa_key");
        fs::remove_file(&key).unwrap();
        fs::remove_file(key.with_extension("pub")).unwrap();
        Run::of(Command::new("ssh-keygen").args(["-q", "-N", "", "-t", "ecdsa", "-b", bits, "-f"]).arg(&key)).ends(0);
        let member = Member::of(machine, &ca).certified(&ca);
        let before = member.certificate("ecdsa");
        assert!(before.starts_with(&format!("ecdsa-sha2-nistp{bits}-cert-v01@openssh.com ")));
        let mut command = member.command(&["renew", "--force"]);
        for proxy in ["http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env(proxy, "http://127.0.0.1:1");
        }
        Run::of(&mut command).ends(0);
        assert_ne!(member.certificate("ecdsa"), before);
    }
}
