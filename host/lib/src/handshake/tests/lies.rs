//! A server that says one wrong thing, or says something at the wrong time.
#![expect(clippy::wildcard_enum_match_arm, reason = "each step of a server is changed by few lies")]

use crate::handshake::{
    Fault, HostKey, HostKeyAlgorithm, Identity, KeyKind, Session, Verdict,
    kex::{Kex, answer},
    keys::Transcript,
    negotiate::{Abilities, STRICT_SERVER},
    proof::sign,
    testing::{identities, key, limits},
    transport::Transport,
    version::OURS,
    wire::{Reader, Writer, number},
};
use std::{os::unix::net::UnixStream, thread};

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    Nothing,
    OtherSigner,
    OtherMessage,
    OtherSignatureName(&'static str),
    KeyOfOtherType,
    PlainKeyForCertificate,
    CertificateForPlainKey,
    CertificateOfOtherKey,
    ZeroShare,
    NoShare,
    BytesAfterReply,
    BytesAfterKey,
    BytesAfterSignature,
    CutSignature,
    LongSignature,
    IgnoreFirst,
    IgnoreBetween,
    NewKeysFirst,
    SecondInit,
    Disconnect,
    Success,
}

const ED25519: HostKeyAlgorithm = HostKeyAlgorithm::key(KeyKind::Ed25519);

/// One exchange with a server that lies once, in strict mode or not.
fn exchange(lie: Lie, algorithm: HostKeyAlgorithm, strict: bool) -> Result<HostKey, Fault> {
    let (client, server) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || drop(serve(lie, algorithm, strict, server)));
        Session::open(client, &limits())?.exchange(algorithm)
    })
}

fn serve(lie: Lie, algorithm: HostKeyAlgorithm, strict: bool, stream: UnixStream) -> Result<(), Fault> {
    let mut transport = Transport::new(stream, limits());
    let abilities = Abilities { kex: vec![Kex::Curve25519], ..Abilities::default() };
    let ours = abilities.init(&[algorithm], if strict { &[STRICT_SERVER] } else { &[] })?;
    transport.send_version()?;
    let ignore = Writer::message(number::IGNORE).string("").finish();
    if lie == Lie::IgnoreFirst {
        transport.send(&ignore)?;
    }
    transport.send(&ours)?;
    let version = transport.receive_version(false)?;
    let theirs = transport.expect(number::KEXINIT, "KEXINIT")?;
    let init = transport.expect(number::KEX_ECDH_INIT, "KEX_ECDH_INIT")?;
    let mut reader = Reader::after_number(&init, "KEX_ECDH_INIT");
    let their_share = reader.string()?;
    match lie {
        Lie::IgnoreBetween => transport.send(&ignore)?,
        Lie::NewKeysFirst => transport.send(&[number::NEWKEYS])?,
        Lie::SecondInit => transport.send(&ours)?,
        Lie::Disconnect => {
            let words = [b'x', 0x1b].repeat(1000);
            transport.send(&Writer::message(number::DISCONNECT).u32(2).string(words).string("").finish())?;
        }
        Lie::Success => transport.send(&[number::USERAUTH_SUCCESS])?,
        _ => {}
    }
    let (mut share, secret) = answer(Kex::Curve25519, their_share)?;
    match lie {
        Lie::ZeroShare => share = vec![0; 32],
        Lie::NoShare => share.clear(),
        _ => {}
    }
    let (identity, mut blob) = presented(lie, algorithm);
    if lie == Lie::BytesAfterKey {
        blob.push(0);
    }
    let transcript = Transcript {
        versions: [&version, OURS],
        inits: [&theirs, &ours],
        host_key: &blob,
        shares: [their_share, &share],
    };
    let mut hash = transcript.hash(Kex::Curve25519.hash(), &secret);
    if lie == Lie::OtherMessage {
        hash[0] ^= 1;
    }
    let signature = signature(lie, algorithm.kind, &identity, &hash)?;
    let reply = Writer::message(number::KEX_ECDH_REPLY).string(&blob).string(&share).string(signature);
    let reply = if lie == Lie::BytesAfterReply { reply.byte(0) } else { reply };
    transport.send(&reply.finish())?;
    transport.expect(number::NEWKEYS, "NEWKEYS")?;
    Ok(())
}

/// What the lying server presents, and whose key signs for it.
fn presented(lie: Lie, algorithm: HostKeyAlgorithm) -> (Identity, Vec<u8>) {
    let of = |kind: KeyKind| {
        let is = |one: &&Identity| one.key.algorithm().as_str() == kind.key_type();
        identities().iter().find(is).unwrap().clone()
    };
    let mut identity = of(algorithm.kind);
    let plain = identity.key.public_key().to_bytes().unwrap();
    let certificate = identity.certificate.clone().unwrap();
    let blob = match lie {
        Lie::KeyOfOtherType => {
            let other = if algorithm.kind == KeyKind::EcdsaP256 { KeyKind::EcdsaP384 } else { KeyKind::EcdsaP256 };
            of(other).key.public_key().to_bytes().unwrap()
        }
        Lie::PlainKeyForCertificate => plain,
        Lie::CertificateForPlainKey => certificate,
        _ if algorithm.certificate => certificate,
        _ => plain,
    };
    if matches!(lie, Lie::OtherSigner | Lie::CertificateOfOtherKey) {
        identity.key = key(algorithm.kind);
    }
    (identity, blob)
}

