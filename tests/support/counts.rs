//! Counts how many programs Warded starts and how often it waits for the disk, in an strace log.

use super::{Machine, Peer, Run};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

const OWN: &str = env!("CARGO_BIN_EXE_warded");

/// The counts of one run.
#[derive(Debug)]
pub(crate) struct Counts {
    /// The programs that Warded itself started, with their arguments. Programs that sshd starts for a connection are
    /// not counted.
    pub(crate) programs: Vec<String>,
    /// How often Warded started itself as the compiler of a component.
    pub(crate) compilers: usize,
    /// The paths that Warded passed to fsync(2) and fdatasync(2).
    pub(crate) syncs: Vec<String>,
}

/// Runs Warded on a machine, and counts.
pub(crate) fn warded(machine: &Machine, arguments: &[&str]) -> (Run, Counts) {
    let mut strace = machine.command("strace");
    machine.environment(&mut strace);
    by(strace, &machine.path("trace"), &[&[OWN], arguments].concat())
}

/// The same on a machine with another version of OpenSSH.
pub(crate) fn on(peer: &Peer, arguments: &[&str]) -> (Run, Counts) {
    const WARDED: &str = "/usr/bin/warded";
    let (tree, trace) = (peer.tree(), peer.shared().join("trace"));
    let mut strace = peer.command_beside("strace");
    strace.env_clear().env("PATH", "/usr/sbin:/usr/bin").env("HOME", "/root").env("WARDED_CA", "/root/ca");
    let words = [&["chroot", tree.to_str().unwrap(), WARDED], arguments].concat();
    let (run, trace) = traced(strace, &trace, &words);
    let mut counts = count(&trace, WARDED);
    // Warded was started through chroot(8), which is not counted.
    counts.programs.remove(0);
    (run, counts)
}

/// The same with strace in an environment of its own, for a command line of Warded. `file` is for the trace.
pub(crate) fn by(command: Command, file: &Path, words: &[&str]) -> (Run, Counts) {
    let (run, trace) = traced(command, file, words);
    (run, count(&trace, words[0]))
}

fn traced(mut command: Command, file: &Path, words: &[&str]) -> (Run, String) {
    command.args(["-f", "-qq", "-y", "-s", "4096", "-e", "signal=none", "-e"]);
    command.arg("trace=execve,execveat,fork,vfork,clone,clone3,fsync,fdatasync,sync,syncfs").arg("-o").arg(file);
    let run = Run::of(command.args(words));
    let trace = fs::read_to_string(file).unwrap();
    fs::remove_file(file).unwrap();
    (run, trace)
}

/// Runs a command, and returns which of its threads made each of its TCP connections, including refused ones. `file` is
/// for the trace.
pub(crate) fn connections(command: &Command, file: &Path) -> (Run, Vec<String>) {
    let (run, trace) = calls(command, "connect", file);
    // Port 53 is a name look-up. Port 0 is a socket without a connection, which tests the route to an address.
    let is_tcp = |line: &&str| line.contains("connect(") && line.contains("sin");
    let is_other = |line: &&str| ["htons(53)", "htons(0)"].iter().any(|port| line.contains(port));
    let thread = |line: &str| line.split(char::is_whitespace).next().unwrap_or_default().to_owned();
    (run, trace.lines().filter(is_tcp).filter(|line| !is_other(line)).map(thread).collect())
}

/// Runs a command, and returns the maximum number of simultaneous connections to port 22 from an address that the
/// command did not choose. `file` is for the trace.
pub(crate) fn at_once(command: &Command, file: &Path) -> (Run, usize) {
    let (run, trace) = calls(command, "bind,connect,close", file);
    let (mut bound, mut open, mut most) = (BTreeSet::new(), BTreeSet::new(), 0);
    for line in trace.lines() {
        // Such as `7 close(9<TCP:[4711]>) = 0`.
        let Some((call, rest)) = line.split_once('(') else { continue };
        let Some(socket) = rest.split_once(":[").and_then(|(_, rest)| Some(rest.split_once("]>")?.0)) else { continue };
        if call.ends_with(" bind") {
            bound.insert(socket);
        } else if call.ends_with(" connect") && rest.contains("htons(22)") && !bound.contains(socket) {
            open.insert(socket);
        } else if call.ends_with(" close") {
            open.remove(socket);
        }
        most = most.max(open.len());
    }
    (run, most)
}

fn calls(command: &Command, names: &str, file: &Path) -> (Run, String) {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-y", "-e", "signal=none", "-e", &format!("trace={names}"), "-o"]).arg(file);
    traced.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    let run = Run::of(&mut traced);
    (run, fs::read_to_string(file).unwrap())
}

fn count(trace: &str, own: &str) -> Counts {
    // The program that each process runs.
    let mut running: BTreeMap<String, String> = BTreeMap::new();
    let mut counts = Counts { programs: Vec::new(), compilers: 0, syncs: Vec::new() };
    let is_warded = |program: &str| [own, "/proc/self/exe"].contains(&program);
    // A child may appear before its parent's call returns: until then it counts as running its parent's program.
    let mut unfinished: Vec<String> = Vec::new();
    for line in trace.lines() {
        let Some((pid, call)) = line.split_once(char::is_whitespace) else { continue };
        let call = call.trim_start();
        if !running.contains_key(pid) {
            let parent = unfinished.last().and_then(|parent| running.get(parent)).cloned();
            running.insert(pid.to_owned(), parent.unwrap_or_else(|| own.to_owned()));
        }
        let name = call.split('(').next().unwrap_or_default();
        let began = call.contains("<unfinished");
        if matches!(name, "fork" | "vfork" | "clone" | "clone3") || call.contains("resumed>") {
            if began {
                unfinished.push(pid.to_owned());
            } else {
                unfinished.retain(|one| one != pid);
                if let Some(child) = call.rsplit_once(" = ").map(|(_, child)| child.trim().to_owned())
                    && child.parse::<u32>().is_ok_and(|child| child > 0)
                    && (name.contains("fork")
                        || name.contains("clone")
                        || call.contains("clone")
                        || call.contains("fork"))
                {
                    let program = running[pid].clone();
                    running.entry(child).or_insert(program);
                }
            }
        }
        let before = running[pid].clone();
        if name.starts_with("exec") && !call.ends_with("= -1 ENOENT (No such file or directory)") {
            let program = call.split('"').nth(1).unwrap_or_default().to_owned();
            if is_warded(&before) && !(counts.programs.is_empty() && program == own) {
                let words = call.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
                counts.programs.push(words.map_or_else(String::new, |(words, _)| words.replace(['"', ','], "")));
                counts.compilers += usize::from(call.contains(", \"compile\"]"));
            }
            running.insert(pid.to_owned(), program);
        }
        // Does not count the second line of an interrupted call, `<... fsync resumed>`.
        if matches!(name, "fsync" | "fdatasync" | "sync" | "syncfs") && is_warded(&before) {
            counts
                .syncs
                .push(call.split('<').nth(1).and_then(|rest| rest.split('>').next()).unwrap_or(name).to_owned());
        }
    }
    counts
}
