//! If there is no room, or nothing may be written, a run stops before it starts: nothing is changed, and it says why.
//! The tests run the shipped binary on file systems of the machine's own.

use crate::support::{
    Machine, Run, Setup,
    machine::{NAME, tree},
    missing,
    trace::{self, Effect},
};
use std::{path::Path, process::Command};

/// A machine of root's, since only root can mount. `None` unless this is root; then the test is skipped.
fn machine() -> Option<Machine> {
    machine_with(&Setup::default())
}

fn machine_with(setup: &Setup) -> Option<Machine> {
    (!missing::root()).then(|| Machine::with(setup))
}

#[track_caller]
fn run(machine: &Machine, program: &str, arguments: &[&str]) {
    Run::of(machine.command(program).args(arguments)).ends(0);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Mounts a file system with these options over a directory.
fn mount(machine: &Machine, directory: &Path, options: &str) {
    run(machine, "mkdir", &["-p", text(directory)]);
    run(machine, "mount", &["-t", "tmpfs", "-o", options, "tmpfs", text(directory)]);
}

fn plan(command: &mut Command) -> &mut Command {
    let set = format!("principal={NAME}");
    command.args([env!("CARGO_BIN_EXE_warded"), "plan", "certify-host", "--set", &set])
}

/// If no further process or thread may start, Warded says so, and no thread ends with a panic message.
#[test]
fn without_room_for_threads_it_is_said_what_is_missing() {
    let Some(machine) = machine() else { return };
    if missing::strace() {
        return;
    }
    let mut met = 0;
    for first in 1..=16 {
        let mut command = machine.command("strace");
        let refuse = format!("inject=clone,clone3,vfork:error=EAGAIN:when={first}+");
        command.args(["-qq", "-e", "trace=clone,clone3,vfork", "-e", &refuse, "-o"]).arg(machine.path("trace"));
        let ended = Run::of(machine.environment(plan(&mut command)));
        assert!(!ended.stderr.contains("panicked"), "{first}: {ended:?}");
        assert!(ended.code == Some(3) || ended.stderr.contains("next:  "), "{first}: {ended:?}");
        met += usize::from(ended.code != Some(3));
    }
    assert!(met > 2, "{met} of the threads and processes were missed");
}

/// If the memory limit is too low for a run, Warded says so before it does anything.
#[test]
fn a_limit_on_memory_that_is_too_low_is_named() {
    let Some(machine) = machine() else { return };
    for (limit, kilobytes, code) in [
        ("-d", 3_000, 5),
        ("-d", 8_000, 5),
        ("-d", 65_535, 5),
        ("-d", 65_536, 3),
        ("-v", 100_000, 5),
        ("-v", 262_143, 5),
        ("-v", 262_144, 3),
    ] {
        let ended = Run::of(machine.environment(plan(&mut limited(&machine, &[(limit, kilobytes)])))).ends(code);
        if code == 5 {
            ended.says(&[
                "state: nothing was changed",
                &format!("is limited to {kilobytes} KiB"),
                &format!("next:  raise the limit: ulimit {limit} "),
            ]);
        }
    }
}

/// The documented memory is enough for a run. Commands that restore a machine, or only read, are not refused with less.
#[test]
fn a_run_comes_to_its_end_with_the_least_memory_that_it_is_given() {
    let Some(machine) = machine() else { return };
    let warded = |limits: &[(&str, u32)], words: &[&str]| {
        let mut command = limited(&machine, limits);
        Run::of(machine.environment(command.arg(env!("CARGO_BIN_EXE_warded")).args(words)))
    };
    let set = format!("principal={NAME}");
    warded(&[("-d", 65_536), ("-v", 262_144)], &["apply", "certify-host", "--set", &set, "--yes"]).ends(0);
    machine.serves_certificates();
    for words in [&["status"][..], &["history"], &["undo", "--yes"], &["confirm"]] {
        let ended = warded(&[("-d", 65_535), ("-v", 262_143)], words);
        assert!(!ended.stderr.contains("too little memory"), "{words:?}: {ended:?}");
        assert!(words[0] == "confirm" || ended.code == Some(0), "{words:?}: {ended:?}");
    }
}

/// If files may not become large enough for a run, Warded reports that like any other cause, and is not killed by a
/// signal.
#[test]
fn a_limit_on_the_size_of_files_stops_a_run_or_does_not_matter() {
    let Some(machine) = machine() else { return };
    let before = seen(&machine);
    // In units of 512 bytes.
    for (size, code) in [(0, 1), (1, 1), (8, 1), (100_000, 3)] {
        let ended = Run::of(machine.environment(plan(&mut limited(&machine, &[("-f", size)])))).ends(code);
        if code == 1 {
            ended.says(&["File too large"]);
        }
        assert_eq!(seen(&machine), before, "{size}");
    }
}

/// The beginning of a command with these limits, in ulimit's units.
fn limited(machine: &Machine, limits: &[(&str, u32)]) -> Command {
    let limits: String = limits.iter().map(|(limit, kilobytes)| format!("ulimit {limit} {kilobytes}; ")).collect();
    let mut command = machine.command("sh");
    command.args(["-c", &format!("{limits}exec \"$@\""), "sh"]);
    command
}

/// A run as the kernel saw it: how it ended, and which of sshd's files it changed under their final names.
struct TracedRun {
    run: Run,
    exchanged: Vec<String>,
}

fn traced(machine: &Machine, arguments: &[&str]) -> TracedRun {
    let (run, effects) = trace::warded(machine, arguments);
    let ssh = format!("{}/", text(&machine.path("ssh")));
    // Files that are written beside them have a name that begins with a dot.
    let is_live = |path: &str| path.starts_with(&ssh) && !path.rsplit('/').next().unwrap().starts_with('.');
    let changed = effects.iter().filter(|effect| matches!(effect, Effect::Change(_)));
    TracedRun { run, exchanged: changed.map(Effect::path).filter(|path| is_live(path)).map(str::to_owned).collect() }
}

fn certify(machine: &Machine) -> TracedRun {
    traced(machine, &["apply", "certify-host", "--set", &format!("principal={NAME}"), "--yes"])
}

/// Checks that the run stopped before it started and said why, that the machine is as before, and that sshd serves.
#[track_caller]
fn stopped(machine: &Machine, before: &impl PartialEq<Tree>, ended: &TracedRun, why: &[&str]) {
    let said = &ended.run.stderr;
    assert!(matches!(ended.run.code, Some(1 | 5)), "{:?}", ended.run);
    assert!(why.iter().any(|why| said.contains(why)), "not for {why:?}: {said}");
    assert_eq!(ended.exchanged, Vec::<String>::new(), "it had begun: {said}");
    assert!(said.contains("nothing was changed") || said.contains("state: as before"), "{said}");
    assert!(*before == seen(machine), "{said}");
    super::refusals::serves(machine);
}

type Tree = std::collections::BTreeMap<std::path::PathBuf, crate::support::machine::Found>;

/// sshd's files, including those on mounted file systems.
fn seen(machine: &Machine) -> Tree {
    tree(&machine.inside("ssh"))
}

const FULL: [&str; 3] = ["No space left on device", "no storage space", "has no room for it"];

/// From hardly a page to enough room: each time the run either stops before it starts, or succeeds.
#[test]
fn a_disk_that_is_full_stops_a_run_or_does_not_matter() {
    let Some(machine) = machine() else { return };
    let (mut without, mut with) = (0, 0);
    // The directory of Warded's own files, or the directory of sshd's that gets a new file.
    for (directory, rooms) in [("state", &[0, 2, 6, 14, 26, 60][..]), ("ssh/sshd_config.d", &[0, 2])] {
        for room in rooms {
            let at = machine.path(directory);
            mount(&machine, &at, "mode=700,size=1m");
            machine.warded(["audit", "verify"]);
            let before = seen(&machine);
            let filler = at.join("filler");
            // Fills the disk, and then truncates the filler by what is to be left free.
            let fill = format!(
                "head -c 2m /dev/zero >{0} 2>/dev/null; truncate -s $(($(stat -c %s {0}) / 4096 * 4096 - {room} * 4096)) {0}",
                filler.display()
            );
            run(&machine, "sh", &["-c", &fill]);
            let ended = certify(&machine);
            run(&machine, "rm", &[text(&filler)]);
            if ended.run.code == Some(0) {
                with += 1;
                machine.warded(["undo", "--yes"]).ends(0);
                assert!(before == seen(&machine), "{directory} {room}");
            } else {
                without += 1;
                stopped(&machine, &before, &ended, &FULL);
            }
            // Once there is room, nothing of the failure is left.
            certify(&machine).run.ends(0);
            machine.serves_certificates();
            machine.warded(["undo", "--yes"]).ends(0);
            machine.warded(["audit", "verify"]).ends(0);
            run(&machine, "umount", &[text(&at)]);
        }
    }
    println!("full disks: stopped {without}, did not matter {with}");
    assert!(without >= 4 && with >= 2, "{without} {with}");
}

#[test]
fn a_disk_without_inodes_stops_a_run_or_does_not_matter() {
    let Some(machine) = machine() else { return };
    let (mut without, mut with) = (0, 0);
    for (directory, numbers) in [("state", &[1, 6, 12, 18, 26, 80][..]), ("ssh/sshd_config.d", &[1, 3])] {
        for inodes in numbers {
            let at = machine.path(directory);
            mount(&machine, &at, &format!("mode=700,nr_inodes={inodes}"));
            let before = seen(&machine);
            let ended = certify(&machine);
            if ended.run.code == Some(0) {
                with += 1;
            } else {
                without += 1;
                stopped(&machine, &before, &ended, &FULL);
            }
            run(&machine, "mount", &["-o", "remount,nr_inodes=1000", text(&at)]);
            certify(&machine).run.ends(0);
            machine.serves_certificates();
            machine.warded(["undo", "--yes"]).ends(0);
            assert!(before == seen(&machine), "{directory} {inodes}");
            run(&machine, "umount", &[text(&at)]);
        }
    }
    println!("inode tables: stopped {without}, did not matter {with}");
    assert!(without >= 4 && with >= 2, "{without} {with}");
}

#[test]
fn where_nothing_may_be_written_a_run_stops() {
    let Some(machine) = machine() else { return };
    for directory in ["state", "ssh/sshd_config.d", "ssh"] {
        let at = machine.path(directory);
        machine.warded(["audit", "verify"]).ends(0);
        run(&machine, "mount", &["--bind", text(&at), text(&at)]);
        run(&machine, "mount", &["-o", "remount,bind,ro", text(&at)]);
        let before = seen(&machine);
        stopped(&machine, &before, &certify(&machine), &["its file system is read-only", "Read-only file system"]);
        run(&machine, "umount", &[text(&at)]);
    }
    certify(&machine).run.ends(0);
    machine.warded(["undo", "--yes"]).ends(0);
}

#[test]
fn what_is_immutable_stops_a_run() {
    let Some(machine) = machine() else { return };
    certify(&machine).run.ends(0);
    for name in ["ssh", "ssh/sshd_config.d", "ssh/ssh_host_rsa_key-cert.pub"] {
        let at = machine.path(name);
        run(&machine, "chattr", &["+i", text(&at)]);
        // The renewal does not touch the drop-in; the undo of the enrolment does.
        for command in [["renew", "--force"], ["undo", "--yes"]] {
            let before = seen(&machine);
            let ended = traced(&machine, &command);
            if ended.run.code != Some(0) {
                assert!(before == seen(&machine), "{name} {command:?}");
                run(&machine, "chattr", &["-i", text(&at)]);
                stopped(&machine, &before, &ended, &["is immutable (chattr +i)"]);
                run(&machine, "chattr", &["+i", text(&at)]);
            } else {
                assert!(name == "ssh/sshd_config.d" && command[0] == "renew", "{name} {command:?}");
                machine.serves_certificates();
            }
        }
        run(&machine, "chattr", &["-i", text(&at)]);
    }
    machine.serves_certificates();
    machine.warded(["undo", "--yes"]).ends(0);
}

/// sshd's main file, on a machine on which Warded has to change it.
#[test]
fn an_immutable_main_file_stops_a_run() {
    let Some(machine) = machine_with(&Setup { alone: true, ..Setup::default() }) else { return };
    let config = machine.config();
    let stops = |arguments: &[&str]| {
        run(&machine, "chattr", &["+i", text(&config)]);
        let before = seen(&machine);
        let ended = traced(&machine, arguments);
        run(&machine, "chattr", &["-i", text(&config)]);
        stopped(&machine, &before, &ended, &["is immutable (chattr +i)"]);
    };
    let certify = ["apply", "certify-host", "--set", &format!("principal={NAME}"), "--yes"];
    stops(&certify);
    traced(&machine, &certify).run.ends(0);
    stops(&["undo", "--yes"]);
    machine.serves_certificates();
    machine.warded(["undo", "--yes"]).ends(0);
}

/// A plan is refused if the run would be, and neither asks the CA for a certificate.
#[test]
fn a_plan_foresees_what_cannot_be_written() {
    let (bind, read_only) = ("mount --bind $at $at; mount -o remount,bind,ro $at", "umount $at");
    for (alone, name, set, unset, why, next) in [
        (false, "ssh/sshd_config.d", bind, read_only, "its file system is read-only", "writable"),
        (false, "ssh/sshd_config.d", "chattr +i $at", "chattr -i $at", "its directory is immutable", "chattr -i"),
        (false, "ssh", "chattr +a $at", "chattr -a $at", "its directory is append-only", "chattr -a"),
        (
            false,
            "ssh/sshd_config.d",
            "mount -t tmpfs -o nr_inodes=1,mode=755 tmpfs $at",
            "umount $at",
            "its file system has no room for it",
            "make room",
        ),
        (true, "ssh/sshd_config", "chattr +i $at", "chattr -i $at", "it is immutable", "chattr -i"),
        (true, "ssh/sshd_config", "chattr +a $at", "chattr -a $at", "it is append-only", "chattr -a"),
        (true, "ssh/sshd_config", "mount --bind $at $at", "umount $at", "something is mounted on it", "findmnt"),
    ] {
        let Some(machine) = machine_with(&Setup { alone, without_rsa: true, ..Setup::default() }) else { return };
        let shell = |words: &str| run(&machine, "sh", &["-ec", &format!("at={}; {words}", text(&machine.path(name)))]);
        let certify = ["certify-host", "--set", &format!("principal={NAME}")];
        let before = seen(&machine);
        shell(set);
        let plan = machine.warded(["plan", certify[0], certify[1], certify[2]]);
        let apply = machine.warded(["apply", certify[0], certify[1], certify[2], "--yes"]);
        shell(unset);
        for run in [plan, apply] {
            run.ends(5).says(&["cannot be replaced", why, next, "nothing was changed"]);
        }
        assert!(before == seen(&machine), "{why}");
        let is_serial = |detail: &str| detail.starts_with("serial ");
        let issued = machine.audit().iter().any(|record| record["detail"].as_str().is_some_and(is_serial));
        assert!(!issued, "{why}: the CA was asked");
        machine.warded(["plan", certify[0], certify[1], certify[2]]).ends(3);
    }
}

#[test]
fn status_tells_of_a_certificate_that_cannot_be_replaced() {
    let Some(machine) = machine_with(&Setup { without_rsa: true, ..Setup::default() }) else { return };
    certify(&machine).run.ends(0);
    machine.warded(["status"]).ends(0);
    let certificate = machine.path("ssh/ssh_host_ed25519_key-cert.pub");
    run(&machine, "chattr", &["+i", text(&certificate)]);
    let (status, doctor) = (machine.warded(["status"]), machine.warded(["doctor"]));
    run(&machine, "chattr", &["-i", text(&certificate)]);
    for run in [status.ends(4), doctor.ends(4)] {
        for words in ["renew would be refused", "it is immutable", &format!("chattr -i {}", text(&certificate))] {
            assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
        }
    }
    machine.warded(["status"]).ends(0);
}
