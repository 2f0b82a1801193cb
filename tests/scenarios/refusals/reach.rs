//! What is out of reach: paths that no grant covers, and what a grant does not include.

use super::write;
use crate::support::{
    Grants, Machine,
    calls::{self, Calls},
    machine::tree,
};
use std::{fs, path::Path};

#[test]
fn a_file_that_is_not_granted() {
    let machine = Machine::stopped();
    let before = (machine.tree(), fs::metadata("/etc/shadow").unwrap().modified().unwrap());
    let run = write(&machine, &[], "/etc/shadow", &["root::0:0:99999:7:::"]);
    run.ends(5)
        .says(&["write-file of policy writer asked for files.write: /etc/shadow", "files.write = [\"/etc/shadow\"]"]);
    let path = machine.path("ssh/sshd_config.d/../../ca/host_ca");
    write(&machine, &[], path.to_str().unwrap(), &["x"]).ends(1).says(&["invalid-path"]);
    assert_eq!(before, (machine.tree(), fs::metadata("/etc/shadow").unwrap().modified().unwrap()));
}

/// Warded's state, configuration, policies and program, and the CA, are out of reach even if a policy grants them.
#[test]
fn wardeds_own_files_and_the_ca() {
    let machine = Machine::stopped();
    let program = Path::new(env!("CARGO_BIN_EXE_warded")).canonicalize().unwrap();
    let mut own: Vec<_> = [
        "state/enrolment.json",
        "state/runs/x",
        "state/audit/log",
        "config.toml",
        "policies/writer.toml",
        "ca/host_ca",
        "ca/x",
    ]
    .into_iter()
    .map(|name| machine.path(name))
    .collect();
    own.push(program);
    for path in own {
        let path = path.to_str().unwrap();
        let grant = format!("files.write = [{path:?}]");
        let before = tree(&machine.path("ca"));
        let run = write(&machine, &[&grant], path, &["x"]);
        run.ends(5).says(&["asked for files.write: ", path, "no grant covers it", "this cannot be granted"]);
        assert_eq!(before, tree(&machine.path("ca")), "{path}");
    }
    // The same files by another name: a link in a granted directory.
    std::os::unix::fs::symlink(machine.path("ca"), machine.path("ssh/link")).unwrap();
    let link = machine.path("ssh/link/x");
    let run = write(&machine, &["files.write = [\"{sshd}/link/x\"]"], link.to_str().unwrap(), &["x"]);
    run.ends(1).says(&["untrusted-path", "no grant covers"]);
    assert!(!machine.path("ca/x").exists());
}

#[test]
fn names_that_the_operator_did_not_confirm() {
    let machine = Machine::stopped();
    let name = |_: &str, _: &str| "bank.example.com".to_owned();
    let mut calls = Calls::new(&name);
    calls.call(&calls::named("authority.issue"));
    let grants = Grants::of(&["keys = [\"sshd-host-keys\"]", "authority = [\"issue host\"]"]);
    grants.write_confirming(&machine.path("policies"), "case", "go", &calls.guest().component());
    for confirmed in ["principal=web1.example.org", "principal=bank.example.com.evil.example"] {
        let run = machine.warded(["apply", "go", "--policy", "case", "--yes", "--set", confirmed]);
        run.ends(5).says(&[
            "authority.issue",
            "bank.example.com is not a name that the operator confirmed",
            "cannot be granted",
        ]);
    }
    machine.warded(["apply", "go", "--policy", "case", "--yes", "--set", "principal=bank.example.com"]).ends(0);
}

#[test]
fn a_private_key_is_not_read_whatever_is_granted() {
    let machine = Machine::stopped();
    let key = machine.path("ssh/ssh_host_ed25519_key").to_str().unwrap().to_owned();
    let path = |_: &str, _: &str| key.clone();
    let mut calls = Calls::new(&path);
    calls.call(&calls::named("files.read"));
    let grants = Grants::of(&["files.read = [\"{sshd}/ssh_host_ed25519_key\"]"]);
    grants.write(&machine.path("policies"), "case", "go", &calls.guest().component());
    machine.warded(["apply", "go", "--policy", "case", "--yes"]).ends(0);
    let failed: Vec<_> = machine.audit().into_iter().filter(|record| record["kind"] == "failed").collect();
    assert_eq!(failed.len(), 1);
    assert!(failed[0]["detail"].as_str().unwrap().starts_with("private-key"), "{failed:?}");
}
