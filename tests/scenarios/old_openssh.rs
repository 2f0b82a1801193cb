//! OpenSSH 7.5: its `HostKeyAlgorithms` does not filter certificates, and with RSA certificates it signs with SHA-1.

use crate::support::{ClientKnowledge, Peer, machine::NAME, peer::OLD};
use std::fs;

const SET: &str = "principal=web1.example.org";
/// The list that NethServer 7 has.
const NETHSERVER: &str = "HostKeyAlgorithms ssh-dss,ssh-ed25519,rsa-sha2-256,rsa-sha2-512\n";

/// Clients that have pinned a key of these types, or know the CA, can connect at each step.
fn through(lines: &str, kinds: &[&str]) {
    let Some(peer) = Peer::start(OLD, lines) else { return };
    fs::write(peer.file("/etc/hosts"), format!("127.0.0.1 localhost {NAME}\n")).unwrap();
    let key = |kind: &str| fs::read_to_string(peer.file(&format!("/etc/ssh/ssh_host_{kind}_key.pub"))).unwrap();
    let pins = || kinds.iter().for_each(|kind| drop(peer.client(&ClientKnowledge::Keys(key(kind))).connects()));
    let before = fs::read(peer.file("/etc/ssh/sshd_config")).unwrap();
    pins();
    let applied = peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
    assert!(applied.stdout.contains("would sign for its certificate with SHA-1"), "{}", applied.stdout);
    assert!(!peer.file("/etc/ssh/ssh_host_rsa_key-cert.pub").exists());
    let authority = peer.warded(&["ca", "roots", "--host"]).ends(0).stdout.trim().to_owned();
    let trusting = || {
        let client = || peer.client(&ClientKnowledge::Authority(authority.clone()));
        client().by_name().connects();
        client().of_this_machine().connects();
    };
    trusting();
    pins();
    peer.warded(&["renew", "--force"]).ends(0);
    trusting();
    pins();
    peer.warded(&["undo", "--yes"]).ends(0);
    pins();
    peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
    trusting();
    peer.warded(&["remove", "--yes"]).ends(0);
    assert_eq!(fs::read(peer.file("/etc/ssh/sshd_config")).unwrap(), before);
    pins();
}

#[test]
fn an_old_openssh_is_certified() {
    through("", &["rsa", "ecdsa", "ed25519"]);
}

/// The list has no certificate and only one key: without `ssh-rsa` the RSA key is not offered.
#[test]
fn an_old_list_without_certificates_hides_none() {
    through(NETHSERVER, &["ed25519"]);
}

/// `CASignatureAlgorithms` came with 7.9; the logins are proved without it.
#[test]
fn an_old_openssh_trusts_the_users_of_the_ca() {
    let Some(peer) = Peer::start(OLD, "") else { return };
    let trusts = ["apply", "trust-user-ca", "--yes", "--accept-risk=root-by-certificate"];
    peer.warded(&trusts).ends(0).prints(&["TrustedUserCAKeys"]);
}

/// The list had another name before 8.5. The advice uses the name that this sshd knows.
#[test]
fn the_advice_names_the_list_as_an_old_openssh_does() {
    let Some(peer) = Peer::start(OLD, "PubkeyAcceptedKeyTypes ssh-ed25519,ssh-rsa\n") else { return };
    let word = "ssh-ed25519-cert-v01@openssh.com";
    let trusts = ["plan", "trust-user-ca"];
    peer.warded(&trusts).ends(5).says(&[&format!("add {word} to PubkeyAcceptedKeyTypes"), "nothing was changed"]);
    let config = peer.file("/etc/ssh/sshd_config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("ssh-ed25519,ssh-rsa", &format!("ssh-ed25519,ssh-rsa,{word}"))).unwrap();
    peer.restarts_sshd();
    peer.warded(&trusts).ends(3);
}
