//! What stops a procedure, and leaves everything as it was.

use super::{NEW, SET, cells::get_in_by_the_ca, certify, pinned_get_in, properties};
use crate::support::{
    Run,
    nethserver::{CUSTOM, NethServer, STOCK},
    wait::{LONG, wait},
};
use std::{fs, os::unix::fs::PermissionsExt as _};

/// Checks that certification ends with this code and these words, and changes nothing.
fn stops(machine: &NethServer, code: i32, words: &[&str]) {
    let tree = machine.tree();
    certify(machine).ends(code).says(words);
    assert_eq!(machine.tree(), tree);
}

#[test]
fn a_change_that_nobody_signalled() {
    let Some(machine) = NethServer::start(NEW, properties(false, false)) else { return };
    machine.sets(properties(true, false));
    let words = ["the templates give", "# Require strong encryption", "signal-event nethserver-openssh-save"];
    stops(&machine, 1, &words);
    // Somebody edited the generated file itself.
    machine.sets(properties(false, false));
    let config = machine.file("/etc/ssh/sshd_config");
    let text = machine.configuration();
    fs::write(&config, format!("{text}MaxAuthTries 3\n")).unwrap();
    stops(&machine, 1, &["the templates give nothing more, the file has `MaxAuthTries 3`"]);
    fs::write(&config, text).unwrap();
    certify(&machine).ends(0);
}

/// Every fragment counts, whatever its name. If somebody adds one after the plan, Warded notices it under the lock.
#[test]
fn a_fragment_that_changes_meanwhile() {
    let Some(machine) = NethServer::start(NEW, properties(false, false)) else { return };
    let tool = machine.file("/sbin/e-smith/expand-template");
    let engine = fs::read_to_string(&tool).unwrap();
    let edits = "system('echo >>/run/asked; [ $(wc -l </run/asked) != 1 ] || echo MaxAuthTries 3 >'.'/etc/e-smith/templates/etc/ssh/sshd_config/40Theirs');\n";
    fs::write(&tool, engine.replacen("use strict;\n", &format!("use strict;\n{edits}"), 1)).unwrap();
    certify(&machine).ends(5).says(&["expand-sshd-config gives another answer", "nothing was changed"]);
    assert!(!machine.file(CUSTOM).exists());
}

/// The engine leaves a copy out whose name ends in `~`, and expands one whose name ends in `.bak`.
#[test]
fn a_copy_of_our_fragment() {
    let Some(machine) = NethServer::start(NEW, properties(false, false)) else { return };
    certify(&machine).ends(0);
    let certified = machine.configuration();
    let ours = fs::read_to_string(machine.file(CUSTOM).join("80Certificates")).unwrap();
    machine.custom("80Certificates~", &ours);
    assert_eq!(machine.product(), certified);
    certify(&machine).ends(0).prints(&["Nothing to do"]);
    machine.custom("80Certificates.bak", &ours);
    assert_eq!(machine.product(), format!("{certified}{ours}"));
    let broken = ["broken-block", "or occurs twice", "nothing was changed"];
    stops(&machine, 1, &broken);
    machine.saves();
    stops(&machine, 1, &broken);
    pinned_get_in(&machine, &["rsa", "ecdsa", "ed25519"]);
    machine.warded(&["renew", "--force"]).ends(0);
    get_in_by_the_ca(&machine);
    // Without that copy everything is as before.
    fs::remove_file(machine.file(CUSTOM).join("80Certificates.bak")).unwrap();
    machine.saves();
    assert_eq!(machine.configuration(), certified);
    certify(&machine).ends(0).prints(&["Nothing to do"]);
}

