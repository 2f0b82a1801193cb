use super::*;
use crate::machine::keys::testing::{TYPES, Workshop, line};
use std::{fs, process::Command};

#[test]
fn public_keys_are_read_from_every_format() {
    let workshop = Workshop::new();
    for (at, options) in TYPES.iter().enumerate() {
        for format in ["RFC4716", "PEM", "PKCS8"] {
            let name = format!("key-{at}-{format}");
            workshop.key(&name, &[options, &["-m", format][..]].concat());
            let expected = line(&workshop.path(&format!("{name}.pub")));
            let key = read_public(&workshop.path(&name)).unwrap();
            assert_eq!(key.comment(), "made here");
            fs::remove_file(workshop.path(&format!("{name}.pub"))).unwrap();
            let key = read_public(&workshop.path(&name)).unwrap();
            assert_eq!(key.to_openssh().unwrap().trim_end(), expected, "{name}");
        }
    }
}

#[test]
fn ed25519_in_pkcs8_is_read() {
    let workshop = Workshop::new();
    let made =
        Command::new("openssl").args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(workshop.path("key")).output();
    if made.is_ok_and(|made| made.status.success()) {
        assert_eq!(read_public(&workshop.path("key")).unwrap().algorithm(), Algorithm::Ed25519);
    }
}

#[test]
fn a_passphrase_hides_the_key_only_in_old_formats() {
    let workshop = Workshop::new();
    for (format, readable) in [("RFC4716", true), ("PEM", false), ("PKCS8", false)] {
        workshop.keygen(&["-q", "-t", "ecdsa", "-N", "secret", "-m", format, "-f", format]);
        assert_eq!(read_public(&workshop.path(format)).is_ok(), readable, "{format}");
    }
}

#[test]
fn a_foreign_pub_file_is_ignored() {
    let workshop = Workshop::new();
    let key = workshop.key("key", TYPES[0]);
    workshop.key("other", TYPES[0]);
    fs::copy(workshop.path("other.pub"), workshop.path("key.pub")).unwrap();
    let read = read_public(&workshop.path("key")).unwrap();
    assert_eq!((read.key_data(), read.comment()), (key.key_data(), ""));
    fs::write(workshop.path("key.pub"), [0xff, 0]).unwrap();
    assert_eq!(read_public(&workshop.path("key")).unwrap().key_data(), key.key_data());
}

#[test]
fn what_is_no_private_key_is_said_to_be_none() {
    let workshop = Workshop::new();
    workshop.key("key", TYPES[0]);
    let private = fs::read_to_string(workshop.path("key")).unwrap();
    let cut = private.lines().filter(|line| !line.starts_with("QyN")).collect::<Vec<_>>().join("\n");
    for text in [
        "",
        "nothing",
        &fs::read_to_string(workshop.path("key.pub")).unwrap(),
        "-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----",
        "-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----",
        &cut,
    ] {
        assert_eq!(public_of(text.as_bytes(), None).unwrap_err().code(), "not-a-key", "{text}");
    }
    assert!(holds_private_key(private.as_bytes()));
    assert!(holds_private_key(format!("junk\n{private}").as_bytes()));
    assert!(!holds_private_key(&fs::read(workshop.path("key.pub")).unwrap()));
}

#[test]
fn new_keys_are_what_ssh_keygen_takes() {
    let workshop = Workshop::new();
    for algorithm in ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"] {
        let key = generate(algorithm, "root@web1").unwrap();
        assert!(!format!("{key:?}").contains("PRIVATE"));
        fs::write(workshop.path(algorithm), key.private.as_bytes()).unwrap();
        Command::new("chmod").args(["600".as_ref(), workshop.path(algorithm).as_os_str()]).status().unwrap();
        let public = workshop.keygen(&["-y", "-f", algorithm]);
        assert_eq!(public, key.public_file().unwrap());
        assert!(public.starts_with(algorithm) && public.ends_with(" root@web1\n"), "{public}");
        assert_eq!(public_of(key.private.as_bytes(), Some(public.as_bytes())).unwrap(), key.public);
        // The private half works, not only the public one.
        fs::write(workshop.path("subject.pub"), &public).unwrap();
        workshop.keygen(&["-q", "-s", algorithm, "-I", "an id", "-h", "-n", "web1", "subject.pub"]);
    }
    assert_eq!(generate("ssh-dss", "").unwrap_err().code(), "algorithm");
}
