//! Undoing kept runs, one after the other.

use super::{archive::Archive, *};

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
        // A later run can be undone on its own.
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
    let error = Error::from(undo_changes(&machine.state, &machine.root, UndoScope::Newest).unwrap_err());
    assert_eq!(error.exit(), crate::error::Exit::Refused);
    let shown = error.to_string();
    assert!(shown.contains("2 files changed since") && shown.contains("+c\\u{1b}[2J"), "{shown}");
    assert!(!shown.contains("BEGIN"), "{shown}");
    assert_eq!(machine.tree(), edited);
    fs::remove_file(machine.path("d/conf")).unwrap();
    fs::create_dir(machine.path("d/conf")).unwrap();
    assert!(undo_changes(&machine.state, &machine.root, UndoScope::Newest).is_err());
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
    let undo = undo_changes(&machine.state, &machine.root, UndoScope::Newest).unwrap().unwrap();
    let identity = machine.identity().undoing(&undo.runs());
    let mut transaction =
        Transaction::begin(&machine.root, &machine.state, &identity, undo.changes, Vec::new(), &Followup::default())
            .unwrap();
    transaction.commit().unwrap();
    let mut committed: Tree = machine.tree().into_iter().filter(|(name, _)| !name.contains(".warded-")).collect();
    // The certificate goes when the run is kept.
    assert!(committed.remove("d/cert").is_some());
    assert_eq!(committed, start);
    transaction.roll_back(|_, _| StillNamed::nothing()).unwrap();
    drop(transaction);
    assert_eq!(machine.tree(), after);
    assert!(machine.undo());
    assert_eq!(machine.tree(), start);
}

#[test]
fn twenty_runs_can_be_undone_one_by_one() {
    let machine = Machine::new("/dev/shm");
    for number in 0..23 {
        let contents = format!("{number}");
        machine.apply(vec![machine.change("d/x", Some((contents.as_bytes(), 0o600)), Order::WriteOther)]);
    }
    assert_eq!(run_directory::numbers(&machine.state).unwrap(), [(5..=23).rev().collect(), vec![1]].concat());
    let run = machine.state.sub("runs/23").unwrap();
    assert_eq!(run.names().unwrap(), ["copies.tar", "journal.json", "journal.state", "watch"]);
    assert_eq!(run.path().join("copies.tar").metadata().unwrap().mode() & 0o777, 0o600);
    // The copies of an undone run are of no more use.
    let mut transaction = machine.begin(vec![machine.change("d/x", None, Order::RemoveOther)]).unwrap();
    transaction.commit().unwrap();
    transaction.roll_back(|_, _| StillNamed::nothing()).unwrap();
    assert_eq!(machine.state.sub("runs/24").unwrap().names().unwrap(), ["journal.json", "journal.state", "watch"]);
}

#[test]
fn what_a_run_without_a_journal_left_goes() {
    let (mut copies, mut unfinished) = (0, 0);
    for number in 1.. {
        let machine = Machine::new("/tmp");
        let changes = example(&machine);
        assert!(kill_at(number, || drop(machine.begin(changes.clone()))));
        if interrupted(&machine.state).unwrap().is_some() {
            break;
        }
        copies += usize::from(machine.state.path().join("runs/1/copies.tar").exists());
        unfinished += usize::from(!machine.unfinished().is_empty());
        machine.apply(changes);
        assert_eq!(run_directory::numbers(&machine.state).unwrap(), [2], "point {number}");
        assert_eq!(machine.unfinished(), Vec::<PathBuf>::new(), "point {number}");
    }
    assert!(copies > 5 && unfinished > 5, "{copies} {unfinished}");
}

#[test]
fn a_number_is_given_once() {
    let machine = Machine::new("/tmp");
    let next = || next_run(&machine.state).unwrap();
    // Runs that ended before they began; then many of them at once.
    assert_eq!([next(), next(), next()], [1, 2, 3]);
    let state = &machine.state;
    let mut numbers: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| next_run(state).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (4..=11).collect::<Vec<_>>());
    // Such numbers are not runs, and go as soon as possible.
    assert!(interrupted(state).unwrap().is_none() && !machine.undo());
    assert_eq!(next(), 12);
    assert_eq!(run_directory::numbers(state).unwrap(), [12]);
    machine.next.set(12);
    machine.apply(vec![machine.change("d/x", Some((b"x", 0o600)), Order::WriteOther)]);
    assert_eq!([next(), next()], [13, 14]);
    assert_eq!(run_directory::numbers(state).unwrap(), [14, 12]);
    // A run whose number was reserved before all of that still succeeds, and is the one to undo.
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
    let copies = Archive::parse(machine.state.read("runs/1/copies.tar").unwrap().unwrap()).unwrap();
    assert_eq!(copies.files().map(|(name, _)| name).collect::<Vec<_>>(), ["new/1"]);
    // The message has enough to tell what has changed, and to undo it.
    machine.put("d/key", b"theirs\n", 0o600);
    let shown = Error::from(undo_changes(&machine.state, &machine.root, UndoScope::Newest).unwrap_err()).to_string();
    assert!(shown.contains("d/key: somebody changed it") && !shown.contains("c2VjcmV0"), "{shown}");
    machine.put("d/key", key, 0o600);
    assert!(machine.undo());
    assert!(machine.tree().is_empty());
}

