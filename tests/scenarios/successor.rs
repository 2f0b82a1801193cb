//! A machine that was enrolled with an earlier binary, which had another bundled component.

use crate::support::Machine;
use std::{fs, path::Path};
use warded_lib::digest::Digest;

/// Writes the record of an earlier binary: the digests of its component and of its policy's text.
fn enrol_with(machine: &Machine, component: &str, grants: &str) {
    let file = machine.path("state/enrolment.json");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let enrolment = &mut record["enrolments"][0];
    enrolment["component"] = component.into();
    enrolment["grants"] = grants.into();
    fs::write(&file, serde_json::to_vec_pretty(&record).unwrap()).unwrap();
}

#[test]
fn every_earlier_bundled_policy_still_renews() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/earlier");
    let mut found = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let component = text.lines().find_map(|line| line.strip_prefix("component = \"")?.strip_suffix('"')).unwrap();
        let machine = Machine::start();
        machine.certify();
        enrol_with(&machine, component, &Digest::of(text.as_bytes()).to_string());
        machine.warded(["status"]).ends(0);
        machine.warded(["renew", "--force"]).ends(0);
        machine.serves_certificates();
        let started = machine.audit().into_iter().rfind(|record| record["kind"] == "started").unwrap();
        assert_ne!(started["component"], component);
        let detail = started["detail"].as_str().unwrap();
        assert!(detail.contains(component) && detail.contains("asks for no more"), "{detail}");
        found += 1;
    }
    assert!(found > 0);
}

#[test]
fn a_component_that_nobody_accepted_renews_nothing() {
    let machine = Machine::start();
    machine.certify();
    let before = machine.tree();
    let unknown = Digest::of(b"another component").to_string();
    enrol_with(&machine, &unknown, &unknown);
    let words = ["enrolled with another component", "nobody has accepted", &unknown, "warded apply certify-host"];
    machine.warded(["renew", "--force"]).ends(5).says(&words).says(&["nothing was changed"]);
    let status = machine.warded(["status", "--json"]).ends(4).object("warded.status/1");
    let problem = status["problems"][0].as_str().unwrap();
    assert!(words.iter().all(|word| problem.contains(word)), "{problem}");
    assert_eq!(before, machine.tree());
}
