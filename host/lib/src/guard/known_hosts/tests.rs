//! What the proof finds that an edit got wrong, with the real ssh-keygen and ssh.

use super::*;
use crate::guard::client::known_hosts::line_of;

const PIN: &str = "web9.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDOu+GOIRRAH2+0BR2aQmOYRjvJhESqjO0sF9Fiw6p4L";

fn prove(before: &str, after: &str) -> Result<Proof, String> {
    let ssh = Ssh::find().expect("ssh is there");
    let files = ssh.settings(&host("web1.lab.test").unwrap()).unwrap().values("userknownhostsfile");
    let change = Change {
        path: files.first().expect("ssh reads a file").into(),
        before: before.as_bytes().to_vec(),
        after: after.as_bytes().to_vec(),
        owner: None,
    };
    change.prove().map_err(|error| error.to_string())
}

fn ours(hosts: &str) -> String {
    let (key, _) = crate::machine::sshd::host_key::throw_away().unwrap();
    format!("@cert-authority {hosts} {} x\n", line_of(key.public_key().key_data()).unwrap())
}

#[test]
fn a_right_edit_is_proved() {
    let line = ours("*.lab.test");
    let proof = prove(&format!("{PIN}\n"), &format!("{PIN}\n{line}")).unwrap();
    assert_eq!(proof, Proof { patterns: vec!["*.lab.test".to_owned()], others: Vec::new(), keys: 1 });
    assert_eq!(prove("", &line).unwrap().keys, 0);
    // Another line of the same CA is not passed over in silence.
    let all = line.replace("*.lab.test", "*");
    let said = prove(&all, &format!("{all}{line}")).unwrap().to_string();
    assert!(said.contains("beside that by what is there now") && said.contains(" line 1 (*)"), "{said}");
    // What takes out alone, is proved, too.
    let taken = prove(&format!("{PIN}\n{line}"), &format!("{PIN}\n")).unwrap();
    assert_eq!(taken, Proof { keys: 1, ..Proof::default() });
}

#[test]
fn a_wrong_edit_is_found_by_ssh_keygen_and_ssh() {
    let line = ours("*.lab.test");
    let refused = |before: &str, after: &str, words: &str| {
        let said = prove(before, after).unwrap_err();
        assert!(said.contains(words), "{after}: {said}");
    };
    // The lines are joined: neither is read.
    refused(&format!("{PIN}\nweb8 {}", &PIN[13..]), &format!("{PIN}\nweb8 {}{line}", &PIN[13..]), "would be lost");
    refused(&format!("{PIN}\n"), &line, "would be lost");
    // ssh refuses what another line revokes; the stand-in's key is another one, so a key that is revoked is found by
    // the procedure, and a name by this.
    refused("", &ours("!web1.lab.test"), "cannot be proved");
    // Names that ssh never looks up.
    for hosts in ["web1.lab.test:2222", "[*.lab.test]:22", ".lab.test"] {
        refused("", &ours(hosts), "cannot be proved");
    }
    let pinned = format!("[warded-example.lab.test]:22,*.lab.test {}\n", &PIN[13..]);
    assert!(prove(&pinned, &format!("{pinned}{line}")).is_ok());
}

/// What the real ssh makes of the server; and what the server makes of a program in ssh's place which lets another
/// program take the only connection that the server serves, or which never connects.
#[test]
fn what_another_client_did_is_not_taken_for_what_ssh_does() {
    let scratch = Scratch::private().unwrap();
    let real = Ssh::find().expect("ssh is there");
    let stage = Stage::new(&Algorithm::Ed25519).unwrap();
    let trusting = format!("@cert-authority *.lab.test {}\n", stage.authority());
    let file = scratch.write("known_hosts", trusting.as_bytes(), 0o600).unwrap();
    let options = ["userknownhostsfile", "globalknownhostsfile"].map(|name| format!("{name}={}", file.display()));
    let stand_in = |name: &str, script: &str| {
        let program = scratch.write(name, format!("#!/bin/sh\n{script}\n").as_bytes(), 0o700).unwrap();
        Ssh { program }
    };
    let first = format!("{} \"$@\" 2>/dev/null", real.program.display());
    for (case, ssh, host, expected) in [
        ("ssh itself, inside", &real, "web1.lab.test", SshVerdict::Trusted),
        ("ssh itself, outside", &real, "web1.other.test", SshVerdict::Refused),
        (
            "another one came first",
            &stand_in("first", &format!("{first}; exit 255")),
            "web1.lab.test",
            SshVerdict::Unclear,
        ),
        (
            "another one came first, and ssh after it",
            &stand_in("second", &format!("{first}; exec {} \"$@\" -oConnectTimeout=1", real.program.display())),
            "web1.lab.test",
            SshVerdict::Unclear,
        ),
        ("ssh never came, outside", &stand_in("never", "exit 255"), "web1.other.test", SshVerdict::Unclear),
        (
            "another one was refused",
            &stand_in("outside", &format!("{first}; exit 255")),
            "web1.other.test",
            SshVerdict::Unclear,
        ),
    ] {
        let (met, output) = stage.meet(ssh, host, &options).unwrap();
        assert_eq!(met, expected, "{case}: {output:?}");
    }
}
