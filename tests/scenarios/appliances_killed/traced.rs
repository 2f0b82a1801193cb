//! Warded under strace(1) inside of an appliance's namespaces, which may kill it.

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

/// Where files lie that count; others are a probe's.
const OWN: [&str; 4] = ["/var/lib/warded/", "/etc/", "/root/", "/data/"];

/// How a traced run ended.
pub(super) struct Traced {
    pub(super) run: Run,
    /// The calls that were traced; the last one is the one that it was killed before.
    pub(super) seen: Vec<TracedPoint>,
    /// Their lines.
    pub(super) trace: String,
}

impl Traced {
    pub(super) fn was_killed(&self) -> bool {
        self.run.code.is_none_or(|code| code > 128)
    }
}

/// strace(1) of this machine's, with its libraries, where the appliance sees it.
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

/// Runs it, with these options for strace: words of sh(1), in which `$$` is the run's process id. Without `alive`, the
/// watchdog that it starts is killed as soon as it is at work.
pub(super) fn run(appliance: &Appliance, words: &[&str], options: &str, alive: bool) -> Traced {
    let directory = directory(appliance);
    let (at, file) = (directory.display(), appliance.shared().join("trace"));
    // As a grandchild: then the traced program has the number of the shell.
    let script = format!(
        "exec {at}/ld-linux-* --library-path {at} {at}/strace -D -y -s 4096 -e signal=none -o {} {options} \
         /usr/bin/warded \"$@\"",
        file.display(),
    );
    let mut command = appliance.command("sh");
    command.env("WARDED_CA", "/root/ca").args(["-c", &script, "sh"]).args(words);
    // One of an earlier run has a last line, too.
    fs::write(&file, "").unwrap();
    let over = AtomicBool::new(false);
    let run = thread::scope(|scope| {
        let _killer = (!alive).then(|| scope.spawn(|| kill_watchdog(appliance, &over)));
        let run = Run::of(&mut command);
        over.store(true, Ordering::Relaxed);
        run
    });
    // The tracer, which is nobody's child, has a last line to write: the exit, or the call that never was.
    let patience = Instant::now() + Duration::from_secs(5);
    let mut trace = String::new();
    while !["= ?", "+++", "???("].iter().any(|end| trace.trim_end().ends_with(end)) && Instant::now() < patience {
        sleep(Duration::from_millis(1));
        trace = fs::read_to_string(&file).unwrap_or_default();
    }
    let seen = point::read(&trace, |path| OWN.iter().any(|own| path.starts_with(own)));
    Traced { run, seen, trace }
}

/// Kills the watchdog of the run that is on its way: it is at work when it has a second thread.
fn kill_watchdog(appliance: &Appliance, over: &AtomicBool) {
    let threads = |pid: i32| fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    loop {
        // Looked at first: one that was there before the run was over is found after it, too.
        let is_over = over.load(Ordering::Relaxed);
        let watchdogs = appliance.processes().into_iter().filter(|(_, line)| line.contains("\0watchdog\0"));
        let mut at_work = watchdogs.map(|(pid, _)| pid).filter(|pid| is_over || threads(*pid) > 1);
        if let Some(pid) = at_work.next() {
            // It may have ended by itself.
            let _gone = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
            return;
        }
        if is_over {
            return;
        }
        sleep(Duration::from_millis(5));
    }
}
