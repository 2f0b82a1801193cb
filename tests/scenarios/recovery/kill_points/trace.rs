//! Runs Warded under strace(1), which can kill it at a call.

use super::{point::TracedPoint, *};
use std::{
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// How a traced run ended.
pub(super) struct TraceResult {
    pub(super) code: Option<i32>,
    pub(super) said: String,
    pub(super) was_killed: bool,
    /// Whether a watchdog had begun its work, and was killed.
    pub(super) watchdog_was_killed: bool,
    /// The traced calls. If the run was killed, the last one is the call before which that happened.
    pub(super) seen: Vec<TracedPoint>,
    pub(super) trace: String,
}

/// Runs the work under strace with these options: words of sh(1), in which `$$` is the run's process id. With `alive`,
/// the watchdog that it starts or finds stays alive.
pub(super) fn run(machine: &Machine, work: Work, options: &str, alive: bool) -> TraceResult {
    if alive && work.finds_watchdog() {
        work::watch_beside(machine);
    }
    let (file, input) = (machine.path("trace"), machine.path("input"));
    fs::write(&input, work.input()).unwrap();
    let mut command = machine.command("sh");
    // With `-D` strace runs as a grandchild, so that the traced program keeps the shell's process id.
    let script = format!(
        "exec strace -D -y -s 64 -e signal=none -o {} {options} {} \"$@\" <{}",
        file.display(),
        env!("CARGO_BIN_EXE_warded"),
        input.display()
    );
    command.args(["-c", &script, "sh"]).args(work.arguments(machine));
    machine.environment(&mut command).stdout(Stdio::null());
    // The last line of an earlier trace would be taken for the end of this one.
    fs::write(&file, "").unwrap();
    let over = AtomicBool::new(false);
    let (run, watchdog_was_killed) = thread::scope(|scope| {
        let killer = (!alive).then(|| scope.spawn(|| kill_watchdog(machine, &over)));
        let run = ends_somehow(&mut command);
        over.store(true, Ordering::Relaxed);
        (run, killer.is_some_and(|killer| killer.join().unwrap()))
    });
    let mut trace = String::new();
    let was_killed = run.code.is_none();
    // The tracer is not a child of this process, and still has its last line to write: the exit, or the call that was
    // not made. If another thread was in a call at that moment, that line may be missing.
    let ends: &[&str] = if was_killed { &["= ?", "+++", "???("] } else { &["+++"] };
    let patience = Instant::now() + Duration::from_secs(5);
    while !ends.iter().any(|end| trace.trim_end().ends_with(end)) && Instant::now() < patience {
        sleep(Duration::from_millis(1));
        trace = fs::read_to_string(&file).unwrap_or_default();
    }
    let own = machine.path("").to_str().unwrap().to_owned();
    TraceResult {
        code: run.code,
        said: run.stderr,
        was_killed,
        watchdog_was_killed,
        seen: point::read(&trace, |path| path.starts_with(&own)),
        trace,
    }
}

/// Kills the watchdog of the current run as soon as it is at work, which is when it has a second thread. Returns
/// whether there was one.
fn kill_watchdog(machine: &Machine, over: &AtomicBool) -> bool {
    let threads = |pid: &i32| fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    loop {
        // Read this before the list of processes: a watchdog that still exists after the run is then found in the list.
        let is_over = over.load(Ordering::Relaxed);
        if let Some(pid) = watchdogs(machine).into_iter().find(|pid| threads(pid) > 1) {
            send(pid, Signal::KILL);
            return true;
        }
        if is_over {
            watchdogs(machine).into_iter().for_each(|pid| send(pid, Signal::KILL));
            return false;
        }
        sleep(Duration::from_micros(300));
    }
}

impl std::fmt::Debug for TraceResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, said, was_killed, watchdog_was_killed, seen, .. } = self;
        let last = seen.last().map_or_else(String::new, |seen| seen.point.to_string());
        write!(f, "code {code:?}, killed {was_killed}, its watchdog {watchdog_was_killed}, last {last}: {said}")
    }
}
