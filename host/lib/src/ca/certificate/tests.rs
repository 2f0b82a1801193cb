use super::*;
use crate::ca::testing::Certifies as _;
use crate::machine::keys::testing::{TYPES, Workshop, line};
use proptest::prelude::{any, proptest};

#[test]
fn certificates_of_every_type_read_as_ssh_key_reads_them() {
    let workshop = Workshop::new();
    workshop.key("ca", TYPES[0]);
    for (at, options) in TYPES.iter().enumerate() {
        let name = format!("key{at}");
        workshop.key(&name, options);
        let certificate = workshop.certify("ca", &name, &["-h", "-n", "a,b", "-V", "-1m:+1d", "-O", "critical:x@y=z"]);
        let file = std::fs::read(workshop.path(&format!("{name}-cert.pub"))).unwrap();
        assert_eq!(certificate.to_file().as_bytes(), file);
        assert_eq!(certificate.key().to_openssh().unwrap(), line(&workshop.path(&format!("{name}.pub"))));
        let theirs = ssh_key::Certificate::try_from(&certificate).unwrap();
        assert_eq!(
            (theirs.serial(), theirs.key_id(), theirs.valid_principals(), theirs.valid_after(), theirs.valid_before()),
            (7, "an id", certificate.principals(), certificate.valid_after(), certificate.valid_before()),
        );
        assert_eq!(theirs.public_key(), certificate.key().key_data());
        assert_eq!(certificate.principals(), ["a", "b"]);
        assert_eq!(certificate.critical_options()[0].0, "x@y");
        assert_eq!(certificate.signer().to_openssh().unwrap(), line(&workshop.path("ca.pub")));
        assert_eq!(certificate.signature_algorithm(), "ssh-ed25519");
        assert_eq!(Certificate::try_from(&theirs).unwrap().bytes(), certificate.bytes());
    }
}

#[test]
fn a_certificate_without_end_or_names_is_read() {
    let workshop = Workshop::new();
    workshop.key("ca", TYPES[0]);
    workshop.key("key", TYPES[0]);
    let certificate = workshop.certify("ca", "key", &["-h"]);
    assert_eq!((certificate.valid_after(), certificate.valid_before()), (0, u64::MAX));
    assert!(certificate.principals().is_empty());
    assert!(ssh_key::Certificate::try_from(&certificate).is_err(), "the reason for a reader of our own");
}

#[test]
fn what_is_no_certificate_is_said_to_be_none() {
    let workshop = Workshop::new();
    workshop.key("key", TYPES[0]);
    workshop.key("ca", TYPES[0]);
    let good = workshop.certify("ca", "key", &["-h", "-n", "a", "-V", "+1d"]).to_file();
    let renamed = good.replacen("ed25519", "rsa", 1);
    let plain = std::fs::read_to_string(workshop.path("key.pub")).unwrap();
    let private = std::fs::read_to_string(workshop.path("key")).unwrap();
    for (text, why) in [
        ("", "empty"),
        ("# only\n\n", "empty"),
        (&plain, "plain key"),
        (&private, "PEM"),
        (&good[..good.len() / 2], ""),
        (&renamed, "another algorithm"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "cut off"),
        ("x-cert-v01@openssh.com AAAAFngtY2VydC12MDFAb3BlbnNzaC5jb20AAAAA", "unknown"),
        ("ssh-ed25519-cert-v01@openssh.com !", "base64"),
    ] {
        let error = parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why), "{text:?}: {error}");
    }
    assert!(parse(&[0xff, 0xfe]).is_err());
    assert!(parse(&vec![b'a'; MAX_FILE + 1]).is_err());
    assert!(parse(format!("\n# a comment\r\n{good}").as_bytes()).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_upset_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut blob = Vec::new();
        "ssh-rsa-cert-v01@openssh.com".encode(&mut blob).unwrap();
        blob.extend(&bytes);
        for bytes in [&blob, &bytes] {
            if let Ok(certificate) = Certificate::from_bytes(bytes) {
                assert_eq!(certificate.bytes(), &bytes[..]);
            }
            drop(parse(bytes));
        }
    }
}
