//! Runs Warded under strace(1) inside an appliance's namespaces. strace can kill it at a call.

use super::machine::Appliance;
use crate::{
    scenarios::recovery::kill_points::point::{self, TracedPoint},
    support::Run,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, sleep},
    time::{Duration, Instant},
};

/// The directories of the files that count; other calls come from probes.
const OWN: [&str; 4] = ["/var/lib/warded/", "/etc/", "/root/", "/data/"];

/// How a traced run ended.
pub(super) struct Traced {
    pub(super) run: Run,
    /// The traced calls. If the run was killed, the last one is the call before which that happened.
    pub(super) seen: Vec<TracedPoint>,
    /// The trace as text.
    pub(super) trace: String,
}

impl Traced {
    pub(super) fn was_killed(&self) -> bool {
        self.run.code.is_none_or(|code| code > 128)
    }
}

/// Copies this machine's strace(1) and its libraries to where the appliance sees them.
pub(super) fn install(appliance: &Appliance) {
    let directory = directory(appliance);
    fs::create_dir_all(&directory).unwrap();
    let libraries = Run::of(Command::new("sh").args(["-c", "ldd $(command -v strace) | grep -o '/[^ ]*'"])).ends(0);
    let strace = Run::of(Command::new("sh").args(["-c", "command -v strace"])).ends(0);
    for file in libraries.stdout.lines().chain(strace.stdout.lines()) {
        Run::of(Command::new("cp").args(["-L", file]).arg(&directory)).ends(0);
    }
}

fn directory(appliance: &Appliance) -> PathBuf {
    appliance.shared().join("strace")
}

/// Runs Warded under strace with these options: words of sh(1), in which `$$` is the run's process id. Without `alive`,
/// the watchdog that the run starts is killed as soon as it is at work.
pub(super) fn run(appliance: &Appliance, words: &[&str], options: &str, alive: bool) -> Traced {
    let directory = directory(appliance);
    let (at, file) = (directory.display(), appliance.shared().join("trace"));
    // With `-D` strace runs as a grandchild, so that the traced program keeps the shell's process id.
    let script = format!(
        "exec {at}/ld-linux-* --library-path {at} {at}/strace -D -y -s 4096 -e signal=none -o {} {options} \
         /usr/bin/warded \"$@\"",
        file.display(),
    );
    let mut command = appliance.command("sh");
    command.env("WARDED_CA", "/root/ca").args(["-c", &script, "sh"]).args(words);
    // The last line of an earlier trace would be taken for the end of this one.
    fs::write(&file, "").unwrap();
    let over = AtomicBool::new(false);
    let run = thread::scope(|scope| {
        let _killer = (!alive).then(|| scope.spawn(|| kill_watchdog(appliance, &over)));
        let run = Run::of(&mut command);
        over.store(true, Ordering::Relaxed);
        run
    });
    // The tracer is not a child of this process, and still has its last line to write: the exit, or the call that was
    // not made.
    let patience = Instant::now() + Duration::from_secs(5);
    let mut trace = String::new();
    while !["= ?", "+++", "???("].iter().any(|end| trace.trim_end().ends_with(end)) && Instant::now() < patience {
        sleep(Duration::from_millis(1));
        trace = fs::read_to_string(&file).unwrap_or_default();
    }
    let seen = point::read(&trace, |path| OWN.iter().any(|own| path.starts_with(own)));
    Traced { run, seen, trace }
}

/// Kills the watchdog of the current run. A watchdog is at work once it has a second thread.
fn kill_watchdog(appliance: &Appliance, over: &AtomicBool) {
    let threads = |pid: i32| fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    loop {
        // Read this before the list of processes: a watchdog that still exists after the run is then found in the list.
        let is_over = over.load(Ordering::Relaxed);
        let watchdogs = appliance.processes().into_iter().filter(|(_, line)| line.contains("\0watchdog\0"));
        let mut at_work = watchdogs.map(|(pid, _)| pid).filter(|pid| is_over || threads(*pid) > 1);
        if let Some(pid) = at_work.next() {
            // It may have exited by itself.
            let _gone = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
            return;
        }
        if is_over {
            return;
        }
        sleep(Duration::from_millis(5));
    }
}
