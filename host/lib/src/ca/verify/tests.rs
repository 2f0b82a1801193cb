use super::*;
use crate::ca::testing::Certifies as _;
use crate::{
    ca::{Principals, now},
    machine::keys::testing::{TYPES, Workshop},
};

/// Signing key, certified key, options of `ssh-keygen`, and the fault that has to be found.
type Case<'a> = (&'a str, &'a str, &'a [&'a str], &'a dyn Fn(&CertificateFault) -> bool);

fn request(key: &PublicKey, principals: &[&str]) -> IssueRequest {
    let principals = Principals::parse(Kind::Host, principals).unwrap();
    IssueRequest { kind: Kind::Host, key: key.clone(), principals, key_id: "an id".to_owned() }
}

#[test]
fn good_certificates_of_every_type_pass() {
    let workshop = Workshop::new();
    for (at, options) in TYPES.iter().enumerate() {
        let (key, ca) = (format!("key{at}"), format!("ca{at}"));
        let (public, root) = (workshop.key(&key, options), workshop.key(&ca, options));
        let certificate = workshop.certify(&ca, &key, &["-h", "-n", "web1,web1.example", "-V", "-1m:+1d"]);
        let request = request(&public, &["web1.example", "WEB1"]);
        assert_eq!(check(&certificate, &request, &[root], now()), Ok(()), "{options:?}");
        assert_eq!(certificate.serial(), 7);
        assert_eq!(certificate.key_id(), "an id");
    }
}

#[test]
fn whatever_is_wrong_is_named() {
    let workshop = Workshop::new();
    for options in [TYPES[0], TYPES[1], TYPES[4]] {
        let root = workshop.key("ca", options);
        let key = workshop.key("key", options);
        let other = workshop.key("other", options);
        let fingerprint = |key: &PublicKey| key.fingerprint(HashAlg::Sha256).to_string();
        let day = ["-V", "-1m:+1d"];
        let table: [Case; 12] = [
            ("ca", "other", &["-h", "-n", "web1", day[0], day[1]], &|wrong| {
                *wrong == CertificateFault::OtherKey(fingerprint(&other))
            }),
            ("ca", "key", &["-n", "web1", day[0], day[1]], &|wrong| *wrong == CertificateFault::OtherKind(Kind::User)),
            ("ca", "key", &["-h", day[0], day[1]], &|wrong| *wrong == CertificateFault::NoPrincipals),
            ("ca", "key", &["-h", "-n", "web1,web2", day[0], day[1]], &|wrong| {
                *wrong == CertificateFault::ExtraPrincipal("web2".into())
            }),
            ("ca", "key", &["-h", "-n", "web2", day[0], day[1]], &|wrong| {
                *wrong == CertificateFault::MissingPrincipal("web1".into())
            }),
            ("ca", "key", &["-h", "-n", "WEB1", day[0], day[1]], &|wrong| {
                *wrong == CertificateFault::MissingPrincipal("web1".into())
            }),
            ("other", "key", &["-h", "-n", "web1", day[0], day[1]], &|wrong| {
                *wrong == CertificateFault::UnknownSigner(fingerprint(&other))
            }),
            ("ca", "key", &["-h", "-n", "web1", "-V", "20200101:20200201"], &|wrong| {
                matches!(wrong, CertificateFault::Expired(_))
            }),
            ("ca", "key", &["-h", "-n", "web1", "-V", "+1h:+1d"], &|wrong| {
                matches!(wrong, CertificateFault::NotYetValid(_))
            }),
            ("ca", "key", &["-h", "-n", "web1"], &|wrong| *wrong == CertificateFault::NoEnd),
            ("ca", "key", &["-h", "-n", "web1", "-O", "critical:force-command=id", day[0], day[1]], &|wrong| {
                *wrong == CertificateFault::CriticalOption("force-command".into())
            }),
            ("ca", "key", &["-h", "-n", "web1", "-O", "critical:x@y=z", day[0], day[1]], &|wrong| {
                *wrong == CertificateFault::CriticalOption("x@y".into())
            }),
        ];
        for (ca, name, options, expected) in table {
            let certificate = workshop.certify(ca, name, options);
            let wrong = check(&certificate, &request(&key, &["web1"]), std::slice::from_ref(&root), now()).unwrap_err();
            assert!(expected(&wrong), "{options:?}: {wrong}");
        }
        for name in ["ca", "key", "other"] {
            std::fs::remove_file(workshop.path(name)).unwrap();
        }
    }
}

