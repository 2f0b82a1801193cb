//! `warded login --out`.

use super::Person;
use crate::support::agent::Agent;
use std::{fs, os::unix::fs::PermissionsExt as _};

#[test]
fn the_key_and_its_certificate_go_into_files() {
    let Some(person) = Person::new() else { return };
    let key = person.home("keys/mine");
    let out = ["--out", key.to_str().unwrap()];
    let object = person.login(None, &[&out[..], &["--json"]].concat()).ends(0).object("warded.login/1");
    assert_eq!((&object["agent"], &object["identities"]), (&serde_json::Value::Null, &0.into()));
    let mode = |name: &str| fs::metadata(person.home(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("keys"), mode("keys/mine"), mode("keys/mine-cert.pub")), (0o700, 0o600, 0o644));
    person.ssh(None, &["-i", key.to_str().unwrap()]).ends(0).prints(&["in"]);

    let before = fs::read(&key).unwrap();
    person.login(None, &out).ends(0).prints(&["Nothing was changed"]);
    assert_eq!(fs::read(&key).unwrap(), before);
    person.login(None, &[&out[..], &["--force"]].concat()).ends(0);
    assert_ne!(fs::read(&key).unwrap(), before);
    // With `--agent`, the certificate in the files is not enough: the agent does not have it yet.
    let agent = Agent::openssh(person.machine(), "agent");
    person.login(Some(&agent.socket), &[&out[..], &["--agent"]].concat()).ends(0);
    assert_eq!(person.listed(&agent.socket).len(), 1);
    person.ssh(None, &["-i", key.to_str().unwrap()]).ends(0);
    person
        .warded(Some(&agent.socket), &[&["logout"], &out[..]].concat())
        .ends(0)
        .prints(&["1 certificate", "keys/mine"]);
    assert_eq!(fs::read_dir(person.home("keys")).unwrap().count(), 0);
    assert!(person.listed(&agent.socket).is_empty());
}

#[test]
fn a_key_that_is_not_wardeds_stays() {
    let Some(person) = Person::new() else { return };
    person.write(".ssh/id_ed25519", "");
    fs::remove_file(person.home(".ssh/id_ed25519")).unwrap();
    let key = person.home(".ssh/id_ed25519");
    person.program("ssh-keygen", None, &["-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()]).ends(0);
    // Even if there is a certificate of this CA beside it.
    let authority = person.ca.path("user_ca");
    let sign = ["-q", "-s", authority.to_str().unwrap(), "-I", "root", "-n", "root"];
    person.program("ssh-keygen", None, &[&sign[..], &[&format!("{}.pub", key.display())]].concat()).ends(0);
    let out = ["--out", key.to_str().unwrap()];
    // The second time as for a smartcard, whose private key is in no file.
    for is_there in [true, false] {
        if !is_there {
            fs::remove_file(&key).unwrap();
        }
        let tree = crate::support::machine::tree(&person.home(".ssh"));
        person.login(None, &out).ends(5).says(&["`warded login` did not make it", "nothing was changed"]);
        person.warded(None, &[&["logout"], &out[..]].concat()).ends(0).prints(&["There is no login"]);
        assert_eq!(crate::support::machine::tree(&person.home(".ssh")), tree);
    }
    assert_eq!(person.asked(), 0);
}

#[test]
fn a_place_that_cannot_be_written_uses_up_no_certificate() {
    let Some(person) = Person::new() else { return };
    person.write("file", "");
    let key = person.home("file/key");
    let out = ["--out", key.to_str().unwrap()];
    person.login(None, &out).ends(1).says(&["Not a directory", "no certificate was asked for"]);
    assert_eq!(person.asked(), 0);
}
