//! The terms on which a machine is enrolled. A plan names the terms that it ends, an undo restores the old ones, and a
//! renewal keeps to what was accepted and says why it could not renew.

use crate::support::{Grants, Machine, Run, missing};
use std::{fs, process::Stdio};

fn certify<const N: usize>(machine: &Machine, names: [&str; N]) -> Run {
    let mut command = machine.warded_command(["apply", "certify-host", "--yes"]);
    command.args(names.iter().flat_map(|name| ["--set".to_owned(), format!("principal={name}")]));
    Run::of(&mut command)
}

fn names(machine: &Machine) -> Vec<String> {
    let status = Run::of(&mut machine.warded_command(["status", "--json"])).object("warded.status/1");
    let names = status["enrolled"]["principals"].as_array();
    names.into_iter().flatten().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_ends_is_named_and_an_undo_brings_the_old_terms_back() {
    let machine = Machine::start();
    certify(&machine, ["a.test", "b.test"]).ends(0);
    let plan = machine.warded(["plan", "certify-host", "--set", "principal=a.test"]).ends(3);
    assert!(plan.stdout.contains("no longer holds for b.test"), "{}", plan.stdout);

    certify(&machine, ["a.test"]).ends(0);
    assert_eq!(names(&machine), ["a.test"]);
    machine.warded(["undo", "--yes"]).ends(0);
    assert_eq!(names(&machine), ["a.test", "b.test"]);
    machine.warded(["renew", "--force"]).ends(0);
    machine.warded(["undo", "--yes"]).ends(0);
    machine.warded(["undo", "--yes"]).ends(0);
    assert!(names(&machine).is_empty());
    machine.warded(["renew"]).ends(2).says(&["not enrolled"]);
}

#[test]
fn terms_alone_are_something_to_do() {
    let machine = Machine::start();
    certify(&machine, ["a.test"]).ends(0);
    let set = ["plan", "certify-host", "--set", "principal=a.test", "--json"];
    let plan = machine.warded(set).ends(0).object("warded.plan/1");
    assert!(plan["enrolment"].is_null() && plan["pending"] == false, "{plan}");
    fs::remove_file(machine.path("state/enrolment.json")).unwrap();
    let before = machine.tree();
    let plan = machine.warded(set).ends(3).object("warded.plan/1");
    assert_eq!((&plan["pending"], plan["files"].as_array().unwrap().len()), (&true.into(), 0), "{plan}");
    assert!(plan["enrolment"].as_str().unwrap().starts_with("a.test by the local CA"), "{plan}");
    let words = machine.warded(["plan", "certify-host", "--set", "principal=a.test"]).ends(3).stdout;
    assert!(
        words.contains("> renew from now on: a.test from the local CA")
            && words.contains("would enrol this machine for renewal"),
        "{words}"
    );
    assert!(names(&machine).is_empty(), "a plan enrolled it");
    certify(&machine, ["a.test"]).ends(0);
    assert_eq!((names(&machine), machine.tree()), (vec!["a.test".to_owned()], before));
    machine.warded(set).ends(0);
}

#[test]
fn another_ca_is_not_accepted_unattended_and_named_in_the_plan() {
    let machine = Machine::start();
    certify(&machine, ["a.test"]).ends(0);
    let other = machine.path("other");
    let other = other.to_str().unwrap();
    machine.warded(["ca", "init", other]).ends(0);
    let before = machine.tree();
    machine.warded(["renew", "--force", "--ca", other]).ends(5).says(&["another CA", "certify-host"]);
    assert_eq!(machine.tree(), before);
    let plan = machine.warded(["plan", "certify-host", "--set", "principal=a.test", "--ca", other]).ends(3);
    assert!(plan.stdout.contains("signed by another CA"), "{}", plan.stdout);
    machine.warded(["apply", "certify-host", "--set", "principal=a.test", "--ca", other, "--yes"]).ends(0);
    machine.warded(["renew", "--force", "--ca", other]).ends(0);
}

#[test]
fn a_renewal_that_could_not_renew_says_so_by_its_exit_code() {
    let machine = Machine::start();
    certify(&machine, ["a.test"]).ends(0);
    fs::write(machine.path("ssh/ssh_host_rsa_key-cert.pub"), "no certificate\n").unwrap();
    let run = machine.warded(["renew"]).ends(4);
    assert!(run.stdout.contains("Nothing was renewed."), "{}", run.stdout);
    // The others are renewed nevertheless, with a message about the one that could not be.
    let run = machine.warded(["renew", "--force"]).ends(4);
    assert!(run.stdout.contains("Certified 2 keys"), "{}", run.stdout);
}

#[test]
fn a_ca_that_is_not_there_has_its_own_exit_code() {
    let machine = Machine::stopped();
    let run = machine.warded(["plan", "certify-host", "--set", "principal=a.test", "--ca", "/nonexistent"]);
    run.ends(6).says(&["cannot be reached", "next:", "nothing was changed"]);
}

#[test]
fn a_reader_that_goes_away_changes_nothing_of_the_end() {
    let machine = Machine::start();
    for (arguments, code) in [
        (["plan", "--set", "principal=web1.example.org", "certify-host"].as_slice(), 3),
        (&["apply", "--yes", "--set", "principal=web1.example.org", "certify-host"], 0),
    ] {
        let mut command = machine.warded_command([]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{arguments:?}");
    }
    machine.serves_certificates();
}

#[test]
fn configuration_that_others_can_write_is_not_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let machine = Machine::stopped();
    fs::set_permissions(machine.path("config.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    machine.warded(["status"]).ends(5).says(&["written by another user", "chmod go-w"]);
}

/// A file of root's in a directory whose owner can replace it.
#[test]
fn what_lies_in_somebody_elses_directory_is_not_read() {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
    if missing::root() {
        return;
    }
    let machine = Machine::stopped();
    let at = |name: &str| machine.path(name);
    for directory in ["way/policies", "way/step/config"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    fs::write(at("way/config.toml"), "").unwrap();
    Grants::of(&[]).write_demo(&at("way/policies"));
    let defaults = format!("{{\"ca-url\": \"ca.test\", \"fingerprint\": \"{}\"}}", "00".repeat(32));
    fs::write(at("way/step/config/defaults.json"), defaults).unwrap();
    symlink("way", at("link")).unwrap();
    let warded = |way: &str, variable: &str, file: &str, arguments: &[&str]| {
        let mut command = machine.warded_command([]);
        command.env_remove("WARDED_CA").env("STEPPATH", "/nonexistent").env(variable, at(way).join(file));
        Run::of(command.args(arguments))
    };
    let all = |end: &dyn Fn(&str, Run, i32)| {
        for way in ["way", "link"] {
            end("config.toml", warded(way, "WARDED_CONFIG", "config.toml", &["policy", "list"]), 0);
            end("writer.toml", warded(way, "WARDED_POLICIES", "policies", &["policy", "list"]), 0);
            // The root's file is missing, so this CA is not trusted.
            end("defaults.json", warded(way, "STEPPATH", "step", &["ca", "roots"]), 2);
        }
    };
    let refused = |why: &'static str| {
        move |file: &str, run: Run, _: i32| {
            // For the CA's settings the exit code is that of a wrong argument.
            run.ends(if file == "defaults.json" { 2 } else { 5 }).says(&[
                file,
                "could have been written by another user",
                why,
                "next:",
            ]);
        }
    };
    let used = |_: &str, run: Run, code: i32| drop(run.ends(code));
    all(&used);
    chown(at("way"), Some(65534), Some(65534)).unwrap();
    all(&refused("this directory belongs to another user"));
    chown(at("way"), Some(0), Some(0)).unwrap();
    for (mode, end) in [(0o757, false), (0o1777, true)] {
        fs::set_permissions(at("way"), fs::Permissions::from_mode(mode)).unwrap();
        if end { all(&used) } else { all(&refused("others can write this directory")) }
    }
    fs::set_permissions(at("way"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::lchown(at("link"), Some(65534), None).unwrap();
    let run = warded("link", "WARDED_CONFIG", "config.toml", &["policy", "list"]);
    refused("this link belongs to another user")("config.toml", run, 0);
}