/// Somebody has restored a file by hand, completely or except for its mode: the undo loses nothing.
#[test]
fn a_file_that_is_as_before_is_no_edit() {
    let machine = Machine::new("/tmp");
    let changes = example(&machine);
    let start = machine.tree();
    machine.apply(changes);
    fs::remove_file(machine.path("d/cert")).unwrap();
    machine.put("d/conf", b"old configuration", 0o640);
    machine.put("d/gone", b"to be removed", 0o644);
    let undo = undo_changes(&machine.state, &machine.root, UndoScope::Newest).unwrap().unwrap();
    let paths = |paths: Vec<&AbsolutePath>| paths.iter().map(|path| path.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(paths(undo.as_before.iter().collect()), ["cert", "conf"]);
    assert_eq!(paths(undo.changes.iter().map(|change| &change.path).collect()), ["key", "gone"]);
    assert!(machine.undo());
    assert_eq!(machine.tree(), start);
    assert!(!machine.undo());
    // The same if nothing is left to do.
    machine.apply(example(&machine));
    for (name, (contents, mode, ..)) in &start {
        machine.put(name, contents, mode & 0o7777);
    }
    fs::remove_file(machine.path("d/cert")).unwrap();
    assert!(machine.undo() && !machine.undo());
    assert_eq!(machine.tree(), start);
}

/// The command that restores a file gives a key to nobody else, and leaves the file alone if it cannot read the
/// copies.
#[test]
fn a_command_restores_a_file_whole_or_not_at_all() {
    const KEY: &[u8] = b"-----BEGIN OPENSSH PRIVATE KEY-----\n1\n";
    let machine = Machine::new("/tmp");
    machine.put("e/key", KEY, 0o600);
    machine.apply(vec![machine.change("e/key", Some((b"new", 0o600)), Order::WriteKey)]);
    fs::remove_file(machine.path("e/key")).unwrap();
    let error = Error::from(undo_changes(&machine.state, &machine.root, UndoScope::Newest).unwrap_err()).to_string();
    let command = error.lines().map(str::trim).find(|line| line.contains("copies.tar")).unwrap();
    let run = || {
        let command = format!("umask 022; {command}");
        let mut shell = std::process::Command::new("sh");
        let output = shell.args(["-c", &command]).env("TMPDIR", machine.path("d")).output().unwrap();
        assert!(fs::read_dir(machine.path("d")).unwrap().next().is_none(), "{output:?}");
        (fs::read(machine.path("e/key")).unwrap(), machine.path("e/key").metadata().unwrap().mode() & 0o777, output)
    };
    let (contents, mode, output) = run();
    assert_eq!((contents.as_slice(), mode), (KEY, 0o600), "{output:?}");
    machine.put("e/key", b"theirs", 0o640);
    let (contents, mode, _) = run();
    assert_eq!((contents.as_slice(), mode), (KEY, 0o640));
    machine.put("e/key", b"theirs", 0o640);
    let archive = machine.state.read("runs/1/copies.tar").unwrap().unwrap();
    for damaged in [&archive[..600], &archive[..100], b"", &[b'x'; 2048]] {
        machine.state.write("runs/1/copies.tar", damaged, 0o600).unwrap();
        let (contents, mode, output) = run();
        assert_eq!((contents.as_slice(), mode), (&b"theirs"[..], 0o640), "{output:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn each_refusal_says_how_to_go_on() {
    let machine = Machine::new("/tmp");
    machine.put("d/conf", b"a\n", 0o644);
    machine.apply(vec![
        machine.change("d/conf", Some((b"a\nb\n", 0o644)), Order::WriteOther),
        machine.change("d/new", Some((b"new\n", 0o644)), Order::WriteOther),
        machine.change("e/gone", Some((b"new\n", 0o644)), Order::WriteOther),
    ]);
    let start = machine.tree();
    fs::remove_dir_all(machine.path("e")).unwrap();
    fs::create_dir(machine.path("e")).unwrap();
    machine.put("d/conf", b"theirs\n", 0o644);
    machine.put("d/new", b"theirs\n", 0o644);
    let error = Error::from(undo_changes(&machine.state, &machine.root, UndoScope::Newest).unwrap_err());
    let shown = error.to_string();
    let is_command = |line: &&str| ["t=$(mktemp) ", "rm "].iter().any(|program| line.starts_with(program));
    let commands: Vec<&str> = shown.lines().map(str::trim).filter(is_command).collect();
    assert_eq!(commands.len(), 2, "{shown}");
    for command in commands {
        let done = std::process::Command::new("sh").args(["-c", command]).status().unwrap();
        assert!(done.success(), "{command}");
    }
    assert!(machine.undo() && !machine.undo());
    assert_eq!(machine.tree().keys().collect::<Vec<_>>(), ["d/conf"]);
    assert!(start.len() == 3);
    // One of the copies is gone.
    machine.apply(vec![machine.change("d/conf", Some((b"x\n", 0o644)), Order::WriteOther)]);
    machine.state.remove("runs/3/copies.tar").unwrap();
    let error = Error::from(undo_changes(&machine.state, &machine.root, UndoScope::Newest).unwrap_err()).to_string();
    assert!(error.contains("missing or damaged") && error.contains("next:  restore that file"), "{error}");
    machine.put("d/conf", b"a\n", 0o644);
    assert!(machine.undo());
    let error = Error::from(undo_changes(&machine.state, &machine.root, UndoScope::DownTo(9)).unwrap_err());
    assert_eq!(error.exit(), crate::error::Exit::Usage);
    assert!(error.to_string().contains("there is no such run"), "{error}");
}

#[test]
fn several_runs_are_undone_in_one_step() {
    let machine = Machine::new("/tmp");
    let write = |name: &str, text: &str| machine.change(name, Some((text.as_bytes(), 0o644)), Order::WriteOther);
    machine.put("d/a", b"0", 0o644);
    machine.apply(vec![write("d/a", "1")]);
    let first = machine.tree();
    machine.apply(vec![write("d/a", "2"), write("d/b", "2")]);
    machine.apply(vec![write("d/b", "3")]);
    machine.apply(vec![write("d/a", "4")]);
    assert!(machine.undo());
    machine.apply(vec![write("d/c", "6")]);
    let undo = undo_changes(&machine.state, &machine.root, UndoScope::DownTo(2)).unwrap().unwrap();
    assert_eq!((undo.runs(), undo.earlier, undo.changes.len()), (2..=6, Some(1), 3));
    assert!(machine.undo_of(UndoScope::DownTo(2)));
    assert_eq!(machine.tree(), first);
    // Only the first run is left, and those in between do not come back.
    let undo = undo_changes(&machine.state, &machine.root, UndoScope::Newest).unwrap().unwrap();
    assert_eq!((undo.runs(), undo.earlier), (1..=1, None));
    // An edit that a later run found is not lost.
    machine.put("d/a", b"theirs", 0o644);
    machine.apply(vec![write("d/a", "8")]);
    let error = Error::from(undo_changes(&machine.state, &machine.root, UndoScope::DownTo(1)).unwrap_err()).to_string();
    assert!(error.contains("d/a: somebody changed it between runs 1 and 8"), "{error}");
    assert!(machine.undo());
    assert_eq!(fs::read(machine.path("d/a")).unwrap(), b"theirs");
}

#[test]
fn a_run_that_is_at_work_is_waited_for() {
    let machine = Machine::new("/tmp");
    machine.put("d/a", b"0", 0o644);
    machine.apply(vec![machine.change("d/a", Some((b"1", 0o644)), Order::WriteOther)]);
    let mut second = machine.begin(vec![machine.change("d/a", Some((b"2", 0o644)), Order::WriteOther)]).unwrap();
    second.commit().unwrap();
    let error = Error::from(undo_changes(&machine.state, &machine.root, UndoScope::Newest).unwrap_err()).to_string();
    assert!(error.contains("run 2 (unix certify-host") && error.contains("is still at work"), "{error}");
    let (state, root) = (machine.state.clone(), machine.root.clone());
    let undone = thread::spawn(move || undo_changes(&state, &root, UndoScope::Newest).unwrap().unwrap().run.run);
    second.keep().unwrap();
    drop(second);
    assert_eq!(undone.join().unwrap(), 2);
}

/// The guard of sshd checks a key; that of known_hosts does not.
#[test]
fn the_undo_of_a_key_is_no_change_of_known_hosts_whatever_its_name() {
    let machine = Machine::new("/tmp");
    let key = crate::machine::keys::generate("ssh-ed25519", "x").unwrap();
    let key = key.private.as_str();
    machine.put("d/known_hosts", b"web1 ssh-ed25519 AAAA\n", 0o644);
    for (after, is_known_hosts) in
        [(Some(b"web2 ssh-ed25519 AAAA\n".as_slice()), true), (None, true), (Some(key.as_bytes()), false)]
    {
        let after = after.map(|after| (after, 0o600));
        assert_eq!(machine.change("d/known_hosts", after, Order::WriteOther).is_known_hosts(), is_known_hosts);
    }
    machine.put("d/known_hosts", key.as_bytes(), 0o600);
    assert!(!machine.change("d/known_hosts", None, Order::RemoveKey).is_known_hosts());
}
