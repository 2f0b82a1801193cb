//! Stops runs at a moment: the test does something to the run, or beside it, and then lets it continue. If that moment
//! never comes, nothing was tried, and that is an error.

use super::{
    condition::{Moment, Stage},
    subject::{Subject, Task},
};
use crate::support::Run;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const LONG: Duration = Duration::from_secs(60);

/// Starts the task, and does something when the task has reached this stage.
pub(super) fn at(subject: &Subject, task: Task, stage: Stage, act: impl FnOnce()) -> Result<Run, String> {
    match stage {
        Stage::At(moment) => met(subject, task, moment, act),
        Stage::Exchange => stopped(subject, task, act),
        Stage::Live => told(subject, task, act),
    }
}

/// Runs the task with the stand-in for sshd, which waits while `act` runs.
fn met(subject: &Subject, task: Task, moment: Moment, act: impl FnOnce()) -> Result<Run, String> {
    let mut command = subject.peer.warded_command(task.arguments());
    command.arg("--sshd").arg(subject.stand_in());
    meet(subject, command, moment, |_| act())
}

/// The same with another command line, which names the stand-in.
pub(super) fn meet(
    subject: &Subject,
    mut command: Command,
    moment: Moment,
    act: impl FnOnce(&mut Child),
) -> Result<Run, String> {
    subject.arm(moment);
    let mut run = started(&mut command, Duration::from_millis(2), || subject.is_reached())?;
    act(&mut run);
    subject.go();
    Ok(Run::ended(run))
}

/// Stops the run between two files, after its second exchange.
fn stopped(subject: &Subject, task: Task, act: impl FnOnce()) -> Result<Run, String> {
    let trace = subject.peer.shared().join("trace");
    drop(fs::remove_file(&trace));
    let mut command = subject.peer.command_beside("strace");
    command.arg("-o").arg(&trace).args(["-e", "trace=renameat2", "-e", "inject=renameat2:signal=STOP:when=2"]);
    command.arg("/usr/sbin/chroot").arg(subject.peer.tree()).arg("/usr/bin/warded").args(task.arguments());
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin").env("HOME", "/root").env("WARDED_CA", "/root/ca");
    let is_stopped = || fs::read_to_string(&trace).is_ok_and(|trace| trace.contains("stopped by SIGSTOP"));
    let run = started(&mut command, Duration::from_millis(2), is_stopped)?;
    act();
    for (pid, _) in subject.peer.processes() {
        let _gone = kill_process(Pid::from_raw(pid).unwrap(), Signal::CONT);
    }
    Ok(Run::ended(run))
}

/// The beginning of the error if the run continued before anything could be done to it.
pub(super) const LATE: &str = "the moment was over";

/// Acts as soon as sshd has been told to reload. Nothing makes the run wait there, so the journal before the act and
/// the process after it show whether the act came in time.
fn told(subject: &Subject, task: Task, act: impl FnOnce()) -> Result<Run, String> {
    let told = || subject.log().matches("Received SIGHUP").count();
    let before = told();
    let mut command = subject.peer.warded_command(task.arguments());
    let mut run = started(&mut command, Duration::from_micros(200), || told() > before)?;
    let is_open = subject.state() == "committing";
    act();
    // A run that was killed did not end by itself: killing it is what `act` does.
    let ended_by_itself = run.try_wait().unwrap().is_some_and(|status| status.code().is_some());
    let run = Run::ended(run);
    if is_open && !ended_by_itself { Ok(run) } else { Err(format!("{LATE}: {run:?}")) }
}

/// Starts a run, and waits until it has got that far.
fn started(command: &mut Command, pause: Duration, has_come: impl Fn() -> bool) -> Result<Child, String> {
    let mut run = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + LONG;
    while !has_come() {
        if Instant::now() > end || run.try_wait().unwrap().is_some() {
            return Err(format!("the moment never came: {:?}", Run::ended(run)));
        }
        sleep(pause);
    }
    Ok(run)
}

/// Waits until no process of Warded is running.
pub(super) fn quiet(subject: &Subject) -> Result<(), String> {
    let end = Instant::now() + LONG;
    while !subject.peer.processes().is_empty() {
        if Instant::now() > end {
            return Err("something of warded runs for ever".to_owned());
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}
