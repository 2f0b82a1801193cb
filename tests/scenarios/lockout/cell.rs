//! One cell of the matrix: a command during which something goes wrong, and the judgement of the result.

use super::{
    caught,
    condition::{Condition, Lie, Moment, Stage},
    liar, probes,
    shape::Shape,
    subject::{Files, Subject, Task, is_certificate, is_host_key, without_what_is_made_anew},
};
use crate::support::{Run, attributes::FileAttributes};
use rustix::{
    fs::{FallocateFlags, fallocate, statvfs},
    process::{Pid, Signal, kill_process},
};
use std::{fs, path::PathBuf, process::Command};

/// A line that sshd ignores, and one that it obeys. They go to the beginning of the file, since sshd takes the first
/// value of a keyword.
const EDITS: [&str; 2] = ["# an edit\n", "MaxAuthTries 5 # an edit\n"];
/// The messages of a run that noticed the edit.
const SEEN: [&str; 3] =
    ["changed since it was read", "was changed since the plan was made", "was changed while this ran"];

/// Nothing makes a run wait after it has told sshd, so on a loaded machine that moment may be over too soon.
const ATTEMPTS: usize = 5;

/// The state in which a cell may leave the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndState {
    Old,
    New,
    /// The old or the new state with somebody's edit. The run said which one it is.
    Edited {
        edit: &'static str,
        kept: bool,
    },
}

/// Whether there is such a cell. An undo asks no CA, a first certificate may be signed by any key of the CA, and a
/// renewal of a single certificate exchanges only one file.
pub(super) fn exists(shape: Shape, task: Task, condition: Condition) -> bool {
    if task == Task::Renew && condition.is_between_files() && shape.has_one_key() {
        return false;
    }
    match (task, condition) {
        // For these tasks the CA signs nothing, or signs as for a renewal.
        (Task::Undo | Task::TrustUsers | Task::Rekey | Task::Remove, Condition::CaLies(_))
        | (Task::Certify, Condition::CaLies(Lie::NewSigner)) => false,
        (Task::Certify | Task::Renew | Task::Undo | Task::TrustUsers | Task::Rekey | Task::Remove, _) => true,
    }
}

/// Runs the cell, judges the result, and restores the machine.
pub(super) fn cell(subject: &Subject, task: Task, condition: Condition, dead: bool) -> Result<(), String> {
    let gone_wrong = (0..ATTEMPTS).map(|attempt| {
        if attempt > 0 {
            subject.restore(subject.base_of(task));
        }
        go_wrong(subject, task, condition, dead)
    });
    let is_late = |done: &Result<EndState, String>| done.as_ref().is_err_and(|why| why.starts_with(caught::LATE));
    let mut gone_wrong = gone_wrong.skip_while(|done| is_late(done));
    let done = gone_wrong
        .next()
        .unwrap_or_else(|| Err(format!("{} in each of {ATTEMPTS} attempts", caught::LATE)))
        .and_then(|left| judge(subject, task, left))
        .and_then(|()| probes::agree(subject))
        .map_err(|why| format!("{why}\nthe journal is {}", subject.state()));
    subject.disarm();
    subject.restore(subject.base_of(task));
    done
}

/// Runs the command, makes it go wrong, and checks that it did.
fn go_wrong(subject: &Subject, task: Task, condition: Condition, dead: bool) -> Result<EndState, String> {
    let peer = &subject.peer;
    match condition {
        Condition::Nothing => succeeds(&subject.warded(task.arguments())),
        Condition::CaGone => {
            fs::rename(peer.file("/root/ca"), peer.file("/root/gone")).unwrap();
            let run = subject.warded(task.arguments());
            fs::rename(peer.file("/root/gone"), peer.file("/root/ca")).unwrap();
            if matches!(task, Task::Undo | Task::Remove) { succeeds(&run) } else { fails(&run, &["/root/ca"]) }
        }
        Condition::CaLies(lie) => {
            let procedure = if task == Task::Renew { "renew-host" } else { "certify-host" };
            let run = Run::of(subject.own_test(liar::TEST).env(liar::LIE, lie.word()).env(liar::PROCEDURE, procedure));
            if run.code == Some(0) && run.stdout.contains("1 passed") {
                Ok(EndState::Old)
            } else {
                Err(format!("the lie was not found out: {}\n{}", run.stdout, run.stderr))
            }
        }
        Condition::DiskFull(pages) => {
            let filler = peer.file("/filler");
            fill(subject, &filler, pages);
            let run = subject.warded(task.arguments());
            fs::remove_file(filler).unwrap();
            // A small change may fit into the room that is left.
            if pages > 0 && run.code == Some(0) {
                return Ok(EndState::New);
            }
            fails(&run, &["no storage space", "No space left on device", "no room for it"])
        }
        // room.rs tries an immutable file: an overlay file system may not support that attribute.
        Condition::ReadOnly => {
            let directory = peer.tree().join("etc/ssh");
            let mount = |arguments: &[&str]| {
                let (program, arguments) = arguments.split_first().unwrap();
                Run::of(peer.command_beside(program).args(arguments).arg(&directory)).ends(0);
            };
            mount(&["mount", "--bind", directory.to_str().unwrap()]);
            mount(&["mount", "-o", "remount,ro,bind"]);
            let run = subject.warded(task.arguments());
            mount(&["umount", "--lazy"]);
            fails(&run, &["its file system is read-only"])
        }
        Condition::Edited(stage) => {
            let config = peer.file("/etc/ssh/sshd_config");
            let edit = EDITS[usize::from(dead)];
            let act = || fs::write(&config, [edit, &fs::read_to_string(&config).unwrap()].concat()).unwrap();
            edited(&caught::at(subject, task, stage, act)?, edit)
        }
        Condition::HungUp => hang_up(subject, task),
        Condition::Killed(stage) => killed(subject, task, stage, dead),
    }
}

