//! Somebody else works on the same files: none of their changes is lost.

use super::*;

/// Acts as somebody else when the run passes the named point for the `nth` time.
fn meanwhile(name: &'static str, nth: usize, mut act: impl FnMut() + 'static) {
    let mut passed = 0;
    for_tests::set(move |point, _| {
        if point == name {
            passed += 1;
            if passed == nth {
                act();
            }
        }
    });
}

type Act = fn(&Path);

const ACTS: [(&str, Act); 6] = [
    ("edits it in place", |path| fs::write(path, "theirs").unwrap()),
    ("replaces it", |path| {
        fs::write(path.with_extension("tmp"), "theirs").unwrap();
        fs::rename(path.with_extension("tmp"), path).unwrap();
    }),
    ("removes it", |path| fs::remove_file(path).unwrap()),
    ("puts a link there", |path| {
        fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
    }),
    ("puts a directory there", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
    ("gives it another name", |path| fs::hard_link(path, path.with_extension("name")).unwrap()),
];

fn expect_left(machine: &Machine, act: Act, after: &dyn Fn() -> Result<()>) {
    let reference = Machine::new("/tmp");
    example(&reference);
    act(&reference.path("d/conf"));
    let error = after().unwrap_err();
    assert!(error.to_string().contains("changed since it was read"), "{error}");
    assert_eq!(machine.tree(), reference.tree());
}

#[test]
fn changed_before_the_lock() {
    for (what, act) in ACTS {
        println!("{what}");
        let machine = Machine::new("/dev/shm");
        let changes = example(&machine);
        act(&machine.path("d/conf"));
        expect_left(&machine, act, &|| machine.begin(changes.clone()).map(|_| ()));
        assert!(machine.state.names().unwrap().is_empty());
    }
}

#[test]
fn changed_after_the_lock() {
    for (what, act) in ACTS {
        println!("{what}");
        let machine = Machine::new("/dev/shm");
        let mut transaction = machine.begin(example(&machine)).unwrap();
        act(&machine.path("d/conf"));
        let transaction = std::cell::RefCell::new(&mut transaction);
        expect_left(&machine, act, &|| {
            let committed = transaction.borrow_mut().commit();
            let done = transaction.borrow_mut().roll_back(|_, _| StillNamed::nothing()).unwrap();
            // Key and certificate were changed and are restored; the file of the others was never touched.
            assert_eq!(done.restored.len(), 2);
            committed
        });
    }
}

#[test]
fn changed_between_check_and_exchange() {
    for (what, act) in ACTS {
        println!("{what}");
        let machine = Machine::new("/dev/shm");
        let mut transaction = machine.begin(example(&machine)).unwrap();
        let path = machine.path("d/conf");
        meanwhile("checked", 3, move || act(&path));
        let transaction = std::cell::RefCell::new(&mut transaction);
        expect_left(&machine, act, &|| {
            let committed = transaction.borrow_mut().commit();
            for_tests::clear();
            transaction.borrow_mut().roll_back(|_, _| StillNamed::nothing()).unwrap();
            committed
        });
    }
}

#[test]
fn made_or_changed_where_nothing_or_a_removal_was_expected() {
    Machine::everywhere(|machine| {
        // The certificate (second) appears; in a second round the file to be removed (fourth) changes.
        for (nth, name) in [(2, "d/cert"), (4, "d/gone")] {
            let mut transaction = machine.begin(example(machine)).unwrap();
            let path = machine.path(name);
            // Before the check if the file system cannot tell afterwards.
            let theirs = path.clone();
            let at = if name == "d/gone" { "checked" } else { "prepared" };
            if at == "checked" {
                meanwhile(at, nth, move || fs::write(&theirs, "theirs").unwrap());
            } else {
                fs::write(&theirs, "theirs").unwrap();
            }
            let error = transaction.commit().and_then(|()| transaction.keep()).unwrap_err();
            for_tests::clear();
            assert!(error.to_string().contains("changed since"), "{error}");
            transaction.roll_back(|_, _| StillNamed::nothing()).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"theirs");
            assert_eq!(fs::read(machine.path("d/conf")).unwrap(), b"old configuration");
            assert!(machine.tree().keys().all(|name| !name.contains(".warded-")));
        }
    });
}

