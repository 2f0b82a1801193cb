//! Somebody else works on the machine at the same time, or left something unfinished.

use super::serves;
use crate::support::{
    Machine,
    stand_in::{When, stand_in, was_asked},
};
use std::fs;

/// Between what was read and the change, by then shown, confirmed and proved.
#[test]
fn an_edit_between_plan_and_commit_is_not_lost() {
    let machine = Machine::start();
    let config = machine.config();
    let edit = format!("[ $first = no ] || echo '# an edit' >>{}", config.display());
    let sshd = stand_in(&machine, When::Proof, &edit);
    let mut expected = machine.tree();
    expected.get_mut(&config).unwrap().3.extend(b"# an edit\n");
    let principal = "principal=web1.example.org";
    let run = machine.warded(["apply", "certify-host", "--set", principal, "--yes", "--sshd", sshd.to_str().unwrap()]);
    run.ends(5).says(&["refused: ", "sshd_config", "changed"]);
    was_asked(&sshd);
    assert_eq!(expected, machine.tree());
    serves(&machine);
}

#[test]
fn somebodys_unfinished_change_is_not_switched_on() {
    let machine = Machine::start();
    let edited = fs::read_to_string(machine.config()).unwrap().replace("\nPort ", "\nPort 4");
    fs::write(machine.config(), edited).unwrap();
    let before = machine.tree();
    let run = machine.warded(["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"]);
    run.ends(5).says(&["refused: a reload would close 127.0.0.1:", "sshd has not read it yet", "nothing was changed"]);
    assert_eq!(before, machine.tree());
    serves(&machine);
}

#[test]
fn a_configuration_that_is_broken_already() {
    let machine = Machine::start();
    let broken = fs::read_to_string(machine.config()).unwrap() + "DenyUsrs x\n";
    fs::write(machine.config(), broken).unwrap();
    let before = machine.tree();
    let run = machine.warded(["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"]);
    assert_ne!(run.code, Some(0));
    run.says(&["DenyUsrs", "nothing was changed"]);
    assert_eq!(before, machine.tree());
    serves(&machine);
}
