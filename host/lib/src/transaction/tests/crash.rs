//! Stops a run after any step: what is left is exactly the old tree or exactly the new one.

use super::{archive::Archive, *};

/// The number of points at which `example` can be stopped, counted by stopping at each.
fn run(machine: &Machine, changes: Vec<FileChange>) {
    let mut transaction = machine.begin(changes).unwrap();
    transaction.commit().unwrap();
    transaction.keep().unwrap();
}

#[test]
fn recovery_after_any_step_gives_old_or_new() {
    Machine::everywhere(|machine| {
        let mut steps = 0;
        let mut seen = (0, 0);
        for number in 1.. {
            let _absent = fs::remove_file(machine.path("e/more"));
            let changes = example(machine);
            let old = machine.tree();
            if !kill_at(number, || run(machine, changes)) {
                steps = number;
                break;
            }
            let pending = interrupted(&machine.state).unwrap();
            let recovered = machine.recover().unwrap();
            assert_eq!(recovered.is_some(), pending.is_some());
            let tree = machine.tree();
            if tree == old {
                seen.0 += 1;
            } else {
                assert_eq!(tree.keys().collect::<Vec<_>>(), ["d/cert", "d/conf", "e/key"], "point {number}");
                assert_eq!(tree["d/conf"].0, b"new configuration");
                assert_eq!(tree["e/key"].1 & 0o777, 0o400);
                seen.1 += 1;
            }
            assert!(interrupted(&machine.state).unwrap().is_none());
            assert!(machine.recover().unwrap().is_none());
            machine.apply(vec![machine.change("e/more", Some((b"more", 0o644)), Order::WriteOther)]);
            assert_eq!(machine.unfinished(), Vec::<PathBuf>::new(), "point {number}");
        }
        assert!(steps > 20 && seen.0 > 10 && seen.1 > 3, "{steps} {seen:?}");
    });
}

#[test]
fn recovery_may_itself_be_stopped_anywhere() {
    Machine::everywhere(|machine| {
        // After the whole commit there is the most to roll back.
        for number in 1.. {
            let (old, _) = committed(machine);
            let killed = kill_at(number, || {
                machine.recover().unwrap();
            });
            machine.recover().unwrap();
            assert_eq!(machine.tree(), old, "point {number}");
            assert!(interrupted(&machine.state).unwrap().is_none());
            assert_eq!(machine.unfinished(), Vec::<PathBuf>::new(), "point {number}");
            if !killed {
                assert!(number > 8);
                break;
            }
        }
    });
}

#[test]
fn recovery_needs_nothing_but_the_journal() {
    Machine::everywhere(|machine| {
        let changes = example(machine);
        let old = machine.tree();
        let mut transaction = machine.begin(changes).unwrap();
        transaction.commit().unwrap();
        drop(transaction);
        // Even if the old files beside the live ones are lost.
        for name in machine.tree().into_keys().filter(|name| name.contains(".warded-")) {
            fs::remove_file(machine.path(&name)).unwrap();
        }
        let recovered = machine.recover().unwrap().unwrap();
        assert_eq!(recovered.rolled_back.reloads, followup().reloads);
        assert_eq!(machine.tree(), old);
    });
}

#[test]
fn a_half_written_temporary_file_is_replaced() {
    Machine::everywhere(|machine| {
        machine.put("d/x", b"old contents", 0o640);
        let old = machine.tree();
        let mut transaction =
            machine.begin(vec![machine.change("d/x", Some((b"new", 0o600)), Order::WriteOther)]).unwrap();
        transaction.commit().unwrap();
        let name = transaction.journal().entries[0].temporary.clone();
        drop(transaction);
        let _absent = fs::remove_file(machine.path("d").join(&name));
        fs::write(machine.path("d").join(&name), b"old con").unwrap();
        machine.recover().unwrap().unwrap();
        assert_eq!(machine.tree(), old);
    });
}