#[test]
fn somebody_replaces_again_and_again_while_it_is_put_back() {
    let machine = Machine::new("/tmp");
    machine.put("d/x", b"old", 0o600);
    let place = machine.place("d/x");
    let temporary = place.sibling(".temporary");
    // As after an exchange that took out somebody's file.
    machine.put("d/x", b"ours", 0o600);
    let ours = place.inode().unwrap();
    machine.put("d/.temporary", b"theirs", 0o600);
    // Before it is put back, they replace our file by a newer one of theirs.
    machine.put("d/y", b"theirs, newer", 0o600);
    fs::rename(machine.path("d/y"), machine.path("d/x")).unwrap();
    commit::put_back(&temporary, &place, ours).unwrap();
    assert_eq!(fs::read(machine.path("d/x")).unwrap(), b"theirs, newer");
}

#[test]
fn roll_back_leaves_what_was_edited_after_the_commit() {
    Machine::everywhere(|machine| {
        let changes = example(machine);
        let mut transaction = machine.begin(changes).unwrap();
        transaction.commit().unwrap();
        fs::write(machine.path("d/conf"), "theirs").unwrap();
        fs::write(machine.path("d/gone"), "theirs too").unwrap();
        fs::remove_file(machine.path("d/cert")).unwrap();
        let done = transaction.roll_back(|_, _| StillNamed::nothing()).unwrap();
        assert_eq!(done.restored.len(), 1);
        assert_eq!(done.left_alone.len(), 2, "{done:?}");
        assert_eq!(fs::read(machine.path("d/conf")).unwrap(), b"theirs");
        assert_eq!(fs::read(machine.path("d/gone")).unwrap(), b"theirs too");
        assert_eq!(machine.tree().len(), 3, "{:?}", machine.tree());
    });
}

#[test]
fn a_late_write_to_the_old_file_is_not_thrown_away() {
    use std::io::Write as _;
    let machine = Machine::new("/tmp");
    machine.put("d/x", b"old", 0o600);
    let mut open = fs::OpenOptions::new().append(true).open(machine.path("d/x")).unwrap();
    let mut transaction = machine.begin(vec![machine.change("d/x", Some((b"new", 0o600)), Order::WriteOther)]).unwrap();
    transaction.commit().unwrap();
    open.write_all(b" and more").unwrap();
    let left = transaction.keep().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(fs::read(left[0].path.as_path()).unwrap(), b"old and more");
    fs::remove_file(left[0].path.as_path()).unwrap();
    drop(transaction);

    let mut open = fs::OpenOptions::new().append(true).open(machine.path("d/x")).unwrap();
    let mut transaction =
        machine.begin(vec![machine.change("d/x", Some((b"newer", 0o600)), Order::WriteOther)]).unwrap();
    transaction.commit().unwrap();
    open.write_all(b" and more").unwrap();
    transaction.roll_back(|_, _| StillNamed::nothing()).unwrap();
    assert_eq!(fs::read(machine.path("d/x")).unwrap(), b"new and more");
    assert_eq!(machine.tree().len(), 1);
}

