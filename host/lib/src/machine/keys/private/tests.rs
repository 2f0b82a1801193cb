#![expect(clippy::wildcard_enum_match_arm, reason = "ssh-key may add types of keys")]

use super::*;
use crate::machine::keys::testing::{TYPES, Workshop};
use rsa::signature::Verifier as _;
use ssh_key::{PublicKey, public::KeyData};
use std::fs;

/// Whether a signature in the format of a JSON Web Signature was made with this key.
fn verifies(public: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    match public.key_data() {
        KeyData::Ed25519(key) => ed25519_dalek::VerifyingKey::from_bytes(&key.0)
            .unwrap()
            .verify(message, &ed25519_dalek::Signature::from_slice(signature).unwrap())
            .is_ok(),
        KeyData::Ecdsa(key) => {
            let point = key.as_sec1_bytes();
            match key.curve() {
                ssh_key::EcdsaCurve::NistP256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
                    .unwrap()
                    .verify(message, &p256::ecdsa::Signature::from_slice(signature).unwrap())
                    .is_ok(),
                ssh_key::EcdsaCurve::NistP384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(point)
                    .unwrap()
                    .verify(message, &p384::ecdsa::Signature::from_slice(signature).unwrap())
                    .is_ok(),
                ssh_key::EcdsaCurve::NistP521 => p521::ecdsa::VerifyingKey::from_sec1_bytes(point)
                    .unwrap()
                    .verify(message, &p521::ecdsa::Signature::from_slice(signature).unwrap())
                    .is_ok(),
            }
        }
        KeyData::Rsa(key) => {
            let number = |mpint: &ssh_key::Mpint| rsa::BigUint::from_bytes_be(mpint.as_positive_bytes().unwrap());
            let key = rsa::RsaPublicKey::new(number(&key.n), number(&key.e)).unwrap();
            rsa::pkcs1v15::VerifyingKey::<sha2::Sha256>::new(key)
                .verify(message, &rsa::pkcs1v15::Signature::try_from(signature).unwrap())
                .is_ok()
        }
        _ => panic!("{:?}", public.key_data()),
    }
}

#[test]
fn every_key_signs_from_every_format() {
    let workshop = Workshop::new();
    for (at, options) in TYPES.iter().enumerate() {
        for format in ["RFC4716", "PEM", "PKCS8"] {
            let name = format!("key-{at}-{format}");
            let public = workshop.key(&name, &[options, &["-m", format][..]].concat());
            let key = SigningKey::read(&workshop.path(&name)).unwrap();
            let signature = key.sign(b"message").unwrap();
            assert!(verifies(&public, b"message", &signature), "{name}");
            assert!(!verifies(&public, b"massage", &signature), "{name}");
        }
    }
}

/// The point on the curve: unlike a signature it is the same every time.
fn point(key: &SigningKey) -> Vec<u8> {
    match key {
        SigningKey::P256(key) => key.verifying_key().to_encoded_point(false).as_bytes().to_vec(),
        SigningKey::P384(key) => key.verifying_key().to_encoded_point(false).as_bytes().to_vec(),
        SigningKey::P521(key) => p521::ecdsa::VerifyingKey::from(key).to_encoded_point(false).as_bytes().to_vec(),
        SigningKey::Ed25519(_) | SigningKey::Rsa(_) => panic!("{key:?}"),
    }
}

#[test]
fn a_private_number_may_begin_with_zeros() {
    for (curve, length) in [(Curve::P256, 32), (Curve::P384, 48), (Curve::P521, 66)] {
        let made = |scalar: &[u8]| point(&SigningKey::ecdsa(curve, scalar).unwrap());
        let mut padded = vec![0; length];
        padded[length - 2] = 7;
        assert_eq!(made(&padded), made(&[7, 0]), "{curve:?}");
        assert_eq!(made(&[&[0][..], &padded].concat()), made(&[7, 0]), "{curve:?}: one more, as in an mpint");
        assert_ne!(made(&[7, 1]), made(&[7, 0]), "{curve:?}");
        for wrong in [&vec![0; length][..], &vec![1; length + 1], &vec![0xff; length], &[]] {
            assert!(SigningKey::ecdsa(curve, wrong).is_err(), "{curve:?}: {wrong:?}");
        }
    }
}

#[test]
fn what_cannot_sign_says_why() {
    let workshop = Workshop::new();
    for (format, why) in [("RFC4716", "passphrase"), ("PEM", "passphrase"), ("PKCS8", "passphrase")] {
        workshop.keygen(&["-q", "-t", "ecdsa", "-N", "secret", "-m", format, "-f", format]);
        let error = SigningKey::read(&workshop.path(format)).unwrap_err().to_string();
        assert!(error.contains(why), "{format}: {error}");
    }
    workshop.keygen(&["-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", "short"]);
    assert!(SigningKey::read(&workshop.path("short")).unwrap_err().to_string().contains("2048"));
    assert!(SigningKey::read(&workshop.path("gone")).unwrap_err().to_string().contains("No such file"));
    workshop.key("key", TYPES[0]);
    let text = fs::read_to_string(workshop.path("key")).unwrap();
    for cut in [0, 40, 100, 200, 300] {
        assert!(SigningKey::parse(&text.as_bytes()[..cut]).is_err(), "{cut}");
    }
}
