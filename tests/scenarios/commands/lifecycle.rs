//! From a plan to an undo.

use crate::support::{
    Machine,
    machine::{KEYS, NAME},
};
use std::fs;

const SET: &str = "principal=web1.example.org";

#[test]
fn from_a_plan_to_an_undo() {
    let machine = Machine::start();
    let first = machine.tree();

    let plan = machine.warded(["plan", "certify-host", "--set", SET, "--json"]).ends(3).object("warded.plan/1");
    assert_eq!(
        (&plan["policy"], &plan["procedure"], &plan["pending"]),
        (&"unix".into(), &"certify-host".into(), &true.into())
    );
    assert_eq!(plan["files"].as_array().unwrap().len(), KEYS.len() + 1);
    assert_eq!(first, machine.tree(), "a plan changed something");

    let done = machine.certify();
    assert_eq!(done["run"], 1);
    assert_eq!(done["review"]["files"], plan["files"], "something else was applied than was planned");
    assert_eq!(done["certificates"][0]["principals"][0], NAME);
    let certified = machine.tree();
    let again = machine.warded(["plan", "certify-host", "--set", SET, "--json"]).ends(0).object("warded.plan/1");
    assert_eq!(again["pending"], false);
    let again = machine.certify();
    assert!(again["run"].is_null(), "{again}");
    assert_eq!(certified, machine.tree(), "a second apply changed something");

    let status = machine.warded(["status", "--json"]).ends(0).object("warded.status/1");
    assert_eq!(status["healthy"], true, "{status}");

    let renewed = machine.warded(["renew", "--json"]).ends(0).object("warded.renew/1");
    assert!(renewed["run"].is_null(), "{renewed}");
    assert_eq!(certified, machine.tree());
    machine.warded(["renew"]).ends(0);
    let renewed = machine.warded(["renew", "--force", "--json"]).ends(0).object("warded.renew/1");
    assert_eq!(renewed["served"].as_array().unwrap().len(), KEYS.len());
    assert_ne!(certified, machine.tree());

    let undone = machine.warded(["undo", "--yes", "--json"]).ends(0).object("warded.undo/1");
    assert_eq!(undone["undoes"], renewed["run"]);
    assert_eq!(certified, machine.tree());
    let undone = machine.warded(["undo", "--yes", "--json"]).ends(0).object("warded.undo/1");
    assert_eq!(undone["undoes"], done["run"]);
    assert_eq!(first, machine.tree());
    let nothing = machine.warded(["undo", "--yes", "--json"]).ends(0).object("warded.undo/1");
    assert!(nothing["undoes"].is_null(), "{nothing}");
    // The enrolment went with the run that made it.
    machine.warded(["renew"]).ends(2).says(&["not enrolled"]);
}

#[test]
fn undo_does_not_lose_an_edit() {
    let machine = Machine::start();
    machine.certify();
    let drop_in = machine.path("ssh/sshd_config.d/50-warded.conf");
    fs::write(&drop_in, fs::read_to_string(&drop_in).unwrap() + "# somebody's line\n").unwrap();
    let edited = machine.tree();
    machine.warded(["undo", "--yes"]).ends(5).says(&["50-warded.conf", "+# somebody's line"]);
    let refused = machine.warded(["undo", "--yes", "--json"]).ends(5).object("warded.error/1");
    assert_eq!(refused["exit"], 5);
    assert_eq!(edited, machine.tree());
    machine.serves_certificates();
}

#[test]
fn nothing_is_changed_without_a_yes() {
    let machine = Machine::start();
    let before = machine.tree();
    let run = machine.warded(["apply", "certify-host", "--set", SET]);
    run.ends(2).says(&["there is no terminal to ask at", "nothing was changed", "--yes"]);
    let error = machine.warded(["apply", "certify-host", "--set", SET, "--json"]).ends(2);
    assert!(error.stdout.contains("warded.error/1"), "{error:?}");
    assert_eq!(before, machine.tree());
    machine.certify();
    let certified = machine.tree();
    machine.warded(["undo"]).ends(2).says(&["there is no terminal to ask at"]);
    assert_eq!(certified, machine.tree());
}

#[test]
fn status_says_what_is_amiss() {
    let machine = Machine::start();
    machine.certify();
    fs::remove_file(machine.path("ssh/ssh_host_rsa_key-cert.pub")).unwrap();
    let status = machine.warded(["status", "--json"]).ends(4).object("warded.status/1");
    assert_eq!(status["healthy"], false, "{status}");
    machine.warded(["status"]).ends(4);
}
