//! `sshd -i`: one session that logs in and has every host key proved.

use crate::peer::{Peer, each, file_of, limits};
use ssh_key::{Algorithm, Certificate, PrivateKey, rand_core::OsRng};
use std::time::Instant;
use warded_lib::handshake::{Fault, HostKey, HostKeyAlgorithm, KeyKind, Login, Query, Refusal, Session, Verdict};

/// Checks that the host key that was proved is the one in the peer's files.
pub(crate) fn compare(peer: &Peer, algorithm: HostKeyAlgorithm, host_key: &HostKey) {
    assert_eq!(host_key.algorithm, algorithm);
    let file = file_of(&host_key.key);
    assert_eq!(host_key.key.key_data(), peer.host_key(file).key_data(), "{algorithm}");
    assert_eq!(host_key.certificate().is_some(), algorithm.certificate);
    if let Some(certificate) = host_key.certificate() {
        let written = Certificate::read_file(&peer.path(&format!("{file}-cert.pub"))).unwrap();
        assert_eq!(certificate, written.to_bytes().unwrap(), "{algorithm}");
    } else {
        assert_eq!(host_key.blob, peer.host_key(file).to_bytes().unwrap(), "{algorithm}");
    }
}

fn prove_all(peer: &Peer) {
    let (stream, _sshd) = peer.once(&[]);
    let mut session = Session::open(stream, &limits()).unwrap();
    let offered: Vec<_> = HostKeyAlgorithm::all().filter(|one| session.server().offers(*one)).collect();
    assert_eq!(offered.len(), 12, "{:?}", session.server());
    compare(peer, offered[0], &session.exchange(offered[0]).unwrap());
    assert_eq!(session.authenticate("root", &peer.user).unwrap(), Login::Accepted);
    for algorithm in offered {
        compare(peer, algorithm, &session.exchange(algorithm).unwrap());
    }
}

#[test]
fn every_host_key_is_proved_in_one_session() {
    each(prove_all);
}

#[test]
fn users_with_every_kind_of_key_log_in() {
    each(|peer| {
        let rsa = PrivateKey::from(ssh_key::private::RsaKeypair::random(&mut OsRng, 2048).unwrap());
        let curves = [ssh_key::EcdsaCurve::NistP256, ssh_key::EcdsaCurve::NistP384, ssh_key::EcdsaCurve::NistP521];
        let ecdsa = curves.map(|curve| PrivateKey::random(&mut OsRng, Algorithm::Ecdsa { curve }).unwrap());
        for key in ecdsa.iter().chain([&rsa]) {
            std::fs::write(peer.path("authorized_keys"), key.public_key().to_openssh().unwrap()).unwrap();
            let (stream, _sshd) = peer.once(&[]);
            let mut session = Session::open(stream, &limits()).unwrap();
            session.exchange(HostKeyAlgorithm::key(KeyKind::Ed25519)).unwrap();
            assert_eq!(session.query("root", key.public_key()).unwrap(), Query::Acceptable);
            assert_eq!(session.authenticate("root", key).unwrap(), Login::Accepted);
            session.exchange(HostKeyAlgorithm::certificate(KeyKind::EcdsaP256)).unwrap();
        }
    });
}

#[test]
fn who_would_get_in_is_told_without_a_signature() {
    each(|peer| {
        let stranger = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
        let refused = || Refusal { methods: vec!["publickey".to_owned()], partial: false };
        let cases = [
            ("DenyUsers=nobody", Query::Acceptable, Login::Accepted),
            ("DenyUsers=root", Query::Refused(refused()), Login::Refused(refused())),
            ("PermitRootLogin=no", Query::Acceptable, Login::Refused(refused())),
            (
                "AuthenticationMethods=publickey,publickey",
                Query::Acceptable,
                Login::Refused(Refusal { partial: true, ..refused() }),
            ),
        ];
        let only = ["PasswordAuthentication=no", "ChallengeResponseAuthentication=no"];
        let banner = format!("Banner={}", peer.path("banner").display());
        for (rule, query, login) in cases {
            let (stream, _sshd) = peer.once(&[only[0], only[1], &banner, rule]);
            let mut session = Session::open(stream, &limits()).unwrap();
            session.exchange(HostKeyAlgorithm::key(KeyKind::Ed25519)).unwrap();
            let unknown = session.query("root", stranger.public_key()).unwrap();
            assert_eq!(unknown, Query::Refused(refused()), "{rule}");
            assert_eq!(session.query("root", peer.user.public_key()).unwrap(), query, "{rule}");
            assert_eq!(session.authenticate("root", &peer.user).unwrap(), login, "{rule}");
        }
    });
}

