//! Every function of every interface, called by a procedure that has no grant for it. The cases come from `wit/`, so a
//! function that is added there is tried here.

use crate::support::{
    Grants, Machine, Run,
    calls::{self, Callable, Calls},
    machine::tree,
};
use std::fs;

/// A name that is also a valid principal.
const CONFIRMED: &str = "localhost";

#[test]
fn every_function_is_denied_unless_it_is_granted() {
    let machine = Machine::stopped();
    machine.warded(["apply", "certify-host", "--set", &format!("principal={CONFIRMED}"), "--yes"]).ends(0);
    let functions: Vec<Callable> = calls::all().into_iter().filter(Callable::is_freestanding).collect();
    assert!(functions.len() >= 17, "fewer functions than the first version had: {}", functions.len());
    for function in &functions {
        deny(&machine, function);
    }
}

fn deny(machine: &Machine, function: &Callable) {
    let capability = function.capability();
    let text = |capability: &str, parameter: &str| argument(machine, capability, parameter);
    let mut calls = Calls::new(&text);
    calls.call(function);
    let component = calls.guest().component();
    let policies = machine.path("policies");
    let before = tree(&machine.path("ssh"));

    // The functions that return the handles it takes are granted, by the lines that the denials name.
    let mut grants = Grants::of(&[]);
    let (denied, state) = loop {
        grants.write_confirming(&policies, "case", "go", &component);
        let state = machine.path("denials");
        drop(fs::remove_dir_all(&state));
        let run = go(machine, "apply").ends(5).says(&["refused: go of policy case asked for "]);
        if run.stderr.contains(&format!("asked for {capability}: ")) {
            break (run, state);
        }
        grants.add(needed(&run));
    };
    let needed = needed(&denied).to_owned();
    assert_eq!(before, tree(&machine.path("ssh")), "{capability}");
    let log = machine.warded(["audit", "log", "--json", "--state", state.to_str().unwrap()]).ends(0);
    let log = log.object("warded.audit-log/1");
    let records: Vec<_> =
        log["records"].as_array().unwrap().iter().filter(|record| record["kind"] == "denied").collect();
    assert_eq!(records.len(), 1, "{capability}: {log}");
    let record = records[0];
    assert_eq!(
        (&record["capability"], &record["procedure"], &record["policy"]),
        (&capability.as_str().into(), &"go".into(), &"case".into())
    );
    // The run's number was reserved, but nothing was written there.
    let runs = fs::read_dir(state.join("runs")).into_iter().flatten();
    assert!(runs.flatten().all(|run| fs::read_dir(run.path()).unwrap().next().is_none()), "{capability}");

    // With this grant the call works, so it was the missing one. Replacing a key takes two grants.
    grants.add(&needed);
    grants.write_confirming(&policies, "case", "go", &component);
    let mut granted = go(machine, "plan");
    if capability == "keys.replace" {
        let denied = granted.ends(5).says(&["asked for keys.replace: ", "authority = [\"rekey host\"]"]);
        grants.add(self::needed(&denied));
        grants.write_confirming(&policies, "case", "go", &component);
        granted = go(machine, "plan");
    }
    // The call is granted, and then the guard refuses a key without its certificate.
    let guarded = capability == "keys.replace" && granted.stderr.contains("No matching private key for certificate");
    assert!(matches!(granted.code, Some(0 | 3)) || guarded, "{capability} with {needed}: {granted:?}");
    assert_eq!(before, tree(&machine.path("ssh")), "{capability}");
}

fn go(machine: &Machine, command: &str) -> Run {
    let state = machine.path("denials");
    let mut arguments = vec!["--policy", "case", "--state", state.to_str().unwrap(), "--set"];
    let principal = format!("principal={CONFIRMED}");
    arguments.push(&principal);
    if command == "apply" {
        arguments.push("--yes");
    }
    Run::of(machine.warded_command([command, "go"]).args(arguments))
}

/// The line that would grant the call, as the denial names it.
fn needed(run: &Run) -> &str {
    let (_, line) = run.stderr.split_once("[procedure.go] needs: ").unwrap_or_else(|| panic!("{run:?}"));
    line.lines().next().unwrap()
}

/// An argument that makes sense if the call is granted.
fn argument(machine: &Machine, capability: &str, parameter: &str) -> String {
    let interface = capability.split('.').next().unwrap();
    let file = match (interface, parameter) {
        (_, "directory") => "ssh/sshd_config.d",
        ("files", "path") => "ssh/sshd_config.d/60-case.conf",
        ("keys", "path") => "ssh/ssh_host_ed25519_key",
        // Another path than the one that it reads: a grant to read a certificate is also one to write it.
        ("authority", "path") if capability == "authority.write" => "ssh/ssh_host_ed25519_key-cert.pub",
        ("authority", "path") => "ssh/ssh_host_rsa_key-cert.pub",
        ("machine", _) => return "hostname".to_owned(),
        ("actions", "name") if capability == "actions.query" => return "show".to_owned(),
        ("actions", "name") => return "set".to_owned(),
        ("services", _) if capability == "services.restart" => return "app".to_owned(),
        ("services", _) => return "ssh".to_owned(),
        _ => return CONFIRMED.to_owned(),
    };
    machine.path(file).to_str().unwrap().to_owned()
}
