//! Without room, or where nothing may be written, a run stops before it starts: nothing is changed,
//! and it says why. Through the shipped binary, on file systems of the machine's own.

use crate::support::{
    Machine, Run, Setup,
    machine::{NAME, tree},
    missing,
    trace::{self, Effect},
};
use std::path::Path;

/// A machine of root's, who alone can mount. None: this is not root, and the test is skipped.
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

/// Puts a file system of so much room in the place of a directory.
fn mount(machine: &Machine, directory: &Path, options: &str) {
    run(machine, "mkdir", &["-p", text(directory)]);
    run(machine, "mount", &["-t", "tmpfs", "-o", options, "tmpfs", text(directory)]);
}

/// A run as the kernel saw it: how it ended, and which of sshd's files it changed, by their real names.
struct Traced {
    run: Run,
    exchanged: Vec<String>,
}

fn traced(machine: &Machine, arguments: &[&str]) -> Traced {
    let (run, effects) = trace::warded(machine, arguments);
    let ssh = format!("{}/", text(&machine.path("ssh")));
    // What is written beside them has a name with a dot first.
    let is_live = |path: &str| path.starts_with(&ssh) && !path.rsplit('/').next().unwrap().starts_with('.');
    let changed = effects.iter().filter(|effect| matches!(effect, Effect::Change(_)));
    Traced { run, exchanged: changed.map(Effect::path).filter(|path| is_live(path)).map(str::to_owned).collect() }
}

fn certify(machine: &Machine) -> Traced {
    traced(machine, &["apply", "certify-host", "--set", &format!("principal={NAME}"), "--yes"])
}

/// It stopped before it started, said why, and the machine is as before; sshd serves.
#[track_caller]
fn stopped(machine: &Machine, before: &impl PartialEq<Tree>, ended: &Traced, why: &[&str]) {
    let said = &ended.run.stderr;
    assert!(matches!(ended.run.code, Some(1 | 5)), "{:?}", ended.run);
    assert!(why.iter().any(|why| said.contains(why)), "not for {why:?}: {said}");
    assert_eq!(ended.exchanged, Vec::<String>::new(), "it had begun: {said}");
    assert!(said.contains("nothing was changed") || said.contains("state: as before"), "{said}");
    assert!(*before == seen(machine), "{said}");
    super::refusals::serves(machine);
}

type Tree = std::collections::BTreeMap<std::path::PathBuf, crate::support::machine::Found>;

/// sshd's files, with what is mounted among them.
fn seen(machine: &Machine) -> Tree {
    tree(&machine.inside("ssh"))
}

const FULL: [&str; 2] = ["No space left on device", "no storage space"];

/// From hardly a page to enough: with each the run is stopped before it starts, or comes to its end.
#[test]
fn a_disk_that_is_full_stops_a_run_or_does_not_matter() {
    let Some(machine) = machine() else { return };
    let (mut without, mut with) = (0, 0);
    // Warded's own files there, or the directory of sshd's that gets a new file.
    for (directory, rooms) in [("state", &[0, 2, 6, 14, 26, 60][..]), ("ssh/sshd_config.d", &[0, 2])] {
        for room in rooms {
            let at = machine.path(directory);
            mount(&machine, &at, "mode=700,size=1m");
            machine.warded(["audit", "verify"]);
            let before = seen(&machine);
            let filler = at.join("filler");
            // Until it is full; then what is to be left is cut off.
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
            // Once there is room, nothing of it is left.
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
        let before = seen(&machine);
        // The renewal has nothing to do with the drop-in; to take the enrolment back has.
        for command in [["renew", "--force"], ["undo", "--yes"]] {
            let ended = traced(&machine, &command);
            if ended.run.code != Some(0) {
                assert!(before == seen(&machine), "{name} {command:?}");
                run(&machine, "chattr", &["-i", text(&at)]);
                stopped(&machine, &before, &ended, &["is immutable (chattr +i)"]);
                run(&machine, "chattr", &["+i", text(&at)]);
            } else {
                assert!(name == "ssh/sshd_config.d" && command[0] == "renew", "{name} {command:?}");
                machine.serves_certificates();
                run(&machine, "chattr", &["-i", text(&at)]);
                machine.warded(["undo", "--yes"]).ends(0);
                run(&machine, "chattr", &["+i", text(&at)]);
            }
        }
        run(&machine, "chattr", &["-i", text(&at)]);
    }
    machine.serves_certificates();
    machine.warded(["undo", "--yes"]).ends(0);
}

/// sshd's main file, where it has to be changed itself.
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
