//! Machines on which an earlier version of Warded has worked: the tests run that very program, and do not imitate its
//! records.

use crate::support::{
    ClientKnowledge, Machine, Run, earlier,
    machine::NAME,
    missing,
    wait::{LONG, wait},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn certify(machine: &Machine, program: &Path, options: &[&str]) -> Command {
    let name = format!("principal={NAME}");
    let mut command = earlier::command(machine, program, &["apply", "certify-host", "--set", &name, "--yes"]);
    command.args(options);
    command
}

#[test]
fn what_it_certified_is_renewed_told_and_undone() {
    let Some(program) = earlier::program() else { return };
    let machine = Machine::start();
    let before = machine.tree();
    Run::of(&mut certify(&machine, program, &[])).ends(0);
    let enrolled = machine.tree();
    machine.warded(["renew"]).ends(0);
    assert_eq!(machine.tree(), enrolled, "nothing is due");

    machine.warded(["renew", "--force"]).ends(0);
    assert_ne!(machine.tree(), enrolled);
    machine.serves_certificates();
    let started: BTreeSet<_> = machine
        .audit()
        .into_iter()
        .filter(|record| record["kind"] == "started")
        .map(|record| record["component"].to_string())
        .collect();
    assert_eq!(started.len(), 2, "each program has run its own component: {started:?}");
    let history = machine.warded(["history", "--json"]).ends(0).object("warded.history/1");
    assert_eq!(history["runs"].as_array().unwrap().len(), 2, "{history}");

    machine.warded(["undo", "--yes"]).ends(0);
    assert_eq!(machine.tree(), before);
}

#[test]
fn what_it_certified_is_removed() {
    let Some(program) = earlier::program() else { return };
    let machine = Machine::start();
    let before = machine.tree();
    Run::of(&mut certify(&machine, program, &[])).ends(0);
    machine.warded(["renew", "--force"]).ends(0);
    machine.warded(["remove", "--yes"]).ends(0);
    assert_eq!(machine.tree(), before);
}

/// The processes of an earlier Warded on this machine.
fn processes(machine: &Machine, program: &Path) -> Vec<Pid> {
    let state = machine.path("state").display().to_string();
    let is_one = |pid: &i32| {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        // The run has the machine's state directory in its environment, and the watchdog has it among its arguments.
        let texts = ["environ", "cmdline"].map(|name| fs::read(directory.join(name)).unwrap_or_default());
        fs::read_link(directory.join("exe")).is_ok_and(|exe| exe == program)
            && texts.iter().any(|text| String::from_utf8_lossy(text).contains(&state))
    };
    let entries = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    entries.filter(is_one).filter_map(Pid::from_raw).collect()
}

#[test]
fn a_run_of_it_that_was_killed_is_rolled_back() {
    let Some(program) = earlier::program() else { return };
    if missing::strace() {
        return;
    }
    let machine = Machine::start();
    let before = machine.tree();
    let certificate = machine.path("ssh/ssh_host_rsa_key-cert.pub");
    let mut run = machine.command("strace");
    // Each rename is delayed, so that there is time between two files.
    run.args(["-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", "inject=renameat2:delay_enter=4000000"]);
    run.arg(program).args(["apply", "certify-host", "--yes", "--set"]).arg(format!("principal={NAME}"));
    let mut run = machine.environment(&mut run).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait("the first file is in place", LONG, || certificate.exists());
    for pid in processes(&machine, program) {
        kill_process(pid, Signal::KILL).unwrap();
    }
    run.wait().unwrap();
    wait("it and its watchdog end", LONG, || processes(&machine, program).is_empty());
    assert_ne!(machine.tree(), before);

    let recovered = machine.warded(["recover", "--json"]).ends(0).object("warded.recover/1");
    assert_eq!(recovered["runs"].as_array().unwrap().len(), 1, "{recovered}");
    assert_eq!(machine.tree(), before);
    machine.certify();
    machine.serves_certificates();
}

#[test]
fn a_change_of_it_is_confirmed_by_this_one() {
    let Some(program) = earlier::program() else { return };
    let machine = Machine::start();
    Run::of(&mut certify(&machine, program, &["--confirm-within", "10m"])).ends(0);
    let changed = machine.tree();
    let client = machine.client(&ClientKnowledge::Keys(machine.host_key("ed25519")));
    let said = Run::of(&mut client.command(&machine.warded_line("confirm"))).ends(0).stdout;
    assert!(said.contains("Confirmed run 1"), "{said}");
    wait("the earlier watchdog lets go", LONG, || processes(&machine, program).is_empty());
    assert_eq!(machine.tree(), changed);
    machine.warded(["renew", "--force"]).ends(0);
    machine.serves_certificates();
}

/// After a downgrade sshd serves what it served before, and the earlier version says what it cannot do.
#[test]
fn it_leaves_what_this_one_recorded() {
    let Some(program) = earlier::program() else { return };
    let machine = Machine::start();
    machine.certify();
    let certified = machine.tree();
    let undo = Run::of(&mut earlier::command(&machine, program, &["undo", "--yes"]));
    undo.ends(1).says(&["if another version of Warded wrote it, use that one", "nothing was changed"]);
    let renew = Run::of(&mut earlier::command(&machine, program, &["renew", "--force"]));
    renew.ends(5).says(&["enrolled with another component", "nothing was changed"]);
    assert_eq!(machine.tree(), certified);
    machine.serves_certificates();
    machine.warded(["renew", "--force"]).ends(0);
}