fn succeeds(run: &Run) -> Result<EndState, String> {
    if run.code == Some(0) { Ok(EndState::New) } else { Err(format!("it failed: {run:?}")) }
}

/// Checks that the run failed for one of these reasons, and says how it left the machine.
fn fails(run: &Run, reasons: &[&str]) -> Result<EndState, String> {
    let as_said = reasons.iter().any(|reason| run.stderr.contains(reason));
    let is_told = ["nothing was changed", "state: as before"].iter().any(|told| run.stderr.contains(told));
    if as_said && is_told && !matches!(run.code, None | Some(0)) {
        Ok(EndState::Old)
    } else {
        Err(format!("it did not fail with {reasons:?}, or does not say how the machine was left: {run:?}"))
    }
}

/// Either the run noticed the edit, and says so and how it left the machine; or it kept its change together with the
/// edit.
fn edited(run: &Run, edit: &'static str) -> Result<EndState, String> {
    let is_told = SEEN.iter().any(|seen| run.stderr.contains(seen)) && run.stderr.contains("state: ");
    match run.code {
        Some(0) => Ok(EndState::Edited { edit, kept: true }),
        Some(_) if is_told => Ok(EndState::Edited { edit, kept: false }),
        _ => Err(format!("it does not say that there was an edit: {run:?}")),
    }
}

/// Leaves this many pages of 4 KiB free on the disk of sshd's files and of Warded's state.
fn fill(subject: &Subject, filler: &std::path::Path, pages: u64) {
    let file = fs::File::create(filler).unwrap();
    let free = || {
        let found = statvfs(subject.peer.file("/").as_path()).unwrap();
        found.f_bavail * found.f_frsize
    };
    fallocate(&file, FallocateFlags::empty(), 0, free() - pages * 4096).unwrap();
    assert!(free() <= pages * 4096, "the disk is not full");
}

/// Runs the task in a terminal that hangs up when the files have been changed.
fn hang_up(subject: &Subject, task: Task) -> Result<EndState, String> {
    let mut warded = subject.peer.warded_command(task.arguments());
    warded.arg("--sshd").arg(subject.stand_in());
    let line: Vec<String> = std::iter::once(warded.get_program())
        .chain(warded.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
    terminal.env("WARDED_CA", "/root/ca").env("SHELL", "/bin/sh");
    caught::meet(subject, terminal, Moment::Reload, |terminal| {
        terminal.kill().unwrap();
    })?;
    caught::quiet(subject)?;
    if subject.state() == "kept" { Ok(EndState::New) } else { Err("it did not go on".to_owned()) }
}

/// Kills the run at this stage, and first its watchdog if `dead`. Otherwise the watchdog rolls the run back.
fn killed(subject: &Subject, task: Task, stage: Stage, dead: bool) -> Result<EndState, String> {
    // Waits until the watchdog of an earlier run has exited.
    caught::quiet(subject)?;
    let mut watchdogs = 0;
    let run = caught::at(subject, task, stage, || watchdogs = kill(subject, dead))?;
    if run.code.is_some() {
        return Err(format!("it was not killed: {run:?}"));
    }
    if watchdogs != usize::from(stage.has_watchdog(task)) {
        return Err(format!("watchdogs that were there, and killed if so wanted: {watchdogs}"));
    }
    caught::quiet(subject)?;
    // The state before `recover` has run.
    let (state, expected) = (subject.state(), if dead { "committing" } else { "rolled-back" });
    if stage.is_watched() && state != expected {
        return Err(format!("without anybody's help it came to {state}, not to {expected}"));
    }
    let recovered = subject.warded(&["recover", "--json"]);
    if recovered.code != Some(0) {
        return Err(format!("recover: {recovered:?}"));
    }
    let left = recovered.object("warded.recover/1")["runs"].as_array().unwrap().len();
    if left != usize::from(stage.is_watched() && dead) {
        return Err(format!("what was left for recover is something else: {recovered:?}"));
    }
    Ok(EndState::Old)
}

/// Kills the run. Returns how many watchdogs there were or, if `dead`, how many of them were killed.
fn kill(subject: &Subject, dead: bool) -> usize {
    let is_watchdog = |(_, line): &(i32, String)| line.contains("\0watchdog\0");
    let (watchdogs, runs): (Vec<_>, Vec<_>) = subject.peer.processes().into_iter().partition(is_watchdog);
    let kill = |(pid, _): &(i32, String)| kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL);
    // The watchdogs first, since they would begin to roll back at once.
    let there = watchdogs.iter().filter(|watchdog| !dead || kill(watchdog).is_ok()).count();
    for run in &runs {
        // If it ended by itself, the caller notices that.
        let _gone = kill(run);
    }
    there
}

