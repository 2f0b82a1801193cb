//! Earlier versions wrote the line of `revoke-users` among those of `certify-host`. Here their own component does that.

use super::{get_in, killed_at_exchange, machine_with, rolled_back};
use crate::support::{Machine, Run, Setup, machine::NAME};
use std::{fs, path::Path};

const SHARED: &str = "ssh/sshd_config.d/50-warded.conf";
const OWN: &str = "ssh/sshd_config.d/50-warded-revoke-users.conf";

/// Lets the component of version 0.1.0 revoke a user's certificate and, if wanted, first certify the machine.
fn earlier(machine: &Machine, certifies: bool) {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let policies = machine.path("policies");
    fs::create_dir_all(&policies).unwrap();
    fs::copy(checkout.join("tests/guests/0.1.0/unix.wasm"), policies.join("before.wasm")).unwrap();
    let text = fs::read_to_string(checkout.join("policies/earlier/unix-73497631.toml")).unwrap();
    fs::write(policies.join("before.toml"), text.replacen("\"unix\"", "\"before\"", 1)).unwrap();
    let principal = format!("principal={NAME}");
    if certifies {
        machine.warded(["apply", "certify-host", "--policy", "before", "--yes", "--set", &principal]).ends(0);
    }
    machine.warded(["apply", "revoke-users", "--policy", "before", "--yes", "--set", "serial=7"]).ends(0);
}

/// Revokes with the bundled policy, which is installed beside that component.
fn revoke(machine: &Machine, serial: &str) -> Run {
    machine.warded(["apply", "revoke-users", "--policy", "unix", "--yes", "--set", &format!("serial={serial}")])
}

fn named(machine: &Machine, file: &str) -> bool {
    fs::read_to_string(machine.path(file)).is_ok_and(|text| text.contains("\nRevokedKeys "))
}

#[test]
fn the_line_moves_to_a_file_of_its_own() {
    for certifies in [true, false] {
        let (machine, users) = machine_with(&Setup::default());
        let first = machine.tree();
        earlier(&machine, certifies);
        assert!(named(&machine, SHARED) && !machine.path(OWN).exists());
        assert_eq!(get_in(&machine, &users), [false, true]);
        let shared = machine.tree();
        let said = revoke(&machine, "8").ends(0).stdout;
        assert!(said.contains("50-warded-revoke-users.conf") && said.contains("-RevokedKeys "), "{said}");
        assert_eq!(get_in(&machine, &users), [false, false], "what was revoked stays so");
        assert!(named(&machine, OWN) && !named(&machine, SHARED));
        assert_eq!(machine.path(SHARED).exists(), certifies);
        if certifies {
            machine.serves_certificates();
        }
        let split = machine.tree();
        revoke(&machine, "8").ends(0).prints(&["Nothing to do"]);
        machine.warded(["undo", "--yes"]).ends(0);
        assert_eq!(machine.tree(), shared);
        assert_eq!(get_in(&machine, &users), [false, true]);
        revoke(&machine, "8").ends(0);
        assert_eq!(machine.tree().keys().collect::<Vec<_>>(), split.keys().collect::<Vec<_>>());
        machine.warded(["remove", "--yes"]).ends(0);
        assert_eq!(machine.tree(), first);
    }
}

/// In the main file the line moves to another block, and the file is replaced at once.
#[test]
fn the_line_moves_to_a_block_of_its_own() {
    let (machine, users) = machine_with(&Setup { alone: true, ..Setup::default() });
    let first = machine.tree();
    earlier(&machine, true);
    let text = || fs::read_to_string(machine.config()).unwrap();
    let block = |name: &str| {
        let text = text();
        let (_, rest) = text.split_once(&format!("# BEGIN warded{name}\n")).unwrap();
        rest.split_once(&format!("# END warded{name}\n")).unwrap().0.to_owned()
    };
    assert!(block("").contains("RevokedKeys "), "{}", text());
    revoke(&machine, "8").ends(0);
    assert!(!block("").contains("RevokedKeys ") && block("").contains("HostCertificate "), "{}", text());
    assert!(block(" revoke-users").contains("RevokedKeys "), "{}", text());
    assert_eq!(get_in(&machine, &users), [false, false]);
    machine.serves_certificates();
    machine.warded(["remove", "--yes"]).ends(0);
    assert_eq!(machine.tree(), first);
}

/// In an edited file Warded does not know whose the lines are. It takes nothing out, and says what to do.
#[test]
fn an_edited_file_is_not_split() {
    let (machine, users) = machine_with(&Setup::default());
    earlier(&machine, true);
    let text = fs::read_to_string(machine.path(SHARED)).unwrap();
    fs::write(machine.path(SHARED), format!("{text}# mine\n")).unwrap();
    let before = machine.tree();
    let next = "move that line to another file of sshd's configuration";
    revoke(&machine, "8").ends(5).says(&["which Warded did not write", next, "nothing was changed"]);
    assert_eq!(machine.tree(), before);
    let (line, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("RevokedKeys "));
    fs::write(machine.path("ssh/sshd_config.d/60-mine.conf"), line.join("\n") + "\n").unwrap();
    fs::write(machine.path(SHARED), rest.join("\n") + "\n").unwrap();
    revoke(&machine, "8").ends(0);
    assert_eq!(get_in(&machine, &users), [false, false]);
}

/// Killed before any exchange: at every moment at least one of the two files has the line.
#[test]
fn no_crash_loses_the_line() {
    let (machine, users) = machine_with(&Setup::default());
    earlier(&machine, true);
    let before = machine.tree();
    let mut killed = 0;
    for when in 1.. {
        let words = ["apply", "revoke-users", "--policy", "unix", "--yes", "--set", "serial=8"];
        let trace = killed_at_exchange(&machine, when, &words);
        assert!(named(&machine, SHARED) || named(&machine, OWN), "exchange {when}");
        assert!(!get_in(&machine, &users)[0], "exchange {when}");
        if !trace.contains("killed by SIGKILL") {
            break;
        }
        killed += 1;
        rolled_back(&machine, &format!("exchange {when}"));
        if machine.tree() != before {
            machine.warded(["undo", "--yes"]).ends(0);
        }
        assert_eq!(machine.tree(), before, "exchange {when}");
    }
    // One exchange each for the list, the new file and the old one.
    assert!(killed >= 3, "{killed}");
    assert!(named(&machine, OWN) && !named(&machine, SHARED));
    assert_eq!(get_in(&machine, &users), [false, false]);
}
