//! Everything that can be renewed is renewed. A fault of one key does not prevent the others' renewal. A new key is
//! certified with the certificate of another one, unless the CA may have revoked its certificate.

use crate::support::{
    Machine, Member, Run,
    jwk::Jwk,
    machine::{KEYS, keygen},
    request::{by_host_key, claims},
    step_ca::{Provisioner, Setup, StepCa},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

fn key(member: &Member, name: &str) -> PathBuf {
    member.machine.path(&format!("ssh/ssh_host_{name}_key"))
}

/// Replaces a host key as `rm` and `ssh-keygen -A` do.
fn make_anew(member: &Member, name: &str) {
    let key = key(member, name);
    for file in [key.clone(), key.with_extension("pub")] {
        fs::remove_file(file).unwrap();
    }
    keygen(&["-q", "-N", "", "-t", name, "-f"], &key);
}

/// Runs `warded renew --force`, and checks that exactly these keys have a new certificate afterwards.
#[track_caller]
fn renews(member: &Member, code: i32, renewed: &[&str]) -> Run {
    let present = || KEYS.map(|name| fs::read(member.certificate_file(name)).ok());
    let before = present();
    let run = member.warded(&["renew", "--force"]).ends(code);
    let after = present();
    for ((name, before), after) in KEYS.iter().zip(&before).zip(&after) {
        assert_eq!(before != after, renewed.contains(name), "{name}: {run:?}");
    }
    run
}

/// Whether a certificate belongs to the key beside it.
fn fits(member: &Member, name: &str) -> bool {
    let certificate = ssh_key::Certificate::from_openssh(&member.certificate(name)).unwrap();
    let public = fs::read_to_string(key(member, name).with_extension("pub")).unwrap();
    *certificate.public_key() == *ssh_key::PublicKey::from_openssh(&public).unwrap().key_data()
}

fn audited(member: &Member, capability: &str, kind: &str, detail: &str) -> bool {
    member.machine.audit().iter().any(|record| {
        record["capability"] == capability
            && record["kind"] == kind
            && record["detail"].as_str().is_some_and(|text| text.contains(detail))
    })
}

#[test]
fn a_key_that_was_made_anew_is_certified_on_the_word_of_another() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    member.warded(&["renew"]).ends(0);
    // The former key's certificate is either gone with it, or still there.
    for (name, is_left) in [("ecdsa", false), ("ed25519", true), ("rsa", false)] {
        make_anew(&member, name);
        if !is_left {
            fs::remove_file(member.certificate_file(name)).unwrap();
        }
        let run = renews(&member, 0, &KEYS);
        let words = format!("ssh_host_{name}_key was replaced, and is certified on the word of");
        assert!(run.stdout.contains(&words), "{}", run.stdout);
        assert!(fits(&member, name), "{name}");
        assert!(audited(&member, "authority.rekey", "intent", "on the word of"), "{name}");
        let log = ca.log();
        assert!(log.contains("/ssh/rekey"), "{log}");
    }
    // From now on the key renews its own certificate.
    assert!(!renews(&member, 0, &KEYS).stdout.contains("on the word of"));
}

#[test]
fn only_a_key_with_the_same_names_and_a_valid_certificate_speaks_for_another() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    fs::copy(ca.path("host_ca"), machine.path("host_ca")).unwrap();
    let member = Member::of(machine, &ca).certified(&ca);
    for (names, window) in [("other.example.org", "-1h:+30d"), ("web1.example.org", "-2d:-1d")] {
        for name in ["rsa", "ed25519"] {
            sign_by_hand(&member, name, names, window);
        }
        make_anew(&member, "ecdsa");
        let run = member.warded(&["renew", "--force"]);
        assert_ne!(run.code, Some(0));
        assert!(!fits(&member, "ecdsa"), "{names} {window}: {run:?}");
    }
    // Without an SSHPOP provisioner no key can vouch for another.
    let machine = Machine::stopped();
    let Some(ca) = StepCa::with(&machine.network(), &Setup::of([Provisioner::jwk("admin")])) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    make_anew(&member, "ecdsa");
    member.warded(&["renew"]).ends(1).says(&["ssh_host_ecdsa_key", "SSHPOP"]);
    // A token works where no key can vouch.
    let password = ca.password_file();
    let make = ["token", "web1.example.org", "--host", "--count", "1", "--provisioner-password-file"];
    let tokens = member.warded(&[&make[..], &[password.to_str().unwrap()]].concat()).ends(0).stdout;
    let file = member.machine.path("tokens");
    fs::write(&file, tokens).unwrap();
    member.warded(&["renew", "--token-file", file.to_str().unwrap()]).ends(0);
    assert!(fits(&member, "ecdsa"));
}