/// The run is killed under the lock, when the new files and the fragment's directories exist. Its watchdog rolls them
/// back.
#[test]
fn a_run_that_is_killed_while_the_engine_is_asked_again() {
    let Some(machine) = NethServer::start(NEW, properties(false, false)) else { return };
    let before = machine.tree();
    let tool = machine.file("/sbin/e-smith/expand-template");
    let engine = fs::read_to_string(&tool).unwrap();
    let kills = "open my $asked, '>>', '/run/asked'; print $asked 'x'; close $asked;\n\
                 if (-s '/run/asked' == 2) { mkdir '/run/seen' if -d '/etc/e-smith/templates-custom'; kill 'KILL', getppid }\n";
    fs::write(&tool, engine.replacen("use strict;\n", &format!("use strict;\n{kills}"), 1)).unwrap();
    assert!(certify(&machine).code.is_none_or(|code| code > 128));
    assert!(machine.file("/run/seen").exists(), "no directory had been made");
    fs::write(&tool, engine).unwrap();
    wait("it is rolled back", LONG, || machine.tree() == before);
    machine.warded(&["recover"]).ends(0);
    assert_eq!(machine.tree(), before);
    certify(&machine).ends(0);
}

#[test]
fn fragments_that_others_could_have_written() {
    let Some(machine) = NethServer::start(NEW, properties(false, false)) else { return };
    let fragment = machine.file(STOCK).join("10Port");
    fs::set_permissions(&fragment, fs::Permissions::from_mode(0o666)).unwrap();
    stops(&machine, 1, &["10Port", "can write it"]);
    fs::set_permissions(&fragment, fs::Permissions::from_mode(0o644)).unwrap();
    let tool = machine.file("/sbin/e-smith/expand-template");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o777)).unwrap();
    stops(&machine, 1, &["expand-template", "can write it"]);
    fs::rename(&tool, machine.file("/sbin/e-smith/other")).unwrap();
    certify(&machine).ends(2).says(&["no policy is meant for this machine", "warded policy list"]);
    let tree = machine.tree();
    let anyway = ["apply", "certify-host", "--set", SET, "--yes", "--policy", "nethserver"];
    machine.warded(&anyway).ends(1).says(&["there is no /sbin/e-smith/expand-template", "nothing was changed"]);
    assert_eq!(machine.tree(), tree);
    fs::rename(machine.file("/sbin/e-smith/other"), &tool).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    certify(&machine).ends(0);
}

/// A fragment with the name of Warded's contains a program. What Warded writes there has no braces.
#[test]
fn a_fragment_of_that_name_with_a_program() {
    let Some(machine) = NethServer::start(NEW, properties(false, false)) else { return };
    machine.custom("80Certificates", "# {$OUT = 'mine'}\n");
    machine.saves();
    stops(&machine, 1, &["80Certificates", "which the grant forbids"]);
}

#[test]
fn an_engine_that_fails_or_talks() {
    let Some(machine) = NethServer::start(NEW, properties(false, false)) else { return };
    let tool = machine.file("/sbin/e-smith/expand-template");
    for (script, words) in [
        ("exit 3", "ended with status 3"),
        ("exit 0", "left no answer"),
        ("for a; do case $a in --output*) head -c 2000000 /dev/zero >${a#*=} ;; esac; done", "more than 1 MiB"),
        ("for a; do case $a in --output*) ln -s /etc/shadow ${a#*=} ;; esac; done", "left no answer"),
        ("kill -9 $$", "was ended by a signal"),
    ] {
        fs::write(&tool, format!("#!/bin/sh\n{script}\n")).unwrap();
        stops(&machine, 1, &[words]);
    }
}

/// The policy does not cover another sshd's configuration.
#[test]
fn another_main_file() {
    let Some(machine) = NethServer::start(NEW, properties(false, false)) else { return };
    fs::copy(machine.file("/etc/ssh/sshd_config"), machine.file("/etc/ssh/other_config")).unwrap();
    let mut command = machine.warded_command(&["plan", "certify-host", "--set", SET]);
    Run::of(command.env("WARDED_SSHD_CONFIG", "/etc/ssh/other_config")).ends(1).says(&["templates generate"]);
}
