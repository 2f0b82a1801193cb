//! The history of a machine's runs, and how it leads to the right undo.

use crate::support::{ClientKnowledge, Machine, Run, clock::shift, machine::NAME};
use std::fs;

fn lines(machine: &Machine) -> Vec<String> {
    machine.warded(["history"]).ends(0).stdout.lines().map(str::to_owned).collect()
}

/// Checks that each line has the words of its run, in this order.
#[track_caller]
fn shows(machine: &Machine, expected: &[&[&str]]) {
    let shown = lines(machine);
    assert_eq!(shown.len(), expected.len() + 1, "{shown:#?}");
    for (line, words) in shown.iter().skip(1).zip(expected) {
        let mut rest = line.as_str();
        for word in *words {
            rest = rest.split_once(word).unwrap_or_else(|| panic!("{word:?} is not in {line:?}")).1;
        }
    }
}

/// The user who logged in according to the kernel, or else the one behind sudo.
fn operator() -> &'static str {
    let login = fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
    if login.trim().parse() == Ok(u32::MAX) && rustix::process::geteuid().is_root() { "alice" } else { "" }
}

#[test]
fn runs_are_listed_with_who_ran_them_and_undone_with_their_renewals() {
    let machine = Machine::start();
    let first = machine.tree();
    let set = format!("principal={NAME}");
    Run::of(machine.warded_command(["apply", "certify-host", "--yes", "--set", &set]).env("SUDO_USER", "alice"))
        .ends(0);
    machine.warded(["renew", "--force"]).ends(0);
    machine.warded(["apply", "certify-host", "--yes", "--set", &set, "--set", "principal=web2.example.org"]).ends(0);
    let changed = machine.tree();
    machine.warded(["renew", "--force"]).ends(0);
    shows(
        &machine,
        &[
            &["4  ", "renew-host", "kept", "with run 3"],
            &["3  ", "certify-host", "kept", "warded undo 3"],
            &["2  ", "renew-host", "kept", "with run 1"],
            &["1  ", "UTC", operator(), "certify-host", "kept", "warded undo --down-to 1"],
        ],
    );
    let says = |number: &str, code: i32, words: &[&str]| {
        machine.warded(["undo", "--yes", number]).ends(code).says(words);
    };
    says("1", 5, &["later runs build on it", "run 3 (unix certify-host", "warded undo --down-to 1"]);
    says("2", 2, &["run 2 only renewed certificates", "warded undo 1 "]);
    says("9", 2, &["run 9 cannot be undone", "there is no such run", "warded history"]);
    assert_ne!(changed, machine.tree());

    let undone = machine.warded(["undo", "--yes", "3"]).ends(0).stdout;
    assert!(undone.starts_with("Undoing run 3 (unix certify-host"), "{undone}");
    assert!(undone.lines().next().unwrap().ends_with(", and 1 renewal since"), "{undone}");
    says("3", 2, &["run 3 cannot be undone", "undid it"]);
    says("5", 2, &["run 5 cannot be undone", "it is an undo itself"]);
    shows(
        &machine,
        &[
            &["5  ", "undo of runs 3 to 4", "kept", "-"],
            &["4  ", "renew-host", "undone by run 5", "-"],
            &["3  ", "certify-host", "undone by run 5", "-"],
            &["2  ", "renew-host", "kept", "with run 1"],
            &["1  ", "certify-host", "kept", "warded undo 1"],
        ],
    );
    let history = machine.warded(["history", "--json"]).ends(0).object("warded.history/1");
    let run = |index: usize| &history["runs"][index];
    assert_eq!(
        (&run(0)["undoes"], &run(0)["down_to"], &run(0)["undo"]),
        (&4.into(), &3.into(), &serde_json::Value::Null)
    );
    assert_eq!((&run(2)["outcome"], &run(2)["undone_by"]), (&"undone".into(), &5.into()));
    assert_eq!((&run(3)["undone_with"], &run(4)["undo"]), (&1.into(), &"warded undo 1".into()));
    machine.warded(["undo", "--yes"]).ends(0);
    assert_eq!(first, machine.tree());
    machine.warded(["undo", "--yes"]).ends(0).prints(&["There is nothing to undo."]);
}

/// Runs a command at a time when a certificate of one hour has expired.
fn two_hours_later(machine: &Machine, command: &str) -> Run {
    let mut command = machine.warded_command([command, "--yes"]);
    shift(&mut command, 7200);
    Run::of(&mut command)
}

/// The certificates that the undo would restore have expired. The refusal says so, and what to do instead.
#[test]
fn an_undo_that_would_restore_an_expired_certificate_names_it() {
    let machine = Machine::start();
    machine.certify();
    let key = machine.path("ssh/ssh_host_ed25519_key");
    let sign = ["-q", "-h", "-I", "x", "-n", NAME, "-V", "-2m:+1h", "-s"];
    let by_hand = |times: [&str; 9]| {
        let mut command = machine.command("ssh-keygen");
        Run::of(command.args(times).arg(machine.path("ca/host_ca")).arg(format!("{}.pub", key.display()))).ends(0);
    };
    by_hand(sign);
    machine.warded(["apply", "certify-host", "--yes", "--set", "principal=web2.example.org"]).ends(0);
    let before = machine.tree();
    two_hours_later(&machine, "undo").ends(5).says(&[
        "refused: undoing run 2 would bring back",
        "ssh_host_ed25519_key-cert.pub, which expired",
        "warded undo --down-to 1",
    ]);
    assert_eq!(before, machine.tree());
}

/// The machine first had another CA's certificates, which have expired since. They are restored nevertheless.
#[test]
fn what_was_there_first_comes_back_although_it_has_expired() {
    for command in ["undo", "remove"] {
        let machine = Machine::start();
        let (key, other) = (machine.path("ssh/ssh_host_ed25519_key"), machine.path("other_ca"));
        let keygen = |words: &[&str]| {
            Run::of(machine.command("ssh-keygen").args(words)).ends(0);
        };
        let (key, other) = (key.to_str().unwrap(), other.to_str().unwrap());
        keygen(&["-q", "-t", "ed25519", "-N", "", "-f", other]);
        let public = format!("{key}.pub");
        keygen(&["-q", "-h", "-I", "x", "-n", NAME, "-V", "-2m:+1h", "-s", other, &public]);
        let config = fs::read_to_string(machine.config()).unwrap();
        fs::write(machine.config(), format!("{config}HostCertificate {key}-cert.pub\n")).unwrap();
        let before = machine.tree();
        machine.certify();
        let undone = two_hours_later(&machine, command).ends(0).stdout;
        assert!(undone.contains("ssh_host_ed25519_key-cert.pub comes back as it was; it expired"), "{undone}");
        assert!(before == machine.tree());
        machine.client(&ClientKnowledge::Keys(machine.host_key("ed25519"))).connects();
    }
}
