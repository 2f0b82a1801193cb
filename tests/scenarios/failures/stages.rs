//! Each stage fails for a realistic reason.

use super::{CERTIFY, left_as_before};
use crate::support::{
    Grants, Machine, Run,
    stand_in::{ActionTime, stand_in, was_asked},
};
use std::process::Command;

/// Makes something happen at a stage of the run, and checks that the run fails with these words.
#[track_caller]
fn fails(when: ActionTime, what: &str, says: &[&str]) -> String {
    let machine = Machine::start();
    let before = machine.tree();
    let sshd = stand_in(&machine, when, what);
    let run = Run::of(machine.warded_command(CERTIFY).arg("--sshd").arg(&sshd));
    was_asked(&sshd);
    left_as_before(&machine, &before, &run, what);
    assert!(!machine.path("state/enrolment.json").exists(), "enrolled all the same");
    let ended = machine.audit().pop().unwrap();
    assert_eq!(ended["kind"], "ended");
    run.ends(5).says(says);
    machine.certify();
    machine.serves_certificates();
    ended["detail"].as_str().unwrap().to_owned()
}

#[test]
fn the_candidate() {
    let ended = fails(ActionTime::Candidate, "echo 'fatal: out of luck' >&2; exit 255", &["out of luck"]);
    assert!(ended.starts_with("refused: "), "{ended}");
}

/// The key is gone, can be read by others, or is not a key.
#[test]
fn the_certificates() {
    for (what, says) in
        [("rm host_ca", "host_ca"), ("chmod 644 host_ca", "host_ca"), ("echo no key >host_ca", "host_ca")]
    {
        let machine = Machine::start();
        let before = machine.tree();
        let done = Command::new("sh").args(["-ec", what]).current_dir(machine.path("ca")).status().unwrap();
        assert!(done.success());
        let run = machine.warded(CERTIFY);
        left_as_before(&machine, &before, &run, what);
        run.says(&[says]);
    }
}

#[test]
fn the_proof() {
    let ended = fails(
        ActionTime::Proof,
        "echo 'fatal: out of luck' >&2; exit 255",
        &["would not serve the certificate", "out of luck"],
    );
    // By then the audit log states what would have changed.
    assert!(ended.starts_with("not begun: refused: "), "{ended}");
}

/// A change that passes every earlier check, and that only the running daemon shows to be wrong: it accepts no more
/// connections from the network.
#[test]
fn the_look_afterwards() {
    let machine = Machine::start();
    let before = machine.tree();
    let grants = [
        "files.write = [\"{sshd}/sshd_config.d/60-test.conf\"]",
        "sshd.keywords = [\"PerSourceMaxStartups\"]",
        "services.ssh = [\"reload\"]",
    ];
    Grants::of(&grants).write_demo(&machine.path("policies"));
    let path = format!("path={}", machine.path("ssh/sshd_config.d/60-test.conf").display());
    let arguments =
        ["apply", "write-file", "--policy", "writer", "--yes", "--set", "reload=yes", "--accept-risk", "lose-ssh"];
    let mut command = machine.warded_command(arguments);
    let run = Run::of(command.args(["--set", "text=PerSourceMaxStartups 0", "--set", &path]));
    let run = run.ends(1).says(&["rolled back: ", "state: as before", "1 file", "ssh reloaded, checked"]);
    left_as_before(&machine, &before, &run, "verify");
    assert_eq!(machine.audit().pop().unwrap()["kind"], "ended");
}
