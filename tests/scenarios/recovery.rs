//! Nobody needs to be present: whatever happens to a run, its terminal or its watchdog, the machine is either as it was
//! or as it was meant to be, and sshd serves.

mod announcement;
mod beside;
mod confirm;
mod edited;
mod elsewhere;
pub(super) mod kill_points;
mod named;
mod question;
pub(super) mod reported;
mod start_scripts;
mod unattended;

use crate::support::{
    ClientKnowledge, Machine, Run,
    machine::NAME,
    missing,
    wait::{LONG, wait},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

/// What the tests compare of a machine: the owners, modes and contents of sshd's files, and whether it is enrolled.
type MachineView = (BTreeMap<PathBuf, (u32, u32, u32)>, BTreeMap<PathBuf, Vec<u8>>, bool);

/// Everything but the bytes of certificates, which differ each time.
fn seen(machine: &Machine) -> MachineView {
    let tree = machine.tree();
    let is_certificate = |path: &PathBuf| path.to_string_lossy().ends_with("-cert.pub");
    let modes = tree.iter().map(|(path, (mode, user, group, _))| (path.clone(), (*mode, *user, *group))).collect();
    let bytes =
        tree.into_iter().filter(|(path, _)| !is_certificate(path)).map(|(path, found)| (path, found.3)).collect();
    (modes, bytes, machine.path("state/enrolment.json").exists())
}

/// `warded apply certify-host`, with these options.
fn certify(machine: &Machine, options: &[&str]) -> Command {
    let name = format!("principal={NAME}");
    let mut command = machine.warded_command(["apply", "certify-host", "--set", &name, "--yes"]);
    command.args(options);
    command
}

/// The newest run's journal, if there is one and it can be read at this moment.
fn journal(machine: &Machine) -> Option<Value> {
    serde_json::from_slice(&fs::read(newest(machine)?.join("journal.json")).ok()?).ok()
}

fn state(machine: &Machine) -> String {
    let word = newest(machine).and_then(|run| fs::read_link(run.join("journal.state")).ok());
    word.map_or_else(String::new, |word| word.to_str().unwrap().to_owned())
}

/// The newest run's directory.
fn newest(machine: &Machine) -> Option<PathBuf> {
    let runs = fs::read_dir(machine.path("state/runs")).ok()?;
    let newest = runs.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok()).max()?;
    Some(machine.path(&format!("state/runs/{newest}")))
}

/// The process ids of the watchdogs of this machine's runs.
fn watchdogs(machine: &Machine) -> Vec<i32> {
    let state = machine.path("state").to_str().unwrap().to_owned();
    let is_one = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let words: Vec<&str> = line.split('\0').collect();
        words.contains(&"watchdog") && words.contains(&state.as_str())
    };
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(is_one).collect()
}

fn send(pid: i32, signal: Signal) {
    // It may have exited by itself.
    let _gone = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

/// Makes a change that is not confirmed, and kills its watchdog, as a power cut would.
fn apply_unconfirmed(machine: &Machine) {
    Run::of(&mut certify(machine, &["--confirm-within", "10m"])).ends(0);
    watchdogs(machine).into_iter().for_each(|pid| send(pid, Signal::KILL));
    wait("the watchdog ends", LONG, || watchdogs(machine).is_empty());
}

/// Checks that a client that knows a plain host key can connect.
#[track_caller]
fn serves(machine: &Machine) {
    machine.client(&ClientKnowledge::Keys(machine.host_key("ed25519"))).connects();
}

/// `warded recover --json`.
#[track_caller]
fn recover(machine: &Machine, code: i32) -> Value {
    machine.warded(["recover", "--json"]).ends(code).object("warded.recover/1")
}

/// The details of the records of this kind, oldest first.
fn details(machine: &Machine, kind: &str) -> Vec<String> {
    let of_kind = machine.audit().into_iter().filter(|record| record["kind"] == kind);
    of_kind.filter_map(|record| Some(record["detail"].as_str()?.to_owned())).collect()
}

/// Runs a command whose exit code does not matter.
fn ends_somehow(command: &mut Command) -> Run {
    Run::of(command)
}
