//! Somebody else works on the machine at the same time, or has left an unfinished change.

use super::{drop_in, serves, write};
use crate::support::{
    Machine, Run, missing,
    stand_in::{ActionTime, stand_in, was_asked},
};
use std::fs;

/// The edit comes between the plan and the commit, when the change has been shown, confirmed and proved.
#[test]
fn an_edit_between_plan_and_commit_is_not_lost() {
    let machine = Machine::start();
    let config = machine.config();
    let edit = format!("[ $first = no ] || echo '# an edit' >>{}", config.display());
    let sshd = stand_in(&machine, ActionTime::Proof, &edit);
    let mut expected = machine.tree();
    expected.get_mut(&config).unwrap().3.extend(b"# an edit\n");
    let principal = "principal=web1.example.org";
    let run = machine.warded(["apply", "certify-host", "--set", principal, "--yes", "--sshd", sshd.to_str().unwrap()]);
    run.ends(5).says(&["refused: ", "sshd_config", "changed"]);
    was_asked(&sshd);
    assert_eq!(expected, machine.tree());
    serves(&machine);
}

/// The edit comes while a person reads the plan, which was made from sshd's earlier answers.
#[test]
fn an_edit_of_what_a_plan_was_made_from() {
    let machine = Machine::start();
    let theirs = machine.path("ssh/sshd_config.d/99-theirs.conf");
    let sshd = stand_in(&machine, ActionTime::Asked, &format!("echo '# an edit' >{}", theirs.display()));
    let before = machine.tree();
    let principal = "principal=web1.example.org";
    let run = machine.warded(["apply", "certify-host", "--set", principal, "--yes", "--sshd", sshd.to_str().unwrap()]);
    run.ends(5).says(&["refused: ", "99-theirs.conf was changed since the plan was made", "nothing was changed"]);
    was_asked(&sshd);
    fs::remove_file(theirs).unwrap();
    assert_eq!(before, machine.tree());
    serves(&machine);
}

/// The edit comes between the commit and the reload. Warded must neither activate it nor leave its own change behind.
#[test]
fn an_edit_right_before_the_reload() {
    for line in ["LoginGraceTime 99", "LoginGraceTime soon"] {
        let machine = Machine::start();
        let theirs = machine.path("ssh/sshd_config.d/99-theirs.conf");
        let sshd = stand_in(&machine, ActionTime::Reload, &format!("echo {line} >{}", theirs.display()));
        let before = machine.tree();
        let set = ["--set", "principal=web1.example.org", "--yes", "--sshd", sshd.to_str().unwrap()];
        let mut command = machine.warded_command(["apply", "certify-host"]);
        let run = Run::of(command.args(set));
        assert!(matches!(run.code, Some(1 | 4)), "{run:?}");
        was_asked(&sshd);
        if line.ends_with("99") {
            run.says(&["99-theirs.conf was changed while this ran", "99-theirs.conf was changed by somebody else"]);
        } else {
            run.says(&["is not told to reload: it would stop"]);
        }
        assert_eq!(fs::read_to_string(&theirs).unwrap(), format!("{line}\n"));
        fs::remove_file(theirs).unwrap();
        assert_eq!(before, machine.tree());
        let log = fs::read_to_string(machine.path("sshd.log")).unwrap();
        assert!(!log.contains("SIGHUP"), "{log}");
        serves(&machine);
    }
}

/// sshd is outside the usual directories, not running, or being upgraded.
#[test]
fn without_an_sshd_its_configuration_stays_as_it_is() {
    if missing::root() {
        return;
    }
    let machine = Machine::stopped();
    Run::of(machine.command("mount").args(["--bind", "/dev/null", "/usr/sbin/sshd"])).ends(0);
    let before = machine.tree();
    let says = ["60-test.conf line 1", "denyusers", "not granted"];
    drop_in(&machine, r#"["LoginGraceTime"]"#, &["DenyUsers *"]).ends(5).says(&says);
    let says = ["60-test.conf cannot be checked: there is no sshd here", "--sshd FILE", "nothing was changed"];
    drop_in(&machine, r#"["LoginGraceTime"]"#, &["LoginGraceTime 77"]).ends(5).says(&says);
    assert_eq!(before, machine.tree());
    // A file that is not part of sshd's configuration can be written.
    let path = machine.path("ssh/other");
    write(&machine, &["files.write = [\"{sshd}/other\"]"], path.to_str().unwrap(), &["x"]).ends(0);
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
