//! `warded remove` restores the machine as it was before Warded, whatever happened in between.

use crate::support::{
    Machine, Peer,
    machine::{Setup, tree},
    terminal::Terminal,
};
use std::fs;

/// After many renewals and other runs.
#[test]
fn everything_goes_after_25_renewals() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    let before = machine.tree();
    machine.certify();
    for _ in 0..25 {
        machine.warded(["renew", "--force"]).ends(0);
    }
    machine.warded(["apply", "revoke-users", "--yes", "--set", "serial=7"]).ends(0);
    let with_everything = machine.tree();
    let plan = machine.warded(["remove", "--plan"]).ends(3).stdout;
    assert!(plan.contains("Undoing run 27 (unix revoke-users") && plan.contains("down to run 1 "), "{plan}");
    assert!(plan.contains("-HostCertificate"), "{plan}");
    assert_eq!(machine.tree(), with_everything);

    let removed = machine.warded(["remove", "--yes"]).ends(0);
    removed.prints(&["as before Warded.", "warded logout"]);
    assert_eq!(machine.tree(), before);
    machine.warded(["renew"]).ends(2).says(&["not enrolled"]);
    machine.warded(["remove", "--yes"]).ends(0).prints(&["Warded has changed no file here"]);
    // The removal is a run like any other.
    machine.warded(["history"]).ends(0).prints(&["28  ", "undo of runs 1 to 27"]);
    machine.certify();
    let object = machine.warded(["remove", "--yes", "--json"]).ends(0).object("warded.remove/1");
    assert_eq!((&object["run"], &object["down_to"], &object["undoes"]), (&30.into(), &29.into(), &29.into()));
    assert_eq!(machine.tree(), before);
}

/// Clients know the new keys by now, and the old ones were given up.
#[test]
fn keys_that_were_made_anew_stay() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    let mut before = machine.tree();
    machine.certify();
    machine.warded(["rekey", "--yes", "--accept-risk=replace-host-keys"]).ends(0);
    let with_keys = machine.tree();
    machine
        .warded(["remove", "--yes"])
        .ends(0)
        .prints(&["Left as they are, since clients know them", "ssh_host_ed25519_key"]);
    let is_key = |path: &&std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("ssh_host_") && !name.contains("cert")
    };
    for path in with_keys.keys().filter(is_key) {
        before.insert(path.clone(), with_keys[path].clone());
    }
    assert_eq!(machine.tree(), before);
}

/// In the administrator's file only the block is removed, even if runs and edits alternated.
#[test]
fn a_block_goes_and_edits_around_it_stay() {
    let machine = Machine::with(&Setup { alone: true, without_rsa: true, ..Setup::default() });
    let edit = |from: &str, to: &str| {
        let text = fs::read_to_string(machine.config()).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(machine.config(), text.replacen(from, to, 1)).unwrap();
    };
    let first = fs::read_to_string(machine.config()).unwrap();
    machine.certify();
    edit("UsePAM no\n", "UsePAM no\n# one\n");
    machine.warded(["apply", "revoke-users", "--yes", "--set", "serial=7"]).ends(0);
    edit("# one\n", "# one\n# two\n");
    machine.warded(["renew", "--force"]).ends(0);
    edit("# two\n", "# two\n# three\n");
    assert!(fs::read_to_string(machine.config()).unwrap().contains("# BEGIN warded"));
    machine.warded(["remove", "--yes"]).ends(0);
    let expected = first.replacen("UsePAM no\n", "UsePAM no\n# one\n# two\n# three\n", 1);
    assert_eq!(fs::read_to_string(machine.config()).unwrap(), expected);
}

/// Edits in a file that Warded wrote are shown, and are given up only on request.
#[test]
fn edits_in_a_file_of_wardeds_are_shown_first() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    let before = machine.tree();
    machine.certify();
    let drop_in = machine.path("ssh/sshd_config.d/50-warded.conf");
    let text = fs::read_to_string(&drop_in).unwrap();
    fs::write(&drop_in, format!("{text}# mine\n")).unwrap();
    let edited = machine.tree();
    for words in ["remove --yes", "remove --plan", "remove"] {
        let run = match words.split(' ').collect::<Vec<_>>()[..] {
            [command, option] => machine.warded([command, option]),
            _ => machine.warded(["remove"]),
        };
        run.ends(5).says(&["1 file changed since the last run", "+# mine", "warded remove --discard-edits"]);
        assert_eq!(machine.tree(), edited, "{words}");
    }
    machine.warded(["remove", "--discard-edits"]).ends(2).says(&["there is no terminal to ask at"]);
    assert_eq!(machine.tree(), edited);
    machine.warded(["remove", "--yes", "--discard-edits"]).ends(0);
    assert_eq!(machine.tree(), before);
}