#[test]
fn what_was_only_read_counts_too() {
    let machine = Machine::new("/tmp");
    machine.put("e/read", b"1", 0o644);
    let read = machine.place("e/read");
    let seen = read.snapshot().unwrap().map(|seen| (seen.digest, seen.inode));
    let absent = (machine.place("e/absent"), None);
    let change = machine.change("d/x", Some((b"x", 0o644)), Order::WriteOther);
    let begin = || {
        let reads = vec![(read.clone(), seen), absent.clone()];
        Transaction::begin(
            &machine.root,
            &machine.state,
            &machine.identity(),
            vec![change.clone()],
            reads,
            &Followup::default(),
        )
    };
    let mut transaction = begin().unwrap();
    machine.put("e/absent", b"", 0o644);
    assert!(transaction.commit().unwrap_err().message().contains("absent"));
    transaction.roll_back(|_, _| StillNamed::nothing()).unwrap();
    drop(transaction);
    assert!(begin().is_err());
    fs::remove_file(machine.path("e/absent")).unwrap();
    machine.put("e/read", b"2", 0o644);
    assert!(begin().unwrap_err().message().contains("changed since it was read"));
}

#[test]
fn the_directory_is_another_one_now() {
    let machine = Machine::new("/tmp");
    machine.put("d/x", b"old", 0o600);
    let change = machine.change("d/x", Some((b"new", 0o600)), Order::WriteOther);
    fs::rename(machine.path("d"), machine.path("moved")).unwrap();
    std::os::unix::fs::symlink("e", machine.path("d")).unwrap();
    assert!(machine.begin(vec![change]).unwrap_err().message().contains("changed"));
    assert_eq!(fs::read(machine.path("moved/x")).unwrap(), b"old");
}

#[test]
fn an_immutable_file_is_seen_beforehand() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    if crate::machine::root_only::is_skipped("an_immutable_file_is_seen_beforehand") {
        return;
    }
    let machine = Machine::new("/tmp");
    let changes = example(&machine);
    let before = machine.tree();
    for name in ["d/conf", "d"] {
        let open = fs::File::open(machine.path(name)).unwrap();
        let flags = ioctl_getflags(&open).unwrap();
        ioctl_setflags(&open, flags | IFlags::IMMUTABLE).unwrap();
        let begun = machine.begin(changes.clone()).map(|_| ());
        ioctl_setflags(&open, flags).unwrap();
        assert!(begun.unwrap_err().to_string().contains("immutable"));
        assert_eq!(machine.tree(), before);
    }
    // Made immutable only after the check: the exchange fails, and what was done is rolled back.
    let mut transaction = machine.begin(changes).unwrap();
    let open = fs::File::open(machine.path("d/conf")).unwrap();
    let flags = ioctl_getflags(&open).unwrap();
    ioctl_setflags(&open, flags | IFlags::IMMUTABLE).unwrap();
    let committed = transaction.commit();
    let done = transaction.roll_back(|_, _| StillNamed::nothing());
    ioctl_setflags(&open, flags).unwrap();
    assert!(committed.is_err());
    assert_eq!(done.unwrap().restored.len(), 2);
    assert_eq!(machine.tree(), before);
}

#[test]
fn what_cannot_be_tidied_away_is_told_and_tried_again() {
    let machine = Machine::new("/tmp");
    let mut transaction = machine.begin(example(&machine)).unwrap();
    transaction.commit().unwrap();
    // For a while, the path leads to something that is not a directory.
    let temporary = machine.tree().into_keys().find(|name| name.starts_with("d/.conf")).unwrap();
    let at = machine.path(&temporary);
    let moved = machine.live.join("moved");
    fs::rename(machine.path("d"), &moved).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem/x", machine.path("d")).unwrap();
    let left = transaction.keep().unwrap();
    assert!(!left.is_empty() && left.iter().all(|left| left.why.contains("the next command tries again")), "{left:?}");
    assert_eq!(transaction.journal().state, State::Kept);
    drop(transaction);
    assert!(!tidy_ended(&machine.state, &machine.root).unwrap().is_empty());
    fs::remove_file(machine.path("d")).unwrap();
    fs::rename(&moved, machine.path("d")).unwrap();
    assert!(at.exists());
    assert_eq!(tidy_ended(&machine.state, &machine.root).unwrap(), []);
    assert!(!at.exists());
}