#[test]
fn a_journal_of_another_version_stops_everything() {
    let machine = Machine::new("/tmp");
    let changes = example(&machine);
    let mut transaction = machine.begin(changes.clone()).unwrap();
    transaction.commit().unwrap();
    drop(transaction);
    let runs = machine.state.sub("runs/1").unwrap();
    let journal = String::from_utf8(runs.read("journal.json").unwrap().unwrap().to_vec()).unwrap();
    runs.write("journal.json", journal.replace("warded.journal/2", "warded.journal/3").as_bytes(), 0o600).unwrap();
    assert!(machine.recover().is_err() && machine.begin(changes.clone()).is_err());
    runs.write("journal.json", b"{", 0o600).unwrap();
    assert!(machine.recover().is_err() && interrupted(&machine.state).is_err() && machine.begin(changes).is_err());
    runs.write("journal.json", journal.as_bytes(), 0o600).unwrap();
    machine.recover().unwrap().unwrap();
}

/// As in a copy of the state directory without symbolic links.
#[test]
fn a_kept_run_without_its_state_is_not_rolled_back() {
    let machine = Machine::new("/tmp");
    let changes = example(&machine);
    let start = machine.tree();
    machine.apply(changes);
    let kept = machine.tree();
    let run = machine.state.sub("runs/1").unwrap();
    let refused = |edit: &dyn Fn()| {
        edit();
        let error = machine.recover().unwrap_err();
        assert!(error.to_string().contains("next:  "), "{error}");
        error.to_string()
    };
    let error = refused(&|| run.remove("journal.state").unwrap());
    assert!(error.contains("its state is missing"), "{error}");
    assert_eq!(machine.tree(), kept);
    // Also if somebody has changed the files since.
    for name in ["d/conf", "d/cert", "e/key"] {
        machine.put(name, b"theirs", 0o600);
    }
    let theirs = machine.tree();
    refused(&|| {});
    assert_eq!(machine.tree(), theirs);
    // A file in place of the link.
    run.write("journal.state", b"kept", 0o600).unwrap();
    let damaged = damaged(&machine.state).unwrap();
    assert!(damaged.len() == 1 && damaged[0].to_string().contains("is no symbolic link"), "{damaged:?}");
    assert!(interrupted(&machine.state).unwrap().is_none());
    // Runs the command that the message names.
    let command = error.split("was done: ").nth(1).unwrap().split(';').next().unwrap();
    assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success());
    for (name, (contents, mode, ..)) in &kept {
        machine.put(name, contents, *mode & 0o7777);
    }
    assert!(machine.recover().unwrap().is_none() && machine.undo());
    assert_eq!(machine.tree(), start);
}

#[test]
fn a_run_that_had_not_begun_may_lack_its_state() {
    Machine::everywhere(|machine| {
        let changes = example(machine);
        let old = machine.tree();
        drop(machine.begin(changes).unwrap());
        machine.state.remove("runs/1/journal.state").unwrap();
        assert!(machine.recover().unwrap().is_some());
        assert_eq!(machine.tree(), old);
    });
}

/// If a file system cannot exchange files, the old file comes from its copy, never from a wrong one.
#[test]
fn a_damaged_copy_is_not_put_in_place() {
    pretend::set_without_flags(true);
    for damage in [None, Some(b"old".as_slice()), Some(b"old configuration!")] {
        let machine = Machine::new("/tmp");
        machine.put("d/conf", b"old configuration", 0o640);
        let old = machine.tree();
        let mut transaction =
            machine.begin(vec![machine.change("d/conf", Some((b"new", 0o644)), Order::WriteOther)]).unwrap();
        transaction.commit().unwrap();
        drop(transaction);
        let copies = damage.map(|bytes| ("old/0".to_owned(), bytes));
        machine.state.write("runs/1/copies.tar", Archive::of(copies).bytes(), 0o600).unwrap();
        let error = machine.recover().unwrap_err().to_string();
        assert!(error.contains("d/conf is missing or damaged") && error.contains("restore the file"), "{error}");
        assert_eq!(fs::read(machine.path("d/conf")).unwrap(), b"new");
        // Somebody has restored the file by hand.
        machine.put("d/conf", b"old configuration", 0o640);
        machine.recover().unwrap().unwrap();
        assert_eq!(machine.tree(), old);
    }
    pretend::set_without_flags(false);
}
