//! The way back stays open, however many runs there were.

use super::*;

const KEY: [&[u8]; 2] = [
    b"-----BEGIN OPENSSH PRIVATE KEY-----\nb25l\n-----END OPENSSH PRIVATE KEY-----\n",
    b"-----BEGIN OPENSSH PRIVATE KEY-----\ndHdv\n-----END OPENSSH PRIVATE KEY-----\n",
];

impl Machine {
    fn write(&self, name: &str, contents: impl AsRef<[u8]>, order: Order) {
        self.apply(vec![self.change(name, Some((contents.as_ref(), 0o644)), order)]);
    }

    fn undo_all(&self) -> usize {
        (0..).take_while(|_| self.undo()).count()
    }

    fn runs(&self) -> usize {
        run_directory::numbers(&self.state).unwrap().len()
    }
}

#[test]
fn the_first_run_can_be_undone_after_any_number_of_others() {
    let machine = Machine::new("/dev/shm");
    let changes = example(&machine);
    let start = machine.tree();
    machine.apply(changes);
    for number in 0..45 {
        machine.write("d/cert", format!("certificate {number}"), Order::WriteCertificate);
        if number == 3 {
            machine.write("e/list", "a list", Order::WriteCertificate);
        }
    }
    assert_eq!(machine.runs(), retain::RUNS_KEPT);
    assert_eq!(machine.undo_all(), retain::RUNS_KEPT);
    assert_eq!(machine.tree(), start);
    // Undos and what they undid push nothing out, and do not stay for ever either.
    machine.write("d/cert", "first", Order::WriteCertificate);
    for number in 0..45 {
        machine.write("d/cert", format!("certificate {number}"), Order::WriteCertificate);
        assert!(machine.undo());
    }
    assert!(machine.runs() <= retain::RUNS_KEPT + 1, "{}", machine.runs());
    assert_eq!(machine.undo_all(), 1);
    assert_eq!(machine.tree(), start);
}

/// A fold is invisible: the same runs can be undone after it as before, wherever it is interrupted.
#[test]
fn an_interrupted_fold_is_repeated() {
    for number in 1.. {
        let machine = Machine::new("/dev/shm");
        let changes = example(&machine);
        let start = machine.tree();
        machine.apply(changes);
        for number in 0..retain::RUNS_KEPT - 1 {
            machine.write("d/cert", format!("certificate {number}"), Order::WriteCertificate);
        }
        let change = machine.change("d/cert", Some((b"the last", 0o644)), Order::WriteCertificate);
        let mut transaction = machine.begin(vec![change]).unwrap();
        transaction.commit().unwrap();
        let killed = kill_at(number, || drop(transaction.keep()));
        drop(transaction);
        machine.recover().unwrap();
        if machine.journals() {
            machine.write("d/cert", "one more", Order::WriteCertificate);
        }
        assert_eq!(machine.unfinished(), Vec::<PathBuf>::new(), "killed at {number}");
        machine.undo_all();
        assert_eq!(machine.tree(), start, "killed at {number}");
        if !killed {
            assert!(number > 7, "{number}");
            break;
        }
    }
}

impl Machine {
    /// Whether the newest run was kept.
    fn journals(&self) -> bool {
        Run::look(&self.state, self.next.get() - 1).unwrap().unwrap().journal().state == State::Kept
    }
}

