//! Spoils one byte of what is received, each in turn.

use crate::handshake::{
    ClientReport, Fault, HostKeyAlgorithm, KeyKind, Limits, Query, Session,
    cipher::{Cipher, Mac},
    kex::Kex,
    negotiate::Abilities,
    serve,
    testing::{ByteFault, FaultyStream, identities, key, limits},
    version::OURS,
};
use std::{os::unix::net::UnixStream, thread, time::Duration};

/// If a byte is missing, both sides wait for this long; nearly all the time of these tests is spent on that.
const PATIENCE: Duration = Duration::from_millis(50);
const THREADS: usize = 16;

/// How the client fares with a spoilt server, and everything that it read.
fn client(
    abilities: &Abilities,
    at: usize,
    how: ByteFault,
    user: &ssh_key::PublicKey,
) -> (Result<Query, Fault>, Vec<u8>) {
    let (client, server) = UnixStream::pair().unwrap();
    let mut spoiled = FaultyStream { stream: client, at, how, read: Vec::new() };
    thread::scope(|scope| {
        scope.spawn(|| serve(server, &identities()[..1], &limits()));
        // A length that is too large makes both sides wait.
        let limits = if how == ByteFault::Nothing { limits() } else { Limits::within(PATIENCE) };
        let mut run = || {
            let mut session = Session::with(&mut spoiled, &limits, abilities.clone())?;
            session.exchange(HostKeyAlgorithm::key(KeyKind::Ed25519))?;
            session.query("root", user)
        };
        let answer = run();
        let read = std::mem::take(&mut spoiled.read);
        drop(spoiled);
        (answer, read)
    })
}

/// Where the padding of the first `count` packets is, and where these packets end: before encryption, only the
/// padding is not part of the exchange hash.
fn paddings(read: &[u8], count: usize) -> (Vec<std::ops::Range<usize>>, usize) {
    let mut start = read.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut paddings = Vec::new();
    for _ in 0..count {
        let length = u32::from_be_bytes(read[start..start + 4].try_into().unwrap());
        let end = start + 4 + usize::try_from(length).unwrap();
        paddings.push(end - usize::from(read[start + 4])..end);
        start = end;
    }
    (paddings, start)
}

fn abilities(cipher: Cipher, mac: Mac) -> Abilities {
    Abilities { kex: vec![Kex::Curve25519], ciphers: vec![cipher], macs: vec![mac] }
}

#[test]
fn no_wrong_byte_before_encryption_is_taken() {
    let user = key(KeyKind::Ed25519);
    let abilities = abilities(Cipher::Aes128Gcm, Mac::Sha256);
    let (honest, read) = client(&abilities, 0, ByteFault::Nothing, user.public_key());
    honest.unwrap();
    // KEXINIT, KEX_ECDH_REPLY, NEWKEYS.
    let (paddings, clear) = paddings(&read, 3);
    let spoils = [
        ByteFault::Flip(1),
        ByteFault::Flip(0x80),
        ByteFault::Flip(0xff),
        ByteFault::End,
        ByteFault::Double,
        ByteFault::Lose,
    ];
    thread::scope(|scope| {
        for part in 0..THREADS {
            let (user, abilities, paddings) = (user.public_key(), &abilities, &paddings);
            scope.spawn(move || {
                for at in (part..clear).step_by(THREADS) {
                    for how in spoils {
                        let (answer, _) = client(abilities, at, how, user);
                        let is_padding = paddings.iter().any(|padding| padding.contains(&at));
                        // A version line may end without the carriage return.
                        let harmless = if how == ByteFault::Lose { at == OURS.len() } else { is_padding };
                        assert!(answer.is_err() || harmless, "{at} {how:?}");
                    }
                }
            });
        }
    });
}

#[test]
fn no_wrong_byte_after_encryption_is_taken() {
    let user = key(KeyKind::Ed25519);
    let mut all: Vec<_> = Cipher::ALL[..3].iter().map(|cipher| (*cipher, Mac::Sha256)).collect();
    all.extend(Mac::ALL.map(|mac| (Cipher::Aes256Ctr, mac)));
    thread::scope(|scope| {
        for (cipher, mac) in all {
            let user = user.public_key();
            for how in [ByteFault::Flip(1), ByteFault::Flip(0x80), ByteFault::End, ByteFault::Double, ByteFault::Lose] {
                scope.spawn(move || {
                    let abilities = abilities(cipher, mac);
                    let (honest, read) = client(&abilities, 0, ByteFault::Nothing, user);
                    honest.unwrap();
                    let (_, clear) = paddings(&read, 3);
                    for at in clear..read.len() {
                        let (answer, seen) = client(&abilities, at, how, user);
                        // What comes after the last answer is not read; and if all remaining bytes are the same,
                        // doubling one of them changes nothing that is read.
                        let is_same = || seen.len() == read.len() && seen[at..].iter().all(|byte| *byte == seen[at]);
                        let unread = how == ByteFault::Double && (at + 1 == read.len() || is_same());
                        assert!(answer.is_err() || unread, "{cipher:?} {mac:?} {} {how:?}", at - clear);
                    }
                });
            }
        }
    });
}

/// How the server fares with a spoilt client that goes on to NEWKEYS, and everything that it read.
fn server(at: usize, how: ByteFault) -> (Result<ClientReport, Fault>, Vec<u8>) {
    let (client, server) = UnixStream::pair().unwrap();
    let mut spoiled = FaultyStream { stream: server, at, how, read: Vec::new() };
    let limits = if how == ByteFault::Nothing { limits() } else { Limits::within(PATIENCE) };
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut session = Session::open(client, &limits)?;
            session.exchange(HostKeyAlgorithm::key(KeyKind::Ed25519))?;
            session.take_up_keys()
        });
        let served = serve(&mut spoiled, &identities()[..1], &limits);
        let read = std::mem::take(&mut spoiled.read);
        drop(spoiled);
        (served, read)
    })
}

#[test]
fn no_spoilt_client_is_said_to_have_accepted() {
    let (honest, read) = server(0, ByteFault::Nothing);
    assert!(honest.unwrap().accepted);
    let (paddings, clear) = paddings(&read, 3);
    assert_eq!(clear, read.len());
    thread::scope(|scope| {
        for part in 0..THREADS {
            let paddings = &paddings;
            scope.spawn(move || {
                for at in (part..clear).step_by(THREADS) {
                    for how in
                        [ByteFault::Flip(1), ByteFault::Flip(0xff), ByteFault::End, ByteFault::Double, ByteFault::Lose]
                    {
                        let (served, _) = server(at, how);
                        let harmless = match how {
                            ByteFault::Lose => at == OURS.len(),
                            // Neither the number of NEWKEYS nor its padding shows that a byte was doubled.
                            ByteFault::Double => at + 1 >= paddings[2].start,
                            ByteFault::Nothing | ByteFault::Flip(_) | ByteFault::End => {
                                paddings.iter().any(|padding| padding.contains(&at))
                            }
                        };
                        assert!(harmless || !served.is_ok_and(|served| served.accepted), "{at} {how:?}");
                    }
                }
            });
        }
    });
}
