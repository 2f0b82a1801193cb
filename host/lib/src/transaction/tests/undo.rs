//! Taking kept runs back, one after the other.

use super::*;

#[test]
fn runs_are_undone_one_after_the_other() {
    Machine::everywhere(|machine| {
        let first = example(machine);
        let start = machine.tree();
        machine.apply(first);
        let middle = machine.tree();
        machine.apply(vec![
            machine.change("d/conf", Some((b"newest", 0o600)), Order::WriteOther),
            machine.change("d/cert", None, Order::RemoveCertificate),
        ]);
        assert!(machine.undo());
        assert_eq!(machine.tree(), middle);
        assert!(machine.undo());
        assert_eq!(machine.tree(), start);
        assert!(!machine.undo());
        // A run after that is a new one to undo.
        machine.apply(vec![machine.change("d/conf", Some((b"again", 0o600)), Order::WriteOther)]);
        assert!(machine.undo() && !machine.undo());
        assert_eq!(machine.tree(), start);
    });
}

#[test]
fn an_edit_since_is_shown_and_kept() {
    let machine = Machine::new("/tmp");
    machine.put("d/conf", b"a\n", 0o644);
    machine.apply(vec![
        machine.change("d/conf", Some((b"a\nb\n", 0o644)), Order::WriteOther),
        machine.change("d/key", Some((b"-----BEGIN OPENSSH PRIVATE KEY-----\n1\n", 0o600)), Order::WriteKey),
    ]);
    let left = machine.tree();
    machine.put("d/conf", b"a\nb\nc\x1b[2J\n", 0o644);
    machine.put("d/key", b"-----BEGIN OPENSSH PRIVATE KEY-----\n2\n", 0o600);
    let edited = machine.tree();
    let error = Error::from(undo_changes(&machine.state, &machine.root).unwrap_err());
    assert_eq!(error.exit(), crate::error::Exit::Refused);
    let shown = error.to_string();
    assert!(shown.contains("2 files changed since") && shown.contains("+c\\u{1b}[2J"), "{shown}");
    assert!(!shown.contains("BEGIN"), "{shown}");
    assert_eq!(machine.tree(), edited);
    fs::remove_file(machine.path("d/conf")).unwrap();
    fs::create_dir(machine.path("d/conf")).unwrap();
    assert!(undo_changes(&machine.state, &machine.root).is_err());
    fs::remove_dir(machine.path("d/conf")).unwrap();
    machine.put("d/conf", b"a\nb\n", 0o644);
    machine.put("d/key", b"-----BEGIN OPENSSH PRIVATE KEY-----\n1\n", 0o600);
    assert_eq!(machine.tree(), left);
    assert!(machine.undo());
    assert_eq!(machine.tree().len(), 1);
}

#[test]
fn an_undo_that_fails_leaves_the_run_to_be_undone() {
    let machine = Machine::new("/tmp");
    let changes = example(&machine);
    let start = machine.tree();
    machine.apply(changes);
    let after = machine.tree();
    let undo = undo_changes(&machine.state, &machine.root).unwrap().unwrap();
    let identity = RunIdentity { undoes: Some(undo.run.run), ..machine.identity() };
    let mut transaction =
        Transaction::begin(&machine.root, &machine.state, &identity, undo.changes, Vec::new(), &Afterwards::default())
            .unwrap();
    transaction.commit().unwrap();
    let mut committed: Tree = machine.tree().into_iter().filter(|(name, _)| !name.contains(".warded-")).collect();
    // That goes when it is kept.
    assert!(committed.remove("d/cert").is_some());
    assert_eq!(committed, start);
    transaction.roll_back(|_, _| InUse::nothing()).unwrap();
    drop(transaction);
    assert_eq!(machine.tree(), after);
    assert!(machine.undo());
    assert_eq!(machine.tree(), start);
}

#[test]
fn old_copies_are_kept_for_twenty_runs() {
    let machine = Machine::new("/dev/shm");
    for number in 0..23 {
        let contents = format!("{number}");
        machine.apply(vec![machine.change("d/x", Some((contents.as_bytes(), 0o600)), Order::WriteOther)]);
    }
    assert_eq!(run_directory::numbers(&machine.state).unwrap(), (4..=23).rev().collect::<Vec<_>>());
    let run = machine.state.sub("runs/23").unwrap();
    assert_eq!(run.names().unwrap(), ["journal.json", "new", "old"]);
    assert_eq!(run.path().join("old/0").metadata().unwrap().mode() & 0o777, 0o600);
    // Copies of a run that was taken back are of no use to anybody.
    let mut transaction = machine.begin(vec![machine.change("d/x", None, Order::RemoveOther)]).unwrap();
    transaction.commit().unwrap();
    transaction.roll_back(|_, _| InUse::nothing()).unwrap();
    assert_eq!(machine.state.sub("runs/24").unwrap().names().unwrap(), ["journal.json"]);
}

#[test]
fn what_a_run_without_a_journal_left_goes() {
    let machine = Machine::new("/tmp");
    let changes = example(&machine);
    let killed = kill_at(1, || drop(machine.begin(changes.clone())));
    assert!(killed);
    assert!(!machine.state.sub("runs/1/old").unwrap().names().unwrap().is_empty());
    assert!(interrupted(&machine.state).unwrap().is_none());
    machine.apply(changes);
    assert_eq!(run_directory::numbers(&machine.state).unwrap(), [2]);
}

#[test]
fn a_number_is_given_once() {
    let machine = Machine::new("/tmp");
    let next = || next_run(&machine.state).unwrap();
    // Runs that ended before they began; and many at once.
    assert_eq!([next(), next(), next()], [1, 2, 3]);
    let state = &machine.state;
    let mut numbers: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| next_run(state).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (4..=11).collect::<Vec<_>>());
    // Such numbers are no runs, and stay no longer than they have to.
    assert!(interrupted(state).unwrap().is_none() && !machine.undo());
    assert_eq!(next(), 12);
    assert_eq!(run_directory::numbers(state).unwrap(), [12]);
    machine.next.set(12);
    machine.apply(vec![machine.change("d/x", Some((b"x", 0o600)), Order::WriteOther)]);
    assert_eq!([next(), next()], [13, 14]);
    assert_eq!(run_directory::numbers(state).unwrap(), [14, 12]);
    // One whose number was reserved before all that still gets through, and is the one to undo.
    machine.next.set(13);
    machine.apply(vec![machine.change("d/x", Some((b"y", 0o600)), Order::WriteOther)]);
    assert_eq!(run_directory::numbers(state).unwrap(), [14, 13, 12]);
    assert!(machine.undo());
    assert_eq!(fs::read(machine.path("d/x")).unwrap(), b"x");
}

#[test]
fn private_keys_are_not_kept_twice() {
    let machine = Machine::new("/dev/shm");
    let key = b"-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n";
    machine.apply(vec![
        machine.change("d/key", Some((key, 0o600)), Order::WriteKey),
        machine.change("d/conf", Some((b"text\n", 0o644)), Order::WriteOther),
    ]);
    let copies = |run: u64| machine.state.sub(&format!("runs/{run}/new")).unwrap().names().unwrap();
    assert_eq!(copies(1), ["1"]);
    // Enough to say what has changed, and to take it back.
    machine.put("d/key", b"theirs\n", 0o600);
    let shown = Error::from(undo_changes(&machine.state, &machine.root).unwrap_err()).to_string();
    assert!(shown.contains("d/key: somebody changed it") && !shown.contains("c2VjcmV0"), "{shown}");
    machine.put("d/key", key, 0o600);
    assert!(machine.undo());
    assert!(machine.tree().is_empty());
}