#[test]
fn a_sha_1_signature_is_refused_by_name() {
    let workshop = Workshop::new();
    let (root, key) = (workshop.key("ca", TYPES[4]), workshop.key("key", TYPES[0]));
    let host = ["-h", "-n", "web1", "-V", "-1m:+1d"];
    let good = workshop.certify("ca", "key", &host);
    assert_eq!(check(&good, &request(&key, &["web1"]), std::slice::from_ref(&root), now()), Ok(()));
    // Also made by hand, because newer versions of ssh-keygen may refuse to make one.
    let renamed = renamed_signature(&good, "ssh-rsa");
    let real = workshop.certify("ca", "key", &[&host[..], &["-t", "ssh-rsa"]].concat());
    for certificate in [renamed, real] {
        let wrong = check(&certificate, &request(&key, &["web1"]), std::slice::from_ref(&root), now()).unwrap_err();
        assert_eq!(wrong, CertificateFault::WeakSignature("ssh-rsa (SHA-1)".to_owned()));
        assert_eq!(problem(&certificate, Kind::Host, std::slice::from_ref(&key), now()), Some(wrong));
    }
}

/// The bytes that the signature covers.
fn signed(certificate: &Certificate) -> &[u8] {
    &certificate.bytes()[..certificate.bytes().len() - certificate.signature().len() - 4]
}

/// The same certificate with another algorithm's name in its signature.
fn renamed_signature(certificate: &Certificate, algorithm: &str) -> Certificate {
    use ssh_encoding::{Decode as _, Encode as _};
    let mut data = certificate.signature();
    let _old = String::decode(&mut data).unwrap();
    let mut signature = Vec::new();
    algorithm.encode(&mut signature).unwrap();
    signature.extend_from_slice(data);
    let mut bytes = signed(certificate).to_vec();
    signature.encode(&mut bytes).unwrap();
    Certificate::from_bytes(&bytes).unwrap()
}

#[test]
fn no_byte_of_a_certificate_can_be_changed() {
    let workshop = Workshop::new();
    for options in [TYPES[0], TYPES[1]] {
        let (root, key) = (workshop.key("ca", options), workshop.key("key", options));
        let good = workshop.certify("ca", "key", &["-h", "-n", "web1", "-V", "-1m:+1d"]);
        let request = request(&key, &["web1"]);
        let mut unreadable = 0;
        for at in 0..good.bytes().len() {
            let mut bytes = good.bytes().to_vec();
            bytes[at] ^= 1;
            match Certificate::from_bytes(&bytes) {
                Err(_) => unreadable += 1,
                Ok(changed) => {
                    let wrong = check(&changed, &request, std::slice::from_ref(&root), now()).unwrap_err();
                    if at >= signed(&good).len() + 30 {
                        assert_eq!(wrong, CertificateFault::BadSignature, "byte {at}");
                    }
                }
            }
        }
        assert!(unreadable < good.bytes().len() / 2);
        for name in ["ca", "key"] {
            std::fs::remove_file(workshop.path(name)).unwrap();
        }
    }
}

#[test]
fn user_certificates_may_have_the_options_that_sshd_knows() {
    let workshop = Workshop::new();
    let (root, key) = (workshop.key("ca", TYPES[0]), workshop.key("key", TYPES[0]));
    let request = IssueRequest {
        kind: Kind::User,
        principals: Principals::parse(Kind::User, ["jane"]).unwrap(),
        ..request(&key, &["x"])
    };
    for (option, result) in [
        ("source-address=10.0.0.0/8", Ok(())),
        ("critical:new@example=1", Err(CertificateFault::CriticalOption("new@example".to_owned()))),
    ] {
        let certificate = workshop.certify("ca", "key", &["-n", "jane", "-V", "-1m:+1d", "-O", option]);
        assert_eq!(check(&certificate, &request, std::slice::from_ref(&root), now()), result);
    }
}

#[test]
fn what_is_on_a_machine_is_judged_without_its_ca() {
    let workshop = Workshop::new();
    workshop.key("ca", TYPES[0]);
    let (key, other) = (workshop.key("key", TYPES[0]), workshop.key("other", TYPES[1]));
    let good = workshop.certify("ca", "key", &["-h", "-n", "web1", "-V", "-1m:+1d"]);
    assert_eq!(problem(&good, Kind::Host, &[other.clone(), key.clone()], now()), None);
    assert!(matches!(problem(&good, Kind::Host, &[other], now()), Some(CertificateFault::OtherKey(_))));
    assert!(matches!(
        problem(&good, Kind::Host, std::slice::from_ref(&key), now() + 90_000),
        Some(CertificateFault::Expired(_))
    ));
    let forever = workshop.certify("ca", "key", &["-h", "-n", "web1"]);
    assert_eq!(problem(&forever, Kind::Host, &[key], now()), None, "it works, however unwise");
}

#[test]
fn moments_are_shown_as_people_read_them() {
    assert_eq!(CertificateFault::Expired(1_577_836_800).to_string(), "it expired at 2020-01-01 00:00 UTC");
    assert_eq!(
        CertificateFault::NotYetValid(u64::MAX).to_string(),
        "it holds only from second 18446744073709551615 on"
    );
}
