//! If the configuration changes, Warded also asks the machine's own `ssh`, and otherwise it does not.

use crate::support::{Machine, Run, counts, machine::NAME};
use std::{fs, os::unix::fs::PermissionsExt as _};

const CLIENT: &str = "/usr/bin/ssh";

/// Replaces the machine's client with one of this release that accepts no host key.
fn refuses(machine: &Machine, release: &str) {
    let program = machine.path("refuses");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = -V ] && {{ echo '{release}, OpenSSL 3.0.17' >&2; exit; }}\n\
         echo 'Host key verification failed.' >&2\nexit 255\n"
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Run::of(machine.command("mount").arg("--bind").arg(&program).arg(CLIENT)).ends(0);
}

#[test]
fn it_is_asked_at_the_first_certificates_and_not_by_a_renewal() {
    let machine = Machine::start();
    let asked = |arguments: &[&str]| {
        let (run, counts) = counts::warded(&machine, arguments);
        run.ends(0);
        let is_client = |line: &&String| line.split(' ').next() == Some(CLIENT);
        counts.programs.iter().filter(is_client).filter(|line| !line.contains(" -V")).count()
    };
    let principal = format!("principal={NAME}");
    assert_eq!(asked(&["apply", "certify-host", "--set", &principal, "--yes"]), 3, "a certificate of each key");
    assert_eq!(asked(&["renew", "--force"]), 0);
}

#[test]
fn a_client_that_takes_no_host_key_has_the_run_refused() {
    let machine = Machine::start();
    let before = machine.tree();
    refuses(&machine, "OpenSSH_9.2p1 Debian-2+deb12u7");
    let principal = format!("principal={NAME}");
    let certify = machine.warded(["apply", "certify-host", "--set", &principal, "--yes"]).ends(5);
    certify.says(&["the `ssh` program of this machine could not connect by the", "Host key verification failed."]);
    assert!(before == machine.tree());
}

/// An old client may not support what this sshd allows. Then the output says what it could not prove.
#[test]
fn an_old_client_that_takes_no_host_key_leaves_that_unproved() {
    let machine = Machine::start();
    refuses(&machine, "OpenSSH_7.4p1");
    let done = machine.certify();
    let not_proved: Vec<&str> = done["not_proved"].as_array().unwrap().iter().filter_map(|one| one.as_str()).collect();
    let of_client = "certificate by the `ssh` program as well, which did not get so far: Host key verification failed.";
    assert_eq!(not_proved.iter().filter(|one| one.contains(of_client)).count(), 3, "{done}");
    // A renewal does not run `ssh`.
    let renewed = machine.warded(["renew", "--force", "--json"]).ends(0).object("warded.renew/1");
    assert_eq!(renewed["not_proved"].as_array().map(Vec::len), Some(0), "{renewed}");
}