fn signature(lie: Lie, kind: KeyKind, identity: &Identity, hash: &[u8]) -> Result<Vec<u8>, Fault> {
    let honest = sign(kind, &identity.key, hash)?;
    let mut reader = Reader::new(&honest, "the signature");
    let (name, bytes) = (reader.string()?, reader.string()?.to_vec());
    let written = |name: &[u8], bytes: &[u8]| Writer::new().string(name).string(bytes).finish();
    Ok(match lie {
        Lie::OtherSignatureName(other) => written(other.as_bytes(), &bytes),
        Lie::BytesAfterSignature => [&honest[..], &[0]].concat(),
        Lie::CutSignature => written(name, &bytes[..bytes.len() - 1]),
        Lie::LongSignature => written(name, &[&bytes[..], &[0]].concat()),
        _ => honest,
    })
}

#[test]
fn the_truth_is_taken() {
    for algorithm in HostKeyAlgorithm::all() {
        for strict in [false, true] {
            assert_eq!(exchange(Lie::Nothing, algorithm, strict).unwrap().algorithm, algorithm);
        }
    }
}

#[test]
fn no_other_proof_is_taken() {
    for algorithm in HostKeyAlgorithm::all() {
        let other = if algorithm.kind == KeyKind::RsaSha512 { "rsa-sha2-256" } else { "rsa-sha2-512" };
        let mut lies = vec![
            Lie::OtherSigner,
            Lie::OtherMessage,
            Lie::OtherSignatureName(other),
            Lie::OtherSignatureName(algorithm.kind.key_type()).rsa_only(algorithm),
            Lie::KeyOfOtherType,
            Lie::ZeroShare,
            Lie::NoShare,
            Lie::BytesAfterReply,
            Lie::BytesAfterSignature,
            Lie::CutSignature,
            Lie::LongSignature,
        ];
        lies.extend(if algorithm.certificate {
            [Lie::PlainKeyForCertificate, Lie::CertificateOfOtherKey]
        } else {
            [Lie::CertificateForPlainKey, Lie::BytesAfterKey]
        });
        for lie in lies {
            let fault = exchange(lie, algorithm, true).expect_err(&format!("{algorithm} {lie:?}"));
            assert_eq!(fault.verdict(), Verdict::Wrong, "{algorithm} {lie:?}: {fault}");
        }
    }
}

impl Lie {
    /// This lie for an RSA key, otherwise another one: for other keys, the name of the type is the right name.
    fn rsa_only(self, algorithm: HostKeyAlgorithm) -> Self {
        let is_rsa = matches!(algorithm.kind, KeyKind::RsaSha512 | KeyKind::RsaSha256);
        if is_rsa { self } else { Self::OtherSignatureName("") }
    }
}

#[test]
fn a_lie_is_named() {
    let certificate = HostKeyAlgorithm::certificate(KeyKind::Ed25519);
    let is_key_type = |fault: &Fault| matches!(fault, Fault::KeyType { .. });
    let is_share = |fault: &Fault| matches!(fault, Fault::Share { .. });
    let is_signature = |fault: &Fault| matches!(fault, Fault::Signature { .. });
    type FaultPredicate<'a> = &'a dyn Fn(&Fault) -> bool;
    let cases: [(Lie, HostKeyAlgorithm, FaultPredicate<'_>); 7] = [
        (Lie::KeyOfOtherType, ED25519, &is_key_type),
        (Lie::PlainKeyForCertificate, certificate, &is_key_type),
        (Lie::CertificateForPlainKey, ED25519, &is_key_type),
        (Lie::CertificateOfOtherKey, certificate, &is_signature),
        (Lie::OtherMessage, ED25519, &is_signature),
        (Lie::ZeroShare, ED25519, &is_share),
        (Lie::Disconnect, ED25519, &|fault| {
            let said = matches!(fault, Fault::Disconnected { code: 2, reason } if reason.len() == 512);
            said && fault.verdict() == Verdict::Unknown && fault.to_string().is_ascii()
        }),
    ];
    for (lie, algorithm, is) in cases {
        let fault = exchange(lie, algorithm, true).unwrap_err();
        assert!(is(&fault), "{lie:?}: {fault}");
    }
}

/// CVE-2023-48795: messages that may otherwise come at any time must not come in a strict first exchange.
#[test]
fn the_first_exchange_is_strict_where_both_sides_are() {
    for lie in [Lie::IgnoreFirst, Lie::IgnoreBetween] {
        exchange(lie, ED25519, false).unwrap();
        let fault = exchange(lie, ED25519, true).unwrap_err();
        assert_eq!(fault.verdict(), Verdict::Wrong, "{lie:?}: {fault}");
    }
    for lie in [Lie::NewKeysFirst, Lie::SecondInit, Lie::Success] {
        for strict in [false, true] {
            let fault = exchange(lie, ED25519, strict).unwrap_err();
            assert!(matches!(fault, Fault::Unexpected { .. }), "{lie:?}: {fault}");
        }
    }
}
