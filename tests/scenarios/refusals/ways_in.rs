//! Warded takes away a way to log in without a certificate only if the operator accepts that risk by its name. The
//! login that proves a change uses a key file of its own, so it would not notice.

use super::{drop_in, serves, write};
use crate::support::{Grants, Machine, Run, Setup, missing, wait};
use std::{fmt::Write as _, fs};

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
    // The same keys in another file are the same way to log in.
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
    // The undo opens a way to log in again, so there is no risk to accept.
    machine.warded(["undo", "--yes"]).ends(0);
    serves(&machine);
}

/// An undo that would take a way away is refused like any other change.
#[test]
fn an_undo_is_a_change_like_any_other() {
    let machine = Machine::start();
    drop_in(&machine, GRANTED, &["PasswordAuthentication yes"]).ends(0);
    machine.warded(["undo", "--yes"]).ends(5).says(&["a password", "--accept-risk=lose-ssh"]);
    machine.warded(["undo", "--yes", "--accept-risk=lose-ssh"]).ends(0);
}

/// The proof of an undo names the people about whom it proves nothing.
#[test]
fn an_undo_names_whom_it_proved_nothing_for() {
    let machine = Machine::with(&Setup { lines: "PubkeyAuthentication no\n".to_owned(), ..Setup::default() });
    drop_in(&machine, GRANTED, &["PubkeyAuthentication yes"]).ends(0);
    let accepted = ": accepted by --accept-risk=lose-ssh";
    let plan = machine.warded(["undo", "--plan", "--accept-risk=lose-ssh"]).ends(3);
    assert!(plan.stdout.contains("Would not be proved: ") && plan.stdout.contains(accepted), "{}", plan.stdout);
    let undone = machine.warded(["undo", "--yes", "--json", "--accept-risk=lose-ssh"]).ends(0).object("warded.undo/1");
    let not_proved = undone["not_proved"].as_array().unwrap();
    assert!(not_proved.iter().any(|what| what.as_str().unwrap().contains(accepted)), "{undone}");
}

/// A process that looks in `/proc` like sshd's for a connection of the user `games`.
fn games_logs_in(machine: &Machine) -> std::process::Child {
    let prepare = "mkdir /run/bin; cp /bin/sleep /run/bin/sshd";
    Run::of(machine.command("sh").args(["-ec", prepare])).ends(0);
    let mut login = machine.command("setpriv");
    login.args(["--reuid=games", "--regid=games", "--clear-groups", "/run/bin/sshd", "600"]);
    let login = login.spawn().unwrap();
    let is_there = || machine.command("pgrep").args(["-u", "games", "-x", "sshd"]).output().unwrap().status.success();
    wait::wait("the connection is there", wait::LONG, is_there);
    login
}

#[test]
fn users_who_are_logged_in_are_asked_about_and_those_who_are_not_are_told() {
    if missing::root() {
        return;
    }
    let machine = Machine::start();
    let mut login = games_logs_in(&machine);
    let mut passwd = fs::read_to_string("/etc/passwd").unwrap();
    let known = passwd.lines().count();
    for number in 0..1500 {
        writeln!(passwd, "u{number}:x:{}:65534::/nonexistent:/bin/sh", 70_000 + number).unwrap();
    }
    let path = machine.path("passwd");
    fs::write(&path, passwd).unwrap();
    Run::of(machine.command("mount").args(["--bind", path.to_str().unwrap(), "/etc/passwd"])).ends(0);

    let told = format!("{} users beyond the first 1000 of /etc/passwd: compared by the lines", known + 500);
    let run = drop_in(&machine, r#"["MaxAuthTries"]"#, &["MaxAuthTries 5"]).ends(0);
    for words in ["games, root can log in", &format!("Not proved: {told}")] {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
    let drop_in_path = machine.path("ssh/sshd_config.d/60-test.conf");
    let mut plan =
        machine.warded_command(["plan", "write-file", "--policy", "writer", "--json", "--set", "reload=yes"]);
    plan.args(["--set", "text=MaxAuthTries 4", "--set", &format!("path={}", drop_in_path.display())]);
    let object = Run::of(&mut plan).ends(3).object("warded.plan/1");
    assert!(object["not_proved"][0].as_str().is_some_and(|what| what.starts_with(&told)), "{object}");

    // A file that belongs to one user is checked, wherever that user stands in passwd(5).
    let keys = machine.path("keys");
    fs::create_dir(&keys).unwrap();
    let line = format!("AuthorizedKeysFile {} {}/%u", machine.path("authorized_keys").display(), keys.display());
    drop_in(&machine, r#"["MaxAuthTries", "AuthorizedKeysFile"]"#, &["MaxAuthTries 5", &line]).ends(0);
    let file = keys.join("u1400");
    let grant = format!("files.write = [{:?}]", file.display().to_string());
    let run = write(&machine, &[&grant], file.to_str().unwrap(), &[machine.host_key("ed25519").trim()]);
    run.ends(5).says(&["a way to log in would be new", "u1400: a key in"]);
    login.kill().unwrap();
    login.wait().unwrap();
}