/// At a terminal Warded asks. If the answer is no, everything stays as it is.
#[test]
fn edits_are_asked_about_at_a_terminal() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    let before = machine.tree();
    machine.certify();
    let drop_in = machine.path("ssh/sshd_config.d/50-warded.conf");
    let text = fs::read_to_string(&drop_in).unwrap();
    fs::write(&drop_in, format!("{text}# mine\n")).unwrap();
    let edited = machine.tree();
    let removes = || {
        let line = format!("{} remove", env!("CARGO_BIN_EXE_warded"));
        let mut terminal = Terminal::run(&machine, 100, &line, |command| {
            machine.environment(command);
        });
        terminal.until("Discard these edits? [y/N] ");
        assert!(terminal.seen.contains("1 file changed since the last run") && terminal.seen.contains("+# mine"));
        terminal
    };
    let mut terminal = removes();
    terminal.types("n\n");
    let (code, screen) = terminal.ends();
    assert!(code != 0 && !screen.contains("Removed"), "{code}: {screen}");
    assert_eq!(machine.tree(), edited);
    let mut terminal = removes();
    terminal.types("y\n").until("stop renewing? [y/N] ").types("y\n");
    let (code, screen) = terminal.ends();
    assert!(code == 0 && screen.contains("as before Warded."), "{code}: {screen}");
    assert_eq!(machine.tree(), before);
}

/// A plan changes nothing, and the command does what the plan said.
#[test]
fn what_stops_renewals_is_shown_first() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    machine.certify();
    let shown = machine.warded(["unenrol", "--plan", "--json"]).ends(3).object("warded.unenrol/1");
    assert_eq!(shown["unenrolled"], false);
    machine
        .warded(["unenrol", "--plan"])
        .ends(3)
        .prints(&["nothing renews the certificates", "Nothing has been changed."]);
    machine.warded(["renew"]).ends(0);
    let done = machine.warded(["unenrol", "--yes", "--json"]).ends(0).object("warded.unenrol/1");
    assert_eq!((&done["unenrolled"], &done["sshd_config"]), (&true.into(), &shown["sshd_config"]));
    machine.warded(["unenrol", "--plan"]).ends(2).says(&["is not enrolled"]);
}

/// Files, modes and owners are restored in whichever order procedures were applied.
#[test]
fn procedures_in_every_order() {
    let procedures: [&[&str]; 4] = [
        &["certify-host", "--set", "principal=web1.example.org"],
        &["revoke-users", "--set", "serial=7"],
        &["trust-user-ca", "--accept-risk=root-by-certificate"],
        &["trust-host-ca", "--set", "domain=*.example.org"],
    ];
    // Each order of the three procedures for sshd, with the one for clients at different places among them.
    for order in [[3, 0, 1, 2], [0, 3, 2, 1], [1, 0, 3, 2], [1, 2, 0, 3], [2, 3, 0, 1], [3, 2, 1, 0]] {
        let Some(peer) = Peer::start("trixie", "") else { return };
        fs::write(peer.file("/etc/ssh/ssh_known_hosts"), "# hosts\nother.example.org ssh-ed25519 AAAA").unwrap();
        let before = tree(&peer.file("/etc/ssh"));
        for index in order {
            peer.warded(&[&["apply", "--yes"], procedures[index]].concat()).ends(0);
        }
        assert_ne!(tree(&peer.file("/etc/ssh")), before);
        peer.warded(&["remove", "--yes"]).ends(0);
        assert_eq!(tree(&peer.file("/etc/ssh")), before, "{order:?}");
        assert!(!peer.file("/var/lib/warded-status/status.json").exists());
        peer.warded(&["renew"]).ends(2).says(&["not enrolled"]);
    }
}

/// A block that was there before belongs to another state directory, or to a person.
#[test]
fn a_block_that_was_there_before_stays() {
    let machine = Machine::with(&Setup { alone: true, without_rsa: true, ..Setup::default() });
    let text = fs::read_to_string(machine.config()).unwrap();
    let theirs = "# BEGIN warded revoke-users\n# theirs\n# END warded revoke-users\n";
    fs::write(machine.config(), format!("{theirs}{text}")).unwrap();
    let before = machine.tree();
    machine.certify();
    machine.warded(["renew", "--force"]).ends(0);
    fs::write(
        machine.config(),
        fs::read_to_string(machine.config()).unwrap().replace("UsePAM no\n", "UsePAM no\n# new\n"),
    )
    .unwrap();
    machine.warded(["remove", "--yes"]).ends(0);
    let left = fs::read_to_string(machine.config()).unwrap();
    assert_eq!(left, format!("{theirs}{text}").replace("UsePAM no\n", "UsePAM no\n# new\n"));
    assert_eq!(before.keys().collect::<Vec<_>>(), machine.tree().keys().collect::<Vec<_>>());
}
