use super::*;
use crate::ca::testing::Certifies as _;
use crate::{
    ca::placeholder,
    error::{Exit, Label},
    machine::keys::testing::{TYPES, Workshop, line},
};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

fn authority(workshop: &Workshop) -> LocalAuthority {
    LocalAuthority::init(&workshop.path("authority")).unwrap()
}

fn request(kind: Kind, key: PublicKey, names: &[&str]) -> IssueRequest {
    IssueRequest { kind, key, principals: Principals::parse(kind, names).unwrap(), key_id: "web1 by hand".to_owned() }
}

#[test]
fn a_new_ca_is_private_and_never_overwritten() {
    let workshop = Workshop::new();
    let ca = authority(&workshop);
    let directory = workshop.path("authority");
    for (name, mode) in
        [("", 0o700), ("host_ca", 0o600), ("user_ca", 0o600), ("host_ca.pub", 0o644), ("user_ca.pub", 0o644)]
    {
        assert_eq!(fs::metadata(directory.join(name)).unwrap().mode() & 0o7777, mode, "{name}");
    }
    let host = fs::read(directory.join("host_ca")).unwrap();
    let error = LocalAuthority::init(&directory).unwrap_err();
    assert_eq!(error.exit(), Exit::Refused);
    assert!(error.notes_of(Label::Next).next().is_some(), "{error}");
    assert_eq!(fs::read(directory.join("host_ca")).unwrap(), host);
    for kind in [Kind::Host, Kind::User] {
        let file = directory.join(format!("{kind}_ca.pub"));
        assert_eq!(ca.roots(kind).unwrap()[0].to_openssh().unwrap(), fs::read_to_string(file).unwrap().trim_end());
        let private = workshop.keygen(&["-y", "-f", &format!("authority/{kind}_ca")]);
        assert!(private.starts_with(&line(&directory.join(format!("{kind}_ca.pub")))));
    }
    assert_ne!(ca.roots(Kind::Host).unwrap(), ca.roots(Kind::User).unwrap());
    assert!(!format!("{ca:?}").contains("seed"), "nothing secret is shown");
}

#[test]
fn a_public_key_that_is_anothers_is_noticed() {
    let workshop = Workshop::new();
    drop(authority(&workshop));
    let directory = workshop.path("authority");
    for name in ["host_ca.pub", "user_ca.pub"] {
        let path = directory.join(name);
        let own = fs::read(&path).unwrap();
        for wrong in [fs::read(directory.join("user_ca.pub")).unwrap(), b"no key\n".to_vec()] {
            if wrong == own {
                continue;
            }
            fs::write(&path, wrong).unwrap();
            let error = LocalAuthority::open(&directory).unwrap_err();
            assert!(error.exit() == Exit::Refused && error.to_string().contains("is not the public key of"), "{error}");
        }
        fs::remove_file(&path).unwrap();
        drop(LocalAuthority::open(&directory).unwrap());
        fs::write(&path, own).unwrap();
    }
    drop(LocalAuthority::open(&directory).unwrap());
}

#[test]
fn a_ca_that_others_can_read_is_refused() {
    for (name, mode) in [("host_ca", 0o640), ("user_ca", 0o604), ("", 0o750)] {
        let workshop = Workshop::new();
        drop(authority(&workshop));
        let path = workshop.path("authority").join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = LocalAuthority::open(&workshop.path("authority")).unwrap_err();
        assert_eq!(error.exit(), Exit::Refused, "{name}");
        assert!(error.to_string().contains("chmod"), "{error}");
    }
}

#[test]
fn a_ca_that_cannot_be_used_says_why() {
    let workshop = Workshop::new();
    assert!(LocalAuthority::open(&workshop.path("nowhere")).unwrap_err().to_string().contains("warded ca init"));
    drop(authority(&workshop));
    let path = workshop.path("authority/user_ca");
    for (options, why) in
        [(&["-N", "secret", "-t", "ed25519"][..], "passphrase"), (&["-N", "", "-t", "rsa"], "does not sign")]
    {
        fs::remove_file(&path).unwrap();
        workshop.keygen(&[&["-q", "-f", "authority/user_ca"], options].concat());
        let error = LocalAuthority::open(&workshop.path("authority")).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("host_ca", &path).unwrap();
    assert!(LocalAuthority::open(&workshop.path("authority")).is_err(), "a link");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "garbage").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(LocalAuthority::open(&workshop.path("authority")).is_err());
}

