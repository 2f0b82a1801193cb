//! Components that packages offer: `policy list` and `status` report a higher version, and the accepted one keeps
//! running.

use super::{Desk, PUBLISHER};
use crate::support::{Machine, policy};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

/// Configures a directory of the machine's in which packages offer components.
fn offers(desk: &Desk) -> std::path::PathBuf {
    let directory = desk.machine.path("offered");
    fs::create_dir(&directory).unwrap();
    fs::write(desk.machine.path("config.toml"), format!("offered-policies = {directory:?}\n")).unwrap();
    directory
}

/// What `policy list` says about a policy.
fn offered(desk: &Desk, name: &str) -> Value {
    let list = desk.run(&["policy", "list", "--json"]).ends(0).object("warded.policy-list/1");
    let policy = list["policies"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
    policy["offered"].clone()
}

#[test]
fn only_a_higher_version_of_an_accepted_policy_is_told_of() {
    let desk = Desk::new();
    let directory = offers(&desk);
    let accepted = desk.signed("1.9.0", &[]);
    let there = directory.join("mine.wasm");
    fs::copy(&accepted, &there).unwrap();
    // Nothing is accepted yet, so there is no policy of that name.
    desk.run(&["policy", "update", "mine"]).ends(5).says(&["there is no policy mine"]);
    desk.run(&["policy", "update", "unix"]).ends(5).says(&["policy unix is part of this program"]);
    assert!(!desk.run(&["policy", "list"]).ends(0).stdout.contains("mine"));
    desk.add(&accepted, &[]).ends(0);
    for (version, is_higher) in [("1.9.0", false), ("1.8.9", false), ("1.10.0-rc", false), ("1.10.0", true)] {
        fs::copy(desk.component(version, &[]), &there).unwrap();
        let expected = json!({ "name": "mine", "version": version, "accepted": "1.9.0", "file": there });
        assert_eq!(offered(&desk, "mine"), if is_higher { expected } else { Value::Null }, "{version}");
    }
    let told = "mine 1.10.0 is offered, and 1.9.0 is accepted: warded policy update ";
    desk.run(&["policy", "list"]).ends(0).prints(&[told]);
    desk.run(&["status"]).prints(&[told]);
    // A file that others can write is not an offer, and neither is a file that is not a component.
    fs::set_permissions(&there, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(offered(&desk, "mine"), Value::Null);
    desk.run(&["policy", "update", "mine"]).ends(5).says(&["could have been written by another user"]);
    fs::remove_file(&there).unwrap();
    fs::write(&there, "\0asm").unwrap();
    assert_eq!(offered(&desk, "mine"), Value::Null);
    // Nor is another policy, whatever its file name.
    fs::rename(desk.component("2.0.0", &[]), directory.join("yours.wasm")).unwrap();
    fs::remove_file(&there).unwrap();
    assert_eq!(offered(&desk, "mine"), Value::Null);
    desk.run(&["policy", "update", "mine"]).ends(5).says(&["nothing is offered of policy mine", "there is no "]);
    assert_eq!(desk.version(), "1.9.0");
}

/// A package is upgraded on an enrolled machine: the accepted policy continues to renew, and the offer is not a
/// problem.
#[test]
fn an_upgraded_package_changes_nothing_until_it_is_accepted() {
    let desk = Desk::on(Machine::start());
    let directory = offers(&desk);
    let unix = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/unix.wasm")).unwrap();
    let request = include_str!("../../../guests/unix/policy.toml").replacen("\"unix\"", "\"vendor\"", 1);
    let package = |version: &str| {
        let request = request.replacen("\"0.1.0\"", &format!("\"{version}\"\ninstead-of = [\"unix\"]"), 1);
        let file = directory.join("vendor.wasm");
        fs::write(&file, policy::asking(&unix, &request)).unwrap();
        desk.sign(&file, PUBLISHER, "key").ends(0);
        file
    };
    let file = package("1.2.0");
    desk.add(&file, &[]).ends(0);
    desk.machine.certify();
    let status = desk.run(&["status", "--json"]).ends(0).object("warded.status/1");
    assert_eq!(status["offered"], json!([]));
    let accepted = desk.policies();

    package("1.3.0");
    let waits = "vendor 1.3.0 is offered, and 1.2.0 is accepted: warded policy update ";
    desk.run(&["renew", "--force"]).ends(0).prints(&[waits]);
    desk.machine.serves_certificates();
    assert_eq!(desk.policies(), accepted);
    let ran = |desk: &Desk| {
        let started = desk.machine.audit().into_iter().rfind(|record| record["kind"] == "started").unwrap();
        started["component"].as_str().unwrap().to_owned()
    };
    let digest = |file: &Path| warded_lib::digest::Digest::of(&fs::read(file).unwrap()).to_string();
    assert_ne!(ran(&desk), digest(&file));
    let offer = json!({ "name": "vendor", "version": "1.3.0", "accepted": "1.2.0", "file": file });
    let status = desk.run(&["status", "--json"]).ends(0).object("warded.status/1");
    assert_eq!((&status["healthy"], &status["offered"]), (&json!(true), &json!([offer])));
    let told = "note         vendor 1.3.0 is offered, and 1.2.0 is accepted: warded policy update ";
    desk.run(&["status"]).ends(0).prints(&[told, "problems     none"]);

    desk.run(&["policy", "update", "vendor"]).ends(0).prints(&["Added vendor 1.3.0 in place of 1.2.0"]);
    desk.run(&["policy", "update", "vendor"]).ends(0).prints(&["vendor 1.3.0 is there already"]);
    assert!(!desk.run(&["renew", "--force"]).ends(0).stdout.contains("is offered"));
    assert_eq!(ran(&desk), digest(&file));
    assert_eq!(offered(&desk, "vendor"), Value::Null);
}
