//! Directories that are made for a file: they are there with it, and gone with it.

use super::*;

const FILE: &str = "d/a/b/file";

fn written(machine: &Machine) -> FileChange {
    machine.change(FILE, Some((b"new", 0o644)), Order::WriteOther)
}

/// Whether each directory is there, the outer one first; then whether the file is.
fn there(machine: &Machine) -> [bool; 3] {
    ["d/a", "d/a/b", FILE].map(|name| machine.path(name).exists())
}

const NONE: [bool; 3] = [false; 3];
const ALL: [bool; 3] = [true; 3];

#[test]
fn they_come_and_go_with_the_file() {
    Machine::everywhere(|machine| {
        let beside = machine.change("d/a/beside", Some((b"new", 0o644)), Order::WriteOther);
        let mut transaction = machine.begin(vec![written(machine), beside]).unwrap();
        transaction.commit().unwrap();
        assert_eq!(there(machine), ALL);
        assert_eq!(fs::metadata(machine.path("d/a")).unwrap().mode() & 0o7777, 0o755);
        transaction.roll_back(|_, _| StillNamed::nothing()).unwrap();
        drop(transaction);
        assert_eq!(there(machine), NONE);

        machine.apply(vec![written(machine)]);
        assert!(machine.undo());
        assert_eq!(there(machine), NONE);

        // A later run removes the file. Its undo puts everything back, and an undo of both runs nothing.
        machine.apply(vec![written(machine)]);
        machine.apply(vec![machine.change(FILE, None, Order::RemoveOther)]);
        assert_eq!(there(machine), NONE);
        assert!(machine.undo());
        assert_eq!(there(machine), ALL);
        assert_eq!(fs::read(machine.path(FILE)).unwrap(), b"new");
        assert!(machine.undo());
        assert_eq!(there(machine), NONE);
    });
}

#[test]
fn what_somebody_else_put_there_stays() {
    Machine::everywhere(|machine| {
        machine.apply(vec![written(machine)]);
        machine.put("d/a/theirs", b"theirs", 0o644);
        assert!(machine.undo());
        assert_eq!(there(machine), [true, false, false]);
        fs::remove_file(machine.path("d/a/theirs")).unwrap();
        fs::remove_dir(machine.path("d/a")).unwrap();

        let mut transaction = machine.begin(vec![written(machine)]).unwrap();
        transaction.commit().unwrap();
        machine.put("d/a/b/theirs", b"theirs", 0o644);
        let done = transaction.roll_back(|_, _| StillNamed::nothing()).unwrap();
        assert_eq!(done.left_alone.len(), 2, "{done}");
        assert!(done.to_string().contains("something is in this directory"), "{done}");
        assert!(machine.path("d/a/b/theirs").exists() && !machine.path(FILE).exists());
    });
}

/// No run may remove a directory that was there before the runs.
#[test]
fn a_directory_that_was_there_stays() {
    Machine::everywhere(|machine| {
        fs::create_dir(machine.path("d/a")).unwrap();
        machine.apply(vec![written(machine)]);
        assert!(machine.undo());
        assert_eq!(there(machine), [true, false, false]);
    });
}

#[test]
fn somebody_who_is_faster_is_not_overrun() {
    Machine::everywhere(|machine| {
        let change = written(machine);
        fs::create_dir(machine.path("d/a")).unwrap();
        machine.put("d/a/theirs", b"theirs", 0o644);
        let error = machine.begin(vec![change]).unwrap_err().to_string();
        assert!(error.contains("changed since it was read"), "{error}");
        assert_eq!(there(machine), [true, false, false]);
    });
}

fn killed_anywhere(machine: &Machine, act: impl Fn(&Machine), old: [bool; 3], new: [bool; 3]) {
    for number in 1.. {
        let killed = kill_at(number, || act(machine));
        machine.recover().unwrap();
        let found = there(machine);
        assert!(found == old || found == new, "point {number}: {found:?}");
        assert_eq!(machine.tree().keys().filter(|name| name.contains(".warded-")).count(), 0, "point {number}");
        assert!(interrupted(&machine.state).unwrap().is_none());
        if !killed {
            assert!(found == new && number > 10, "{number}");
            return;
        }
        if found == new {
            // Back to where it began.
            assert!(machine.undo());
            assert_eq!(there(machine), old, "point {number}");
        }
    }
}

#[test]
fn recovery_after_any_step_leaves_no_directory_without_the_file() {
    Machine::everywhere(|machine| {
        killed_anywhere(machine, |machine| machine.apply(vec![written(machine)]), NONE, ALL);
        let remove = |machine: &Machine| machine.apply(vec![machine.change(FILE, None, Order::RemoveOther)]);
        killed_anywhere(machine, remove, ALL, NONE);
    });
}

#[test]
fn recovery_of_them_may_itself_be_stopped_anywhere() {
    Machine::everywhere(|machine| {
        for number in 1.. {
            let mut transaction = machine.begin(vec![written(machine)]).unwrap();
            transaction.commit().unwrap();
            drop(transaction);
            let killed = kill_at(number, || {
                machine.recover().unwrap();
            });
            machine.recover().unwrap();
            assert_eq!(there(machine), NONE, "point {number}");
            if !killed {
                break;
            }
        }
    });
}

#[test]
fn runs_that_are_one_by_now_undo_them() {
    let machine = Machine::new("/tmp");
    machine.put("d/other", b"0", 0o644);
    machine.apply(vec![written(&machine)]);
    for number in 0..2 * retain::RUNS_KEPT {
        let contents = format!("{number}.");
        machine.apply(vec![machine.change("d/other", Some((contents.as_bytes(), 0o644)), Order::WriteOther)]);
    }
    while machine.undo() {}
    assert_eq!(there(&machine), NONE);
    assert_eq!(fs::read(machine.path("d/other")).unwrap(), b"0");
}
