//! `status` and `doctor` say what sshd is silent about.

use crate::support::Machine;
use std::fs;

#[track_caller]
fn both_say(machine: &Machine, words: &[&str]) {
    for command in ["status", "doctor"] {
        let run = machine.warded([command]).ends(4);
        for word in words {
            assert!(run.stdout.contains(word), "{command} does not say {word:?}: {}", run.stdout);
        }
    }
}

#[test]
fn a_missing_list_of_revoked_keys_is_told() {
    let machine = Machine::stopped();
    let list = machine.path("revoked_keys");
    let line = format!("RevokedKeys {}\n", list.display());
    fs::write(machine.config(), fs::read_to_string(machine.config()).unwrap() + &line).unwrap();
    let words = ["the list of revoked keys", list.to_str().unwrap(), "refuse every public key"];
    // Warded's own certificates are fine; `doctor` looks at the whole machine.
    for (command, end) in [("status", 0), ("doctor", 4)] {
        let said = machine.warded([command]).ends(end).stdout;
        assert!(words.iter().all(|word| said.contains(word)), "{command}: {said}");
    }
    fs::write(&list, "").unwrap();
    machine.warded(["status"]).ends(0);
}

#[test]
fn a_certified_key_that_sshd_ignores_is_told() {
    let machine = Machine::start();
    machine.certify();
    machine.warded(["status"]).ends(0);
    let key = machine.path("ssh/ssh_host_ecdsa_key");
    fs::write(&key, "").unwrap();
    both_say(
        &machine,
        &[key.to_str().unwrap(), "sshd does not offer it: the file is empty", "restore it from a backup"],
    );
}
