//! A user of the machine starts a process with the name and command line of its sshd. Warded as root neither runs that
//! program nor takes the process for the listener.

use crate::support::{
    ClientKnowledge, Machine, Run, missing,
    wait::{LONG, wait},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Stdio},
};

/// Starts a process of the user `nobody` that is called sshd and has this machine's configuration on its command line.
/// The file that `/proc/PID/exe` names has meanwhile been replaced with one that writes the `marker`.
fn pretend(machine: &Machine, marker: &Path) -> Option<Child> {
    if missing::root() {
        return None;
    }
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let theirs = machine.path("theirs");
    fs::create_dir(&theirs).unwrap();
    open(&theirs, 0o777);
    open(&machine.path(""), 0o755);
    let program = theirs.join("sshd");
    // tail(1) accepts `-f FILE` and keeps running.
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    Run::of(machine.command("setpriv").args(user).args(["cp", "/usr/bin/tail"]).arg(&program)).ends(0);
    let child = machine
        .command("setpriv")
        .args(user)
        .arg(&program)
        .arg("-f")
        .arg(machine.config())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let found = || Run::of(machine.command("pgrep").args(["-u", "65534", "-x", "sshd"])).stdout;
    wait("the process starts", LONG, || found().ends_with('\n'));
    fs::remove_file(&program).unwrap();
    let deleted = theirs.join("sshd (deleted)");
    fs::write(&deleted, format!("#!/bin/sh\nid -u >>{}\nexec /usr/sbin/sshd \"$@\"\n", marker.display())).unwrap();
    std::os::unix::fs::chown(&deleted, Some(65534), Some(65534)).unwrap();
    open(&deleted, 0o755);
    Some(child)
}

#[test]
fn its_program_is_not_run_by_root() {
    let machine = Machine::stopped();
    let marker = machine.path("marker");
    let Some(mut process) = pretend(&machine, &marker) else { return };
    let unused = || assert!(!marker.exists(), "run as user {}", fs::read_to_string(&marker).unwrap());
    machine.warded(["status"]);
    unused();
    machine.certify();
    unused();
    drop(machine);
    process.wait().unwrap();
}

/// Somebody tells root to use a program which its owner, or the owner of a directory on the path, can replace.
#[test]
fn a_program_that_is_theirs_is_not_run_because_it_is_named() {
    if missing::root() {
        return;
    }
    let machine = Machine::start();
    let (theirs, marker) = (machine.path("theirs"), machine.path("marker"));
    fs::create_dir(&theirs).unwrap();
    let program = theirs.join("sshd");
    fs::write(&program, format!("#!/bin/sh\ntouch {}\nexec /usr/sbin/sshd \"$@\"\n", marker.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let link = machine.path("link");
    std::os::unix::fs::symlink(&program, &link).unwrap();
    let own = |path: &Path, user| std::os::unix::fs::chown(path, Some(user), None).unwrap();
    let before = machine.tree();
    for changed in [&program, &theirs] {
        own(changed, 65534);
        for named in [&program, &link] {
            for words in [
                &["status"][..],
                &["plan", "certify-host", "--set", "principal=a.example.org"],
                &["apply", "certify-host", "--yes", "--set", "principal=a.example.org"],
            ] {
                let mut command = machine.warded_command([]);
                let run = Run::of(command.args(words).env("WARDED_SSHD", named));
                run.ends(5).says(&["is not safe to run as sshd", "belongs to another user"]);
            }
        }
        own(changed, 0);
    }
    assert!(before == machine.tree() && !marker.exists());
    Run::of(machine.warded_command(["status"]).env("WARDED_SSHD", &link)).ends(0);
    assert!(marker.exists());
}

#[test]
fn it_is_not_taken_for_the_listener() {
    let mut machine = Machine::stopped();
    let Some(mut process) = pretend(&machine, &machine.path("marker")) else { return };
    machine.serve();
    // Without the file of the process id, the oldest process would be taken: the other user's, if it counted.
    fs::remove_file(machine.path("sshd.pid")).unwrap();
    machine.certify();
    machine.client(&ClientKnowledge::Authority(machine.authority())).connects();
    drop(machine);
    process.wait().unwrap();
}
