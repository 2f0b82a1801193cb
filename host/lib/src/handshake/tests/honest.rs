//! Tries every combination of algorithms.

use crate::handshake::{
    HostKeyAlgorithm, KeyKind, Query, Refusal, Session,
    cipher::{Cipher, Mac},
    kex::Kex,
    negotiate::Abilities,
    serve,
    testing::{identities, key, limits},
};
use std::{os::unix::net::UnixStream, thread};

/// Connects a client with these abilities to an honest server. The client continues after the proof.
fn meet(abilities: Abilities, algorithm: HostKeyAlgorithm, user: &ssh_key::PublicKey) {
    let (client, server) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(server, identities(), &limits()).unwrap());
        let mut session = Session::with(client, &limits(), abilities).unwrap();
        let host_key = session.exchange(algorithm).unwrap();
        let served = identities().iter().find(|one| one.key.public_key().key_data() == host_key.key.key_data());
        let served = served.expect("it is one of the server's keys");
        let plain = served.key.public_key().to_bytes().unwrap();
        assert_eq!(host_key.blob, if algorithm.certificate { served.certificate.clone().unwrap() } else { plain });
        let refusal = Refusal { methods: vec!["publickey".to_owned()], partial: false };
        assert_eq!(session.query("root", user).unwrap(), Query::Refused(refusal));
        drop(session);
        let served = server.join().unwrap();
        assert!(served.accepted);
        assert_eq!((served.algorithm, &*served.client), (algorithm, "SSH-2.0-Warded"));
    });
}

#[test]
fn every_combination_of_algorithms() {
    let user = key(KeyKind::Ed25519);
    let (user, algorithms) = (user.public_key(), || HostKeyAlgorithm::all());
    let aeads = Cipher::ALL.into_iter().filter(|cipher| cipher.is_aead()).map(|cipher| (cipher, Mac::Sha256));
    let others = Cipher::ALL.into_iter().filter(|cipher| !cipher.is_aead());
    let others = others.flat_map(|cipher| Mac::ALL.map(|mac| (cipher, mac)));
    let protections: Vec<_> = aeads.chain(others).collect();
    let half = |kexes: &[Kex]| {
        for kex in kexes {
            for (cipher, mac) in &protections {
                for algorithm in algorithms() {
                    let abilities = Abilities { kex: vec![*kex], ciphers: vec![*cipher], macs: vec![*mac] };
                    meet(abilities, algorithm, user);
                }
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| half(&Kex::ALL[..3]));
        half(&Kex::ALL[3..]);
    });
}

#[test]
fn a_client_that_leaves_has_not_accepted() {
    let (client, server) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(server, &identities()[..1], &limits()).unwrap());
        let algorithm = HostKeyAlgorithm::key(KeyKind::Ed25519);
        let exchanged = crate::handshake::prove(client, algorithm, &limits()).unwrap();
        assert_eq!(exchanged.server.host_keys, ["ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519"]);
        assert!(!server.join().unwrap().accepted);
    });
}

#[test]
fn a_session_holds_no_more_than_its_budget() {
    let (client, server) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| serve(server, &identities()[..1], &limits()));
        let fault = Session::open(client, &crate::handshake::Limits { bytes: 100, ..limits() }).unwrap_err();
        assert!(matches!(fault, crate::handshake::Fault::Budget { allowed: 100 }), "{fault}");
    });
}
