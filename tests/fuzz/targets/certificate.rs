//! Certificates, and the lists of keys that sshd's configuration names: read or refused; what is
//! read twice is the same, and what another reader takes too says the same to both.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssh_key::{PublicKey, public::KeyData};
use warded_fuzz::{
    ca::{Kind, certificate, verify},
    guard::files,
    is_harmless,
    machine::{
        keys,
        sshd::{
            Effective,
            tree::{Overlay, StagedFiles},
        },
    },
};

const NOW: u64 = 1_800_000_000;

fuzz_target!(|data: &[u8]| {
    named(data);
    assert!(keys::holds_private_key(data) || keys::public_of(data, None).is_err());
    let parsed = [certificate::parse(data), certificate::Certificate::from_bytes(data)];
    for certificate in parsed.into_iter().flatten() {
        let again = certificate::parse(certificate.to_file().as_bytes());
        if !certificate.to_file().trim_end().contains(['\n', '\r']) && certificate.to_file().len() <= 64 * 1024 {
            assert_eq!(again.as_ref().map(certificate::Certificate::bytes), Ok(certificate.bytes()));
        }
        let own = std::slice::from_ref(certificate.key());
        for kind in [Kind::Host, Kind::User] {
            if let Some(wrong) = verify::problem(&certificate, kind, own, NOW) {
                is_harmless(&wrong.to_string());
            }
        }
        drop(verify::signed_by(&certificate, std::slice::from_ref(certificate.signer())));
        if let Ok(theirs) = ssh_key::Certificate::try_from(&certificate) {
            assert_eq!(theirs.serial(), certificate.serial());
            assert_eq!(theirs.valid_principals(), certificate.principals());
            assert_eq!(
                (theirs.valid_after(), theirs.valid_before()),
                (certificate.valid_after(), certificate.valid_before())
            );
            assert_eq!(theirs.public_key(), certificate.key().key_data());
        }
    }
});

/// As a file that sshd's configuration names: what is wrong with it is told.
fn named(data: &[u8]) {
    let effective = Effective::parse("hostcertificate /fuzz/c\ntrustedusercakeys /fuzz/c\nrevokedkeys /fuzz/c\n");
    let staged = StagedFiles::from([("/fuzz/c".into(), Some(data.to_vec()))]);
    let host_key = PublicKey::new(KeyData::Ed25519(ssh_key::public::Ed25519PublicKey([7; 32])), "");
    for problem in files::problems(&effective, Overlay(&staged), &[host_key], NOW) {
        is_harmless(&problem);
    }
}