/// Makes the CA revoke a host certificate, as an administrator does from elsewhere.
pub(super) fn revoke(ca: &StepCa, certificate: &str) {
    let serial = ssh_key::Certificate::from_openssh(certificate).unwrap().serial().to_string();
    let mut claims = claims(&ca.https(), "admin", "revoke");
    claims["sub"] = serial.clone().into();
    let token = ca.key("admin").token(&claims);
    let body = json!({ "serial": serial, "ott": token, "reasonCode": 1, "reason": "lost", "passive": true });
    ca.https().post("/ssh/revoke", &body).unwrap().ok(200);
}

/// The CA's answer when the ECDSA key asks it to certify another key.
fn asked_on_the_word_of_ecdsa(member: &Member, ca: &StepCa, public: &Path) -> u16 {
    let private = ssh_key::PrivateKey::read_openssh_file(&key(member, "ecdsa")).unwrap();
    let scalar = private.key_data().ecdsa().unwrap().private_key_bytes();
    let key = Jwk::of(p256::ecdsa::SigningKey::from_slice(scalar).unwrap());
    let certificate = ssh_key::Certificate::from_openssh(&member.certificate("ecdsa")).unwrap();
    let certificate = BASE64_STANDARD.encode(certificate.to_bytes().unwrap());
    let token = by_host_key(&ca.https(), ("sshpop", "rekey"), &key, &certificate);
    let public = fs::read_to_string(public).unwrap();
    let public = public.split(' ').nth(1).unwrap();
    let body = json!({ "ott": token, "publicKey": public });
    ca.https().post("/ssh/rekey", &body).unwrap().status
}

/// The CA itself would certify the revoked key: it checks only the certificate with which it is asked.
#[test]
fn a_key_whose_certificate_was_revoked_is_certified_on_nobodys_word() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    revoke(&ca, &member.certificate("rsa"));
    let run = renews(&member, 4, &["ecdsa", "ed25519"]);
    for words in ["Not renewed: ", "ssh_host_rsa_key: the cause", "a certificate that was revoked is not renewed"] {
        assert!(run.stdout.contains(words), "{}", run.stdout);
    }
    assert!(audited(&member, "authority.renew", "failed", "the cause is not known"));
    assert!(audited(&member, "authority.renew", "result", "Not renewed: "));
    let rsa = key(&member, "rsa");
    let public = rsa.with_extension("pub");
    assert_eq!(asked_on_the_word_of_ecdsa(&member, &ca, &public), 201, "the CA's own guard would do");

    // Without the revoked certificate, only Warded's record shows that there was one.
    let certificate = member.certificate("rsa");
    fs::remove_file(member.certificate_file("rsa")).unwrap();
    let run = renews(&member, 4, &["ecdsa", "ed25519"]);
    for words in ["ssh_host_rsa_key needs a new certificate", "had a certificate before, which the CA may have revoked"]
    {
        assert!(run.stdout.contains(words), "{}", run.stdout);
    }
    // With another key's certificate beside it, the key looks like a new one.
    fs::write(member.certificate_file("rsa"), member.certificate("ed25519")).unwrap();
    renews(&member, 4, &["ecdsa", "ed25519"]);
    // The revoked key comes back after it was replaced.
    let kept: Vec<_> = [&rsa, &public].map(|file| (file.clone(), fs::read(file).unwrap())).into();
    make_anew(&member, "rsa");
    renews(&member, 0, &KEYS);
    kept.iter().for_each(|(file, contents)| fs::write(file, contents).unwrap());
    renews(&member, 4, &["ecdsa", "ed25519"]);

    // The way back: the operator asks for it explicitly.
    fs::write(member.certificate_file("rsa"), certificate).unwrap();
    let password = ca.password_file();
    let credential = ["--provisioner-password-file", password.to_str().unwrap()];
    let again = |more: &[&str]| {
        let run = member.certifies(&[&credential[..], more].concat());
        (run.code, run.stdout)
    };
    let (code, said) = again(&[]);
    assert!(code == Some(0) && said.contains("Nothing to do."), "{said}");
    let (code, said) = again(&["--force"]);
    assert!(code == Some(0) && said.contains("Certified 3 keys"), "{said}");
    renews(&member, 0, &KEYS);
}

/// After `revoke` of the machine's own certificate, the commands that the messages name restore it.
#[test]
fn there_is_a_way_back_after_the_own_certificate_was_revoked() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    let file = member.certificate_file("ed25519");
    let done = member.warded(&["revoke", file.to_str().unwrap(), "--yes"]).ends(0);
    assert!(done.stdout.contains("apply certify-host --force"), "{}", done.stdout);
    fs::remove_file(&file).unwrap();
    assert!(!renews(&member, 4, &["rsa", "ecdsa"]).stdout.contains("on the word of"));
    let password = ca.password_file();
    member.certifies(&["--force", "--provisioner-password-file", password.to_str().unwrap()]).ends(0);
    renews(&member, 0, &KEYS);
}

