//! A way in that needs no certificate goes only if the operator takes that risk by its name. The login
//! that proves a change has a key file of its own, and notices nothing of it.

use super::{drop_in, serves};
use crate::support::{Grants, Machine, Run};
use std::fs;

const GRANTED: &str = r#"["AuthorizedKeysFile", "PubkeyAuthentication", "PasswordAuthentication"]"#;

#[track_caller]
fn refused(machine: &Machine, lines: &[&str], says: &[&str]) {
    let before = machine.tree();
    let run = drop_in(machine, GRANTED, lines).ends(5);
    run.says(&["a way to log in would be gone", "--accept-risk=lose-ssh", "nothing was changed"]).says(says);
    assert_eq!(before, machine.tree(), "{lines:?}");
}

#[test]
fn keys_that_let_in_are_not_taken_away() {
    let machine = Machine::start();
    let keys = machine.path("authorized_keys").display().to_string();
    refused(&machine, &["AuthorizedKeysFile none"], &[&format!("root: a key in {keys}")]);
    refused(&machine, &["AuthorizedKeysFile /nonexistent/%u"], &[&keys]);
    refused(&machine, &["AuthorizedKeysFile none", "PasswordAuthentication yes"], &[&keys]);
    serves(&machine);
    // The same keys in another file are the same way in.
    let copy = machine.path("copy");
    fs::copy(&keys, &copy).unwrap();
    drop_in(&machine, GRANTED, &[&format!("AuthorizedKeysFile {}", copy.display())]).ends(0);
    serves(&machine);
    drop_in(&machine, GRANTED, &[&format!("AuthorizedKeysFile {} {keys}", copy.display())]).ends(0);
    serves(&machine);
}

#[test]
fn whoever_takes_the_risk_may() {
    let machine = Machine::start();
    let path = machine.path("ssh/sshd_config.d/60-test.conf");
    let grants = [
        "files.write = [\"{sshd}/sshd_config.d/60-test.conf\"]",
        "services.ssh = [\"reload\"]",
        &format!("sshd.keywords = {GRANTED}"),
    ];
    Grants::of(&grants).write_demo(&machine.path("policies"));
    let apply = |risk: &str| {
        let mut command = machine.warded_command(["apply", "write-file", "--policy", "writer", "--yes"]);
        command.args(["--set", &format!("path={}", path.display()), "--set", "text=AuthorizedKeysFile none"]);
        Run::of(command.args(["--set", "reload=yes", &format!("--accept-risk={risk}")]))
    };
    apply("everything").ends(2).says(&["lose-ssh"]);
    assert!(!path.exists());
    apply("lose-ssh").ends(0);
    assert_eq!(fs::read_to_string(&path).unwrap(), "AuthorizedKeysFile none\n");
    assert!(machine.audit().iter().any(|record| record.to_string().contains("accepted: lose-ssh")));
    // It opens a way again: nobody has to accept that.
    machine.warded(["undo", "--yes"]).ends(0);
    serves(&machine);
}

/// What an undo would take away counts as well.
#[test]
fn an_undo_is_a_change_like_any_other() {
    let machine = Machine::start();
    drop_in(&machine, GRANTED, &["PasswordAuthentication yes"]).ends(0);
    machine.warded(["undo", "--yes"]).ends(5).says(&["a password", "--accept-risk=lose-ssh"]);
    machine.warded(["undo", "--yes", "--accept-risk=lose-ssh"]).ends(0);
}
