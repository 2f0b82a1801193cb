//! Every combination of StrongEncryption, ShellOverride and OpenSSH 7.5 or 9.2, with each procedure.

use super::{NEW, SET, certify, pinned_get_in, properties, trusting};
use crate::support::{
    nethserver::{CUSTOM, NethServer},
    peer::OLD,
};
use std::{fs, time::Instant};

/// NethServer lets root log in, so a certificate for root is a risk to accept.
pub(super) const ROOT_TOO: &str = "--accept-risk=root-by-certificate";
pub(super) const INCLUDE: &str = "/etc/backup-config.d/custom.include";

/// The types of the host keys that sshd offers, and those that get a certificate.
pub(super) fn expected(suite: &str, strong: bool) -> (&'static [&'static str], &'static [&'static str]) {
    match (suite == OLD, strong) {
        // Without `ssh-rsa` sshd does not offer the RSA key. With it, sshd would sign for the certificate with SHA-1.
        (true, true) => (&["ed25519"], &["ed25519"]),
        (true, false) => (&["rsa", "ecdsa", "ed25519"], &["ecdsa", "ed25519"]),
        (false, true) => (&["rsa", "ed25519"], &[]),
        (false, false) => (&["rsa", "ecdsa", "ed25519"], &["rsa", "ecdsa", "ed25519"]),
    }
}

/// Checks that Warded's block is in both places, and that the next event changes nothing.
pub(super) fn agrees(machine: &NethServer) {
    let before = machine.configuration();
    assert_eq!(machine.product(), before, "the templates give another file");
    machine.saves();
    assert_eq!(machine.configuration(), before);
}

pub(super) fn get_in_by_the_ca(machine: &NethServer) {
    let authority = trusting(machine);
    machine.client(&authority).by_name().connects();
    machine.client(&authority).of_this_machine().connects();
}

fn certified(machine: &NethServer, kinds: &[&str]) {
    for kind in ["rsa", "ecdsa", "ed25519"] {
        let path = format!("/etc/ssh/ssh_host_{kind}_key-cert.pub");
        assert_eq!(machine.file(&path).exists(), kinds.contains(&kind), "{kind}");
    }
}

/// Whether root can log in with the CA's certificate and without an authorized key.
pub(super) fn user_certificate_gets_in(machine: &NethServer, works: bool) {
    // Every configuration offers the Ed25519 key.
    let run = machine.client_with_certificate(&machine.pins(&["ed25519"])[0]).tries();
    assert_eq!(run.stdout == "in\n", works, "{run:?}");
}

fn through(suite: &str, strong: bool, shell_override: bool) {
    let Some(machine) = NethServer::start(suite, properties(strong, shell_override)) else { return };
    let (offered, kinds) = expected(suite, strong);
    fs::write(machine.file(INCLUDE), "/etc/mine").unwrap();
    let before = machine.tree();
    pinned_get_in(&machine, offered);
    let mut done: Vec<&str> = Vec::new();
    let begun = Instant::now();
    machine.warded(&["plan", "certify-host", "--set", SET]);
    eprintln!("plan on NethServer, {suite}: {} ms", begun.elapsed().as_millis());
    if kinds.is_empty() {
        let refused = certify(&machine).ends(5);
        refused.says(&["ssh-ed25519-cert-v01@openssh.com", "HostKeyAlgorithms", "nothing was changed"]);
        assert_eq!(machine.tree(), before);
        done.push("certify-host is refused: the list hides certificates");
    } else {
        certify(&machine).ends(0);
        certified(&machine, kinds);
        get_in_by_the_ca(&machine);
        agrees(&machine);
        certify(&machine).ends(0).prints(&["Nothing to do"]);
        let included = fs::read_to_string(machine.file(INCLUDE)).unwrap();
        assert!(included.contains("ssh_host_ed25519_key-cert.pub\n") && included.ends_with("/etc/mine"), "{included}");
        machine.warded(&["renew", "--force"]).ends(0);
        get_in_by_the_ca(&machine);
        agrees(&machine);
        done.extend(["certify-host", "renew-host"]);
    }
    user_certificate_gets_in(&machine, false);
    machine.warded(&["apply", "trust-user-ca", "--yes"]).ends(5).says(&["root"]);
    machine.warded(&["apply", "trust-user-ca", "--yes", ROOT_TOO]).ends(0);
    user_certificate_gets_in(&machine, true);
    agrees(&machine);
    pinned_get_in(&machine, offered);
    done.push("trust-user-ca");
    let with_both = machine.tree();

    machine.warded(&["apply", "remove", "--yes"]).ends(5).says(&["a way to log in would be gone"]);
    machine.warded(&["apply", "remove", "--yes", "--accept-risk=lose-ssh"]).ends(0);
    assert_eq!(machine.tree(), before, "remove");
    assert!(!machine.file(CUSTOM).exists());
    user_certificate_gets_in(&machine, false);
    pinned_get_in(&machine, offered);
    agrees(&machine);
    machine.warded(&["undo", "--yes"]).ends(5).says(&["would trust user CA keys again"]);
    machine.warded(&["undo", "--yes", ROOT_TOO, "--accept-risk=admit-logins"]).ends(0);
    assert_eq!(machine.tree(), with_both, "the undo of remove");
    machine.warded(&["remove", "--yes", "--accept-risk=lose-ssh"]).ends(0);
    assert_eq!(machine.tree(), before, "warded remove");
    pinned_get_in(&machine, offered);
    done.extend(["remove", "undo of remove", "warded remove"]);
    println!("{suite}, strong {strong}, override {shell_override}: certified {kinds:?}; {}", done.join(", "));
}

#[test]
fn an_old_openssh_with_the_strong_list() {
    through(OLD, true, false);
}

#[test]
fn an_old_openssh_with_the_strong_list_and_a_match_before() {
    through(OLD, true, true);
}

#[test]
fn an_old_openssh() {
    through(OLD, false, false);
}

#[test]
fn an_old_openssh_with_a_match_before() {
    through(OLD, false, true);
}

#[test]
fn a_new_openssh_with_the_strong_list() {
    through(NEW, true, false);
}

#[test]
fn a_new_openssh_with_the_strong_list_and_a_match_before() {
    through(NEW, true, true);
}

#[test]
fn a_new_openssh() {
    through(NEW, false, false);
}

#[test]
fn a_new_openssh_with_a_match_before() {
    through(NEW, false, true);
}

/// The procedures in the other order, and each undone by itself.
#[test]
fn the_procedures_in_the_other_order() {
    let Some(machine) = NethServer::start(NEW, properties(false, true)) else { return };
    let before = machine.tree();
    machine.warded(&["apply", "trust-user-ca", "--yes", ROOT_TOO]).ends(0);
    let trusted = machine.tree();
    machine.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
    get_in_by_the_ca(&machine);
    user_certificate_gets_in(&machine, true);
    agrees(&machine);
    machine.warded(&["undo", "--yes"]).ends(0);
    assert_eq!(machine.tree(), trusted);
    machine.warded(&["apply", "remove", "--yes", "--accept-risk=lose-ssh"]).ends(0);
    assert_eq!(machine.tree(), before);
    machine.warded(&["apply", "remove", "--yes"]).ends(0).prints(&["Nothing to do"]);
}
