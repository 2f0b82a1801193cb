//! Instructions for NethServer that are on the web, followed to the letter. Each way in which they lock people out also
//! happens on this stand-in, and does not with Warded.

use super::{NEW, certify, instruction, pinned_get_in, properties, trusting};
use crate::support::{
    Run,
    nethserver::NethServer,
    peer::OLD,
    wait::{LONG, wait},
};

/// Makes a new key with a certificate, as the instructions make them with `step`.
fn makes_key2(machine: &NethServer) {
    let script = "cd /etc/ssh && ssh-keygen -q -t ecdsa -N '' -f ssh_host_ecdsa_key2 && \
                  ssh-keygen -q -h -s /root/ca/host_ca -I web1 -n web1.example.org ssh_host_ecdsa_key2.pub";
    Run::of(machine.command("sh").args(["-c", script])).ends(0);
}

/// The line of key exchanges is cut off: sshd does not start, and the event reports success.
fn cut_off(suite: &str) {
    let Some(machine) = NethServer::start(suite, properties(true, false)) else { return };
    makes_key2(&machine);
    machine.custom("20Encryption", &instruction("20Encryption"));
    machine.custom("80Certificates", &instruction("80Certificates"));
    machine.signals("nethserver-openssh-update").ends(0);
    assert!(!machine.listens());
    machine.client(&machine.pins(&["ed25519"])[0]).tries().ends(255);
    // Warded changes nothing there, and names the line.
    let tree = machine.tree();
    let refused = certify(&machine);
    assert!(matches!(refused.code, Some(1 | 5)), "{refused:?}");
    refused.says(&["diffie-hel$"]);
    assert_eq!(machine.tree(), tree);
}

#[test]
fn a_cut_off_line_ends_every_old_sshd() {
    cut_off(OLD);
}

#[test]
fn a_cut_off_line_ends_every_new_sshd() {
    cut_off(NEW);
}

/// With that line repaired, a list of algorithms hides the certificate from OpenSSH 7.8 on, so clients that know only
/// the CA cannot connect.
#[test]
fn a_list_hides_the_certificate_of_a_new_openssh() {
    let Some(machine) = NethServer::start(NEW, properties(true, false)) else { return };
    makes_key2(&machine);
    machine.custom("20Encryption", &instruction("20Encryption").replace(",diffie-hel$", ""));
    machine.custom("80Certificates", &instruction("80Certificates"));
    machine.signals("nethserver-openssh-update").ends(0);
    wait("sshd listens", LONG, || machine.listens());
    machine.client(&trusting(&machine)).by_name().tries().ends(255);
}

/// A new key beside one that clients know: to them it is a changed host key.
#[test]
fn a_second_key_makes_the_machine_another_one_to_those_who_know_the_first() {
    let Some(machine) = NethServer::start(NEW, properties(false, false)) else { return };
    pinned_get_in(&machine, &["ecdsa"]);
    makes_key2(&machine);
    machine.custom("80Certificates", &instruction("80Certificates"));
    machine.signals("nethserver-openssh-update").ends(0);
    wait("sshd listens", LONG, || machine.listens());
    let pin = &machine.pins(&["ecdsa"])[0];
    let out = machine.client(pin).tries().ends(255);
    assert!(out.stderr.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{out:?}");

    // The instructions' lines stay, and Warded certifies every key that sshd offers.
    certify(&machine).ends(0);
    let product = machine.product();
    assert!(product.contains(&instruction("80Certificates")) && product == machine.configuration(), "{product}");
    assert_eq!(product.matches("ssh_host_ecdsa_key2-cert.pub").count(), 1, "{product}");
    machine.client(&trusting(&machine)).by_name().connects();
}

/// A fragment that cannot be expanded: the file stays, and the event restarts sshd nevertheless.
#[test]
fn a_restart_comes_even_where_the_expansion_failed() {
    let Some(machine) = NethServer::start(NEW, properties(false, false)) else { return };
    machine.custom("85Mine", "{ unmatched\n");
    let before = machine.configuration();
    let pid = || std::fs::read_to_string(machine.file("/run/sshd.pid")).unwrap();
    let old = pid();
    machine.signals("nethserver-openssh-update").ends(1);
    wait("sshd listens", LONG, || machine.listens());
    assert_ne!(pid(), old);
    assert_eq!(machine.configuration(), before);
    // A plan reports that before anything is changed.
    let tree = machine.tree();
    certify(&machine).ends(1).says(&["85Mine", "unmatched open brace"]);
    assert_eq!(machine.tree(), tree);
}