#[test]
fn what_is_not_offered_is_not_asked_for() {
    each(|peer| {
        let (stream, _sshd) = peer.once(&["HostKeyAlgorithms=ssh-ed25519,rsa-sha2-512"]);
        let mut session = Session::open(stream, &limits()).unwrap();
        assert_eq!(
            session.server().host_keys,
            ["rsa-sha2-512", "ssh-ed25519"].map(String::from).into_iter().rev().collect::<Vec<_>>()
        );
        let not_offered = HostKeyAlgorithm::key(KeyKind::EcdsaP256);
        for login in [false, true] {
            if login {
                session.exchange(HostKeyAlgorithm::key(KeyKind::Ed25519)).unwrap();
                assert_eq!(session.authenticate("root", &peer.user).unwrap(), Login::Accepted);
            }
            let fault = session.exchange(not_offered).unwrap_err();
            assert!(matches!(fault, Fault::NotOffered { algorithm } if algorithm == not_offered), "{fault}");
        }
        session.exchange(HostKeyAlgorithm::key(KeyKind::RsaSha512)).unwrap();
        assert!(session.exchange(HostKeyAlgorithm::key(KeyKind::RsaSha256)).is_err());
    });
}

#[test]
fn a_server_that_exchanges_keys_by_itself_is_followed() {
    each(|peer| {
        let (stream, _sshd) = peer.once(&["RekeyLimit=1K"]);
        let mut session = Session::open(stream, &limits()).unwrap();
        session.exchange(HostKeyAlgorithm::key(KeyKind::Ed25519)).unwrap();
        assert_eq!(session.authenticate("root", &peer.user).unwrap(), Login::Accepted);
        for _ in 0..3 {
            session.exchange(HostKeyAlgorithm::certificate(KeyKind::EcdsaP256)).unwrap();
        }
    });
}

#[test]
fn a_session_before_its_first_exchange_asks_for_nobody() {
    each(|peer| {
        let (stream, _sshd) = peer.once(&[]);
        let mut session = Session::open(stream, &limits()).unwrap();
        let fault = session.authenticate("root", &peer.user).unwrap_err();
        assert_eq!(fault.verdict(), Verdict::Incapable);
    });
}

/// Prints how long a session takes: `cargo test --release -- --ignored --nocapture measure`.
#[test]
#[ignore = "measures, and decides nothing"]
fn measure_a_session() {
    each(|peer| {
        let plain = HostKeyAlgorithm::all().filter(|one| one.kind != KeyKind::RsaSha256);
        let all: Vec<_> = plain.collect();
        let three: Vec<_> = [KeyKind::Ed25519, KeyKind::EcdsaP256, KeyKind::RsaSha512]
            .into_iter()
            .flat_map(|kind| [HostKeyAlgorithm::certificate(kind), HostKeyAlgorithm::key(kind)])
            .collect();
        for (name, algorithms) in [("login + 3 certificates + 3 keys", &three), ("login + 5 + 5", &all)] {
            let mut times: Vec<_> = (0..10)
                .map(|_| {
                    let began = Instant::now();
                    let (stream, _sshd) = peer.once(&[]);
                    let mut session = Session::open(stream, &limits()).unwrap();
                    session.exchange(algorithms[0]).unwrap();
                    assert_eq!(session.authenticate("root", &peer.user).unwrap(), Login::Accepted);
                    for algorithm in &algorithms[1..] {
                        session.exchange(*algorithm).unwrap();
                    }
                    began.elapsed()
                })
                .collect();
            times.sort();
            eprintln!("  {name}: {:.1?} {:.1?}", times[0], times[5]);
        }
    });
}