/// Without the record of the keys that had certificates no key vouches for another, and everything else continues.
#[test]
fn a_record_that_cannot_be_read_stops_no_renewal() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca).certified(&ca);
    member.warded(&["renew"]).ends(0);
    let record = member.machine.path("state/certified-keys.json");
    let good = fs::read(&record).unwrap();
    let later = r#"{"schema":"warded.certified-keys/2","keys":{}}"#;
    for (text, cause) in [("", "EOF"), (later, "its schema is warded.certified-keys/2")] {
        fs::write(&record, text).unwrap();
        let told = ["No host key is certified on the word of another one", "certified-keys.json", cause];
        let run = renews(&member, 4, &KEYS);
        assert!(told.iter().all(|words| run.stdout.contains(words)), "{run:?}");
        assert_eq!(run.stdout.matches(told[0]).count(), 1, "{run:?}");
        let password = ca.password_file();
        member.certifies(&["--force", "--provisioner-password-file", password.to_str().unwrap()]).ends(4).prints(&told);
        assert_eq!(fs::read_to_string(&record).unwrap(), text, "nothing is written in its place");
    }
    make_anew(&member, "ecdsa");
    let run = renews(&member, 4, &["ed25519", "rsa"]);
    assert!(run.stdout.contains("it is not known which keys had certificates before"), "{run:?}");
    fs::write(&record, good).unwrap();
    renews(&member, 0, &KEYS);
}

/// Each fault of one key's files: the others are renewed, and the fault is named.
#[test]
fn one_odd_key_keeps_no_other_from_its_certificate() {
    type Fault = fn(&Member);
    let cases: [(&str, Fault, &[&str]); 7] = [
        (
            "no certificate at all",
            |member| fs::write(member.certificate_file("rsa"), "x\n").unwrap(),
            &["is not a certificate"],
        ),
        ("too large", |member| fs::write(member.certificate_file("rsa"), vec![b'x'; 2 << 20]).unwrap(), &["rsa_key"]),
        ("a second name", |member| second_name(&member.certificate_file("rsa")), &["rsa_key"]),
        (
            "a directory",
            |member| {
                fs::remove_file(member.certificate_file("rsa")).unwrap();
                fs::create_dir(member.certificate_file("rsa")).unwrap();
            },
            &["rsa_key"],
        ),
        ("a key with a second name", |member| second_name(&key(member, "rsa")), &["rsa_key"]),
        (
            "for other names",
            |member| sign_by_hand(member, "rsa", "other.example.org", "-1h:+30d"),
            &["not a name that the operator confirmed"],
        ),
        ("for ever", |member| sign_by_hand(member, "rsa", "web1.example.org", "always:forever"), &["never expires"]),
    ];
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    fs::copy(ca.path("host_ca"), machine.path("host_ca")).unwrap();
    let member = Member::of(machine, &ca).certified(&ca);
    for (case, fault, words) in cases {
        eprintln!("case: {case}");
        let (certificate, private) = (member.certificate("rsa"), fs::read(key(&member, "rsa")).unwrap());
        fault(&member);
        let before = ["ecdsa", "ed25519"].map(|name| member.certificate(name));
        let run = member.warded(&["renew", "--force"]).ends(4);
        for word in words {
            assert!(run.stdout.contains(word), "{case}: {word}: {}", run.stdout);
        }
        for (name, before) in ["ecdsa", "ed25519"].iter().zip(before) {
            assert_ne!(member.certificate(name), before, "{case}: {name}: {run:?}");
        }
        let file = member.certificate_file("rsa");
        drop(fs::remove_dir(&file));
        drop(fs::remove_file(&file));
        fs::write(&file, certificate).unwrap();
        fs::remove_file(key(&member, "rsa")).unwrap();
        fs::write(key(&member, "rsa"), private).unwrap();
        mode(&key(&member, "rsa"), 0o600);
        drop(fs::remove_file(member.machine.path("second")));
    }
}

fn mode(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

fn second_name(file: &Path) {
    fs::hard_link(file, file.ancestors().nth(2).unwrap().join("second")).unwrap();
}

/// Signs a host key with a copy of the CA's own key.
fn sign_by_hand(member: &Member, name: &str, names: &str, window: &str) {
    let mut command = std::process::Command::new("ssh-keygen");
    command.args(["-q", "-h", "-I", "x", "-n", names, "-z", "77", "-V", window, "-s"]);
    Run::of(command.arg(member.machine.path("host_ca")).arg(key(member, name).with_extension("pub"))).ends(0);
}