#[test]
fn damaged_copies_are_told_and_stop_nothing() {
    for run in [1, 2] {
        let machine = Machine::new("/dev/shm");
        machine.write("d/conf", "ours", Order::WriteOther);
        machine.write("e/conf", "ours", Order::WriteOther);
        machine.write("d/cert", "first", Order::WriteCertificate);
        assert_eq!((written(&machine.state).unwrap().len(), damaged(&machine.state).unwrap().len()), (2, 0));
        machine.state.write(&format!("runs/{run}/copies.tar"), b"no archive", 0o600).unwrap();
        let known = written(&machine.state).unwrap();
        assert!(known.len() == 1 && known[0].0 != machine.path(["d/conf", "e/conf"][run - 1]), "{known:?}");
        let told = damaged(&machine.state).unwrap();
        let told = told.iter().map(ToString::to_string).collect::<String>();
        assert!(told.contains("it is cut off") && told.contains("restore that file from a backup"), "{told}");
        // `apply` asserts that nothing is left untidy.
        for number in 0..retain::RUNS_KEPT + 5 {
            machine.write("d/cert", format!("certificate {number}"), Order::WriteCertificate);
        }
        assert_eq!(machine.runs(), retain::RUNS_KEPT);
        assert_eq!((0..retain::RUNS_KEPT - 1).filter(|_| machine.undo()).count(), retain::RUNS_KEPT - 1);
        assert!(damaged(&machine.state).unwrap().is_empty());
    }
}

#[test]
fn an_edit_between_two_runs_survives_their_fold() {
    let machine = Machine::new("/dev/shm");
    machine.write("d/conf", "ours", Order::WriteOther);
    machine.put("d/conf", b"theirs", 0o640);
    machine.write("d/conf", "ours again", Order::WriteOther);
    for number in 0..30 {
        machine.write("d/cert", format!("certificate {number}"), Order::WriteCertificate);
    }
    machine.undo_all();
    assert_eq!(machine.tree().keys().collect::<Vec<_>>(), ["d/conf"]);
    assert_eq!(fs::read(machine.path("d/conf")).unwrap(), b"theirs");
}

/// A run that replaced a private key, with as many runs since as it takes for the next one to fold it into the run
/// before.
fn with_a_replaced_key() -> Machine {
    let machine = Machine::new("/dev/shm");
    machine.put("e/key", KEY[0], 0o600);
    machine.put("e/key.pub", b"one", 0o644);
    machine.write("d/cert", "first", Order::WriteCertificate);
    machine.apply(vec![
        machine.change("e/key", Some((KEY[1], 0o600)), Order::WriteKey),
        machine.change("e/key.pub", Some((b"two", 0o644)), Order::WriteKey),
        machine.change("d/cert", Some((b"second", 0o644)), Order::WriteCertificate),
    ]);
    for number in 0..retain::RUNS_KEPT - 2 {
        machine.write("d/cert", format!("certificate {number}"), Order::WriteCertificate);
    }
    machine
}

impl Machine {
    /// The files of the state directory that hold private keys.
    fn copies_of_keys(&self) -> usize {
        let found = std::process::Command::new("grep").args(["-rl", "PRIVATE"]).arg(self.state.path()).output();
        String::from_utf8(found.unwrap().stdout).unwrap().lines().count()
    }
}

#[test]
fn a_private_key_that_was_replaced_goes_although_the_fold_was_interrupted() {
    for number in 1.. {
        let machine = with_a_replaced_key();
        let change = machine.change("d/cert", Some((b"the last", 0o644)), Order::WriteCertificate);
        let mut transaction = machine.begin(vec![change]).unwrap();
        transaction.commit().unwrap();
        let killed = kill_at(number, || drop(transaction.keep()));
        drop(transaction);
        machine.recover().unwrap();
        machine.write("d/cert", "one more", Order::WriteCertificate);
        assert_eq!(machine.copies_of_keys(), 0, "killed at {number}");
        if !killed {
            assert!(number > 9, "{number}");
            break;
        }
    }
}

#[test]
fn a_private_key_that_was_replaced_is_not_kept_for_ever() {
    let machine = with_a_replaced_key();
    assert_eq!(machine.copies_of_keys(), 1);
    machine.write("d/cert", "one more", Order::WriteCertificate);
    assert_eq!(machine.copies_of_keys(), 0);
    machine.undo_all();
    assert_eq!(machine.tree().keys().collect::<Vec<_>>(), ["e/key", "e/key.pub"]);
    assert_eq!(fs::read(machine.path("e/key")).unwrap(), KEY[1]);
}
