//! Servers whose configuration allows only a few algorithms.

use crate::{
    peer::{each, limits},
    session::compare,
};
use warded_lib::{
    guard::client::{Question, known_hosts::ClientKnowledge},
    handshake::{Choice, Fault, HostKeyAlgorithm, KeyKind, Login, Session, Verdict},
};

const KEX: [&str; 6] = [
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "mlkem768x25519-sha256",
];
const AEADS: [&str; 3] = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"];
const CTRS: [&str; 3] = ["aes128-ctr", "aes192-ctr", "aes256-ctr"];
const MACS: [&str; 4] =
    ["hmac-sha2-256", "hmac-sha2-512", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"];

#[test]
fn every_algorithm_is_spoken_with_every_peer() {
    each(|peer| {
        let mut options: Vec<Vec<String>> = Vec::new();
        options.extend(KEX.map(|kex| vec![format!("KexAlgorithms={kex}")]));
        options.extend(AEADS.map(|cipher| vec![format!("Ciphers={cipher}"), "MACs=umac-64@openssh.com".to_owned()]));
        options.extend(
            CTRS.iter().flat_map(|cipher| MACS.map(|mac| vec![format!("Ciphers={cipher}"), format!("MACs={mac}")])),
        );
        let mut spoken = 0;
        for options in options {
            let names: Vec<_> = options.iter().map(String::as_str).collect();
            let (stream, _sshd) = peer.once(&names);
            let mut session = match Session::open(stream, &limits()) {
                Ok(session) => session,
                // This sshd does not know the method, and exits.
                Err(fault) => {
                    assert!(names[0].contains("mlkem") && !peer.knows_mlkem(), "{names:?}: {fault}");
                    continue;
                }
            };
            let certificate = HostKeyAlgorithm::certificate(KeyKind::Ed25519);
            compare(peer, certificate, &session.exchange(certificate).unwrap());
            assert_eq!(session.authenticate("root", &peer.user).unwrap(), Login::Accepted, "{names:?}");
            let key = HostKeyAlgorithm::key(KeyKind::EcdsaP256);
            compare(peer, key, &session.exchange(key).unwrap());
            compare(peer, certificate, &session.exchange(certificate).unwrap());
            spoken += 1;
        }
        assert!(spoken >= 20, "{spoken}");
    });
}

#[test]
fn what_is_not_spoken_here_is_named() {
    each(|peer| {
        for (option, what) in [
            ("KexAlgorithms=diffie-hellman-group14-sha256", Choice::Kex),
            ("Ciphers=aes128-cbc", Choice::Cipher),
            ("Compression=no", Choice::Compression),
        ] {
            let (stream, _sshd) = peer.once(&[option]);
            let mut session = Session::open(stream, &limits()).unwrap();
            let answer = session.exchange(HostKeyAlgorithm::key(KeyKind::Ed25519));
            if what == Choice::Compression {
                answer.unwrap();
                continue;
            }
            let fault = answer.unwrap_err();
            assert_eq!(fault.verdict(), Verdict::Incapable);
            assert!(matches!(fault, Fault::NotSpoken { choice, .. } if choice == what), "{fault}");
        }
    });
}

/// The server has an RSA key, but offers it with SHA-1 signatures only: the client must not report the key as missing.
#[test]
fn an_rsa_key_that_is_offered_by_sha_1_alone_is_not_called_missing() {
    each(|peer| {
        let (stream, _sshd) = peer.once(&["HostKeyAlgorithms=ssh-rsa"]);
        let question =
            Question { knows: ClientKnowledge::Nothing, key_type: "ssh-rsa", certificate: false, name: "probe" };
        let fault = question.ask_alone(stream).unwrap_err();
        assert!(matches!(&fault, Fault::Unsupported { name } if name == "ssh-rsa"), "{fault}");
        assert_eq!(fault.verdict(), Verdict::Incapable);
    });
}