#[test]
fn whoever_can_only_read_a_directory_keeps_no_run_of_roots_waiting() {
    use rustix::fs::{FlockOperation, flock};
    let machine = Machine::new("/tmp");
    // Any user who can read the directory can do this.
    let held = fs::File::open(machine.path("d")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let change = machine.change("d/x", Some((b"x", 0o644)), Order::WriteOther);
    if rustix::process::geteuid().is_root() {
        machine.apply(vec![change]);
        let inode = machine.path("d").metadata().unwrap().ino();
        let device = machine.path("d").metadata().unwrap().dev();
        let stand_in = Path::new("/run/warded/locks").join(format!("{device:x}-{inode}"));
        assert_eq!(stand_in.metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(stand_in.parent().unwrap().metadata().unwrap().mode() & 0o777, 0o700);
    } else {
        // A user's own directories: there is no place that only that user can open and that all of the user's runs
        // know.
        assert!(machine.begin(vec![change]).unwrap_err().to_string().contains("is being changed by another run"));
    }
}

#[test]
fn services_are_told_even_if_one_file_could_not_be_put_back() {
    use std::cell::Cell;
    let machine = Machine::new("/tmp");
    let changes = example(&machine);
    let before = machine.tree();
    let mut transaction = machine.begin(changes).unwrap();
    transaction.commit().unwrap();
    let entry = transaction.journal().entries.iter().find(|entry| entry.name == "key").unwrap();
    let in_the_way = Path::new(&entry.temporary_at.directory).join(&entry.temporary);
    // Another file, with another inode.
    fs::write(machine.path("theirs"), "theirs").unwrap();
    fs::rename(machine.path("theirs"), &in_the_way).unwrap();
    let told = Cell::new(0);
    let tell = |_: &Journal, _: &RollbackReport| {
        told.set(told.get() + 1);
        StillNamed::nothing()
    };
    let error = transaction.roll_back(tell).unwrap_err().to_string();
    assert!(error.contains("is in the way") && error.contains("warded recover"), "{error}");
    assert_eq!((told.get(), transaction.journal().state), (1, State::RollingBack));
    assert_eq!(fs::read(machine.path("d/conf")).unwrap(), b"old configuration");
    // Repeated attempts do not reload the services again and again. Once everything is restored, they are told.
    transaction.roll_back(tell).unwrap_err();
    assert_eq!(told.get(), 1);
    fs::remove_file(in_the_way).unwrap();
    transaction.roll_back(tell).unwrap();
    assert_eq!((told.get(), transaction.journal().state), (2, State::RolledBack));
    assert_eq!(machine.tree(), before);
}

/// Putting in a new file with the recorded mode would revert somebody's `chmod`.
#[test]
fn a_change_of_mode_or_owner_is_an_edit() {
    let edits: [fn(&Path); 2] = [
        |path| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap(),
        |path| std::os::unix::fs::chown(path, Some(1234), Some(1234)).unwrap(),
    ];
    let root = rustix::process::geteuid().is_root();
    for edit in edits.into_iter().take(if root { 2 } else { 1 }) {
        for begun in [false, true] {
            let machine = Machine::new("/tmp");
            machine.put("d/conf", b"old", 0o640);
            let changes = vec![machine.change("d/conf", Some((b"new", 0o640)), Order::WriteOther)];
            let failed = if begun {
                let mut transaction = machine.begin(changes).unwrap();
                edit(&machine.path("d/conf"));
                let failed = transaction.commit().unwrap_err();
                transaction.roll_back(|_, _| StillNamed::nothing()).unwrap();
                failed
            } else {
                edit(&machine.path("d/conf"));
                machine.begin(changes).unwrap_err()
            };
            assert!(failed.message().ends_with("d/conf changed since it was read"), "{failed}");
            assert_eq!(fs::read(machine.path("d/conf")).unwrap(), b"old");
        }
    }
}