/// Checks that the files are exactly the old or the new ones, that sshd starts, and that everybody who got in before
/// still does.
fn judge(subject: &Subject, task: Task, left: EndState) -> Result<(), String> {
    let base = subject.base_of(task);
    let mut now = subject.files();
    let config = subject.peer.file("/etc/ssh/sshd_config");
    if let EndState::Edited { edit, .. } = left {
        let found = now.get_mut(&config).ok_or("sshd's main file is gone")?;
        let text = String::from_utf8(found.bytes.clone()).map_err(|error| error.to_string())?;
        if text.matches(edit).count() != 1 {
            return Err(format!("somebody's edit is lost: {text}"));
        }
        found.bytes = text.replace(edit, "").into_bytes();
    }
    let (is_old, is_new) = (now == base.files, is_new(subject, task, &now));
    // A file that somebody edited during the change is left as it is, and the run says so.
    let left_alone = matches!(left, EndState::Edited { kept: false, .. }) && {
        let mut rest = now.clone();
        let theirs = rest.insert(config.clone(), base.files[&config].clone()).unwrap();
        // The files that it names are left, too.
        let names = |path: &std::path::Path| {
            let name = path.file_name().unwrap().as_encoded_bytes();
            theirs.bytes.windows(name.len()).any(|part| part == name)
        };
        rest.retain(|path, _| base.files.contains_key(path) || !names(path));
        rest == base.files
    };
    let as_meant = match left {
        EndState::Old => is_old,
        EndState::New | EndState::Edited { kept: true, .. } => is_new,
        EndState::Edited { kept: false, .. } => is_old || left_alone,
    };
    if !as_meant {
        return Err(format!("the files are not as they should be ({left:?}): {}", differences(&base.files, &now)));
    }
    subject.sshd_starts();
    base.pins.iter().try_for_each(|key| subject.pinned(key))?;
    let is_certified = match task {
        Task::Certify => is_new,
        Task::Renew | Task::TrustUsers | Task::Rekey => true,
        Task::Undo | Task::Remove => is_old,
    };
    // Whoever has a certificate of the CA can log in after the change, and not before. If the run left its block in a
    // main file that somebody edited, nothing is promised: whether sshd has read the block depends on when the edit was
    // made.
    let is_promised = is_old || !left_alone;
    if task == Task::TrustUsers && is_promised && subject.by_certificate().is_ok() == is_old {
        return Err("the person with a certificate gets in where nothing changed, or not where it did".to_owned());
    }
    if is_certified {
        subject.stranger()?;
    }
    let verified = subject.warded(&["audit", "verify"]);
    if verified.code == Some(0) { Ok(()) } else { Err(format!("the audit log: {verified:?}")) }
}

fn is_new(subject: &Subject, task: Task, now: &Files) -> bool {
    match task {
        Task::Undo | Task::Remove => return *now == subject.clean.files,
        Task::TrustUsers => return *now == subject.trusting,
        Task::Certify | Task::Renew | Task::Rekey => {}
    }
    let keys = task == Task::Rekey;
    let plain = |files: &Files| without_what_is_made_anew(files, keys);
    let like = plain(now) == plain(&subject.certified.files);
    let base = &subject.base_of(task).files;
    // All certificates must be new. If keys are replaced, all keys that sshd offers must be new, too. Exceptions: an
    // old release's RSA key has no certificate, so it stays; a key in an agent cannot be replaced, and keeps its
    // certificate.
    let is_offered = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        let mut kinds = subject.shape.keys().iter().filter(|kind| !(subject.is_old && **kind == "rsa"));
        kinds.any(|kind| name.contains(kind))
    };
    let is_new = |(path, file): &(&PathBuf, &FileAttributes)| {
        let stays = keys && subject.shape.has_in_agent(path);
        ((is_certificate(path) && !stays) || (keys && is_host_key(path) && is_offered(path))) && !file.is_link()
    };
    like && now.iter().filter(is_new).all(|(path, file)| base.get(path) != Some(file))
}

fn differences(base: &Files, now: &Files) -> String {
    let paths: std::collections::BTreeSet<_> = base.keys().chain(now.keys()).collect();
    let differs = paths.into_iter().filter(|path| base.get(*path) != now.get(*path));
    differs.map(|path| format!("{}: was {:?}, is {:?}; ", path.display(), base.get(path), now.get(path))).collect()
}