#[test]
fn issued_certificates_are_what_ssh_keygen_says_they_are() {
    let workshop = Workshop::new();
    let ca = authority(&workshop);
    for (at, options) in TYPES.iter().enumerate() {
        let key = workshop.key(&format!("key{at}"), options);
        let host = ca.issue(&request(Kind::Host, key.clone(), &["Web1.example", "10.0.0.1"])).unwrap();
        let shown = workshop.list(&host);
        let fingerprint = host.signer_fingerprint();
        for part in [
            "host certificate",
            "web1.example",
            "10.0.0.1",
            "\"web1 by hand\"",
            "Critical Options: (none)",
            "Extensions: (none)",
            &fingerprint,
            &host.serial().to_string(),
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(host.valid_before() - host.valid_after(), 30 * 24 * 3600 + 60);
        assert!(now() - host.valid_after() - 60 < 5);
        let user = ca.issue(&request(Kind::User, key, &["jane"])).unwrap();
        let shown = workshop.list(&user);
        for part in [
            "user certificate",
            "jane",
            "permit-X11-forwarding",
            "permit-agent-forwarding",
            "permit-port-forwarding",
            "permit-pty",
            "permit-user-rc",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(user.valid_before() - user.valid_after(), 16 * 3600 + 60);
    }
}

#[test]
fn serials_are_random_and_have_63_bits() {
    let workshop = Workshop::new();
    let ca = authority(&workshop);
    let request = request(Kind::Host, workshop.key("key", TYPES[0]), &["web1"]);
    let serials: BTreeSet<_> = (0..50).map(|_| ca.issue(&request).unwrap().serial()).collect();
    assert_eq!(serials.len(), 50);
    assert!(serials.iter().all(|serial| *serial != 0 && *serial < 1 << 63));
    assert!(serials.iter().any(|serial| *serial > 1 << 56));
}

#[test]
fn weak_keys_are_not_certified() {
    let workshop = Workshop::new();
    let weak = workshop.key("weak", &["-t", "rsa", "-b", "1024"]);
    let error = authority(&workshop).issue(&request(Kind::Host, weak, &["web1"])).unwrap_err();
    assert_eq!(error.code(), "refused");
    assert!(error.to_string().contains("1024 bits"), "{error}");
}

#[test]
fn a_renewal_has_the_same_names_and_length() {
    let workshop = Workshop::new();
    let ca = authority(&workshop);
    let key = workshop.key("key", TYPES[1]);
    workshop.key("other", TYPES[0]);
    let first = ca.issue(&request(Kind::Host, key, &["web1", "web1.example"])).unwrap();
    let second = ca.renew(&first, HeldKey::in_file(&workshop.path("key"))).unwrap();
    assert_ne!(first.serial(), second.serial());
    assert_eq!((first.key(), first.principals(), first.key_id()), (second.key(), second.principals(), second.key_id()));
    assert_eq!(first.valid_before() - first.valid_after(), second.valid_before() - second.valid_after());
    let why = |error: CaError| error.to_string();
    assert!(why(ca.renew(&first, HeldKey::in_file(&workshop.path("other"))).unwrap_err()).contains("not the key"));
    assert!(why(ca.renew(&first, HeldKey::in_file(&workshop.path("nowhere"))).unwrap_err()).contains("nowhere"));
}

#[test]
fn what_cannot_be_renewed_says_why() {
    let workshop = Workshop::new();
    let ca = authority(&workshop);
    workshop.key("foreign", TYPES[0]);
    let key = workshop.key("key", TYPES[0]);
    let user = ca.issue(&request(Kind::User, key, &["jane"])).unwrap();
    let by_us = |options: &[&str]| workshop.certify("authority/host_ca", "key", &[&["-h"], options].concat());
    for (certificate, why) in [
        (user, "user certificates"),
        (workshop.certify("foreign", "key", &["-h", "-n", "web1", "-V", "-1m:+1d"]), "not a key of this CA"),
        (workshop.certify("authority/user_ca", "key", &["-h", "-n", "web1", "-V", "-1m:+1d"]), "not a key of this CA"),
        (by_us(&["-n", "web1", "-V", "20200101:20200201"]), "expired"),
        (by_us(&["-n", "web1"]), "400 days"),
        (by_us(&["-n", "web1", "-V", "-1m:+500d"]), "400 days"),
        (by_us(&["-V", "-1m:+1d"]), "no principal"),
        (by_us(&["-n", "*.example", "-V", "-1m:+1d"]), "wildcards"),
    ] {
        let error = ca.renew(&certificate, HeldKey::in_file(&workshop.path("key"))).unwrap_err();
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert_eq!(Error::from(error).exit(), Exit::Failed);
    }
}

#[test]
fn a_placeholder_is_a_certificate_of_the_key() {
    let workshop = Workshop::new();
    for (at, options) in TYPES.iter().enumerate() {
        let key = workshop.key(&format!("key{at}"), options);
        let principals = Principals::parse(Kind::Host, ["web1"]).unwrap();
        let certificate = placeholder::host_certificate(&key, &principals).unwrap();
        assert_eq!(verify::problem(&certificate, Kind::Host, &[key], now()), None);
        assert!(workshop.list(&certificate).contains("placeholder"));
    }
}
