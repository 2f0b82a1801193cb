//! How a run ends: kept with everything that belongs to it, waiting for its confirmation, or rolled back after
//! telling every service.

use super::*;
use jiff::{SignedDuration, Timestamp};
use std::cell::Cell;

const OWN: &str = "enrolment.json";

fn waiting(seconds: i64) -> Followup {
    let until = Timestamp::now() + SignedDuration::from_secs(seconds);
    let own = OwnFile::Write { name: OWN, contents: b"enrolled".to_vec() };
    Followup { confirm: Some(Confirm { until, since: None }), own: Some(own), ..followup() }
}

fn begin(machine: &Machine, followup: &Followup) -> Result<Transaction> {
    let changes = example(machine);
    Transaction::begin(&machine.root, &machine.state, &machine.identity(), changes, Vec::new(), followup)
}

fn own(machine: &Machine) -> Option<Vec<u8>> {
    machine.state.read(OWN).unwrap().map(|bytes| bytes.to_vec())
}

fn clear(machine: &Machine) {
    for name in ["d/cert", "d/conf", "d/gone", "e/key", "d/list.krl"] {
        let _absent = fs::remove_file(machine.path(name));
    }
}

#[test]
fn whoever_rolls_a_run_back_tells_the_services_wherever_the_one_before_was_stopped() {
    Machine::everywhere(|machine| {
        for number in 1.. {
            clear(machine);
            let mut transaction = begin(machine, &followup()).unwrap();
            transaction.commit().unwrap();
            drop(transaction);
            let told = Cell::new(0);
            let roll_back = || {
                let settle = |journal: &Journal, _: &RollbackReport| {
                    told.set(told.get() + journal.reloads.len());
                    StillNamed::nothing()
                };
                drop(recover(&machine.state, &machine.root, settle).unwrap());
            };
            let killed = kill_at(number, roll_back);
            roll_back();
            assert!((1..=2).contains(&told.get()), "point {number}: told {} times", told.get());
            if !killed {
                assert!(number > 9, "{number}");
                break;
            }
        }
    });
}

#[test]
fn a_run_that_is_being_rolled_back_is_told() {
    let machine = Machine::new("/tmp");
    let mut transaction = begin(&machine, &followup()).unwrap();
    transaction.commit().unwrap();
    let number = transaction.journal().run.run;
    assert_eq!(being_rolled_back(&machine.state).unwrap(), None);
    drop(transaction);
    let seen = Cell::new(None);
    let settle = |_: &Journal, _: &RollbackReport| {
        seen.set(being_rolled_back(&machine.state).unwrap().map(|journal| journal.run.run));
        StillNamed::nothing()
    };
    drop(recover(&machine.state, &machine.root, settle).unwrap());
    assert_eq!(seen.get(), Some(number));
    assert_eq!(being_rolled_back(&machine.state).unwrap(), None);
}

#[test]
fn nobody_is_told_of_what_was_never_changed() {
    let machine = Machine::new("/tmp");
    drop(begin(&machine, &followup()).unwrap());
    let settle = |_: &Journal, _: &RollbackReport| -> StillNamed { panic!("there is nothing to tell") };
    let recovered = recover(&machine.state, &machine.root, settle).unwrap().unwrap();
    assert_eq!((recovered.rolled_back.restored.len(), recovered.rolled_back.reloads.len()), (0, 0));
}

#[test]
fn what_belongs_to_a_run_holds_exactly_if_the_run_does() {
    Machine::everywhere(|machine| {
        let mut kept = 0;
        for number in 1.. {
            clear(machine);
            machine.state.remove(OWN).unwrap();
            let changes = example(machine);
            let old = machine.tree();
            let identity = machine.identity();
            let followup = Followup { confirm: None, ..waiting(0) };
            let killed = kill_at(number, || {
                let mut transaction =
                    Transaction::begin(&machine.root, &machine.state, &identity, changes, Vec::new(), &followup)
                        .unwrap();
                transaction.commit().unwrap();
                transaction.keep().unwrap();
            });
            machine.recover().unwrap();
            assert_eq!(own(machine).is_none(), machine.tree() == old, "point {number}");
            kept += usize::from(own(machine).is_some());
            if !killed {
                break;
            }
        }
        assert!(kept > 3, "{kept}");
    });
}

#[test]
fn an_own_file_goes_with_the_run_that_says_so() {
    let machine = Machine::new("/tmp");
    machine.state.write(OWN, b"enrolled", 0o600).unwrap();
    let mut transaction =
        begin(&machine, &Followup { own: Some(OwnFile::Remove { name: OWN }), ..followup() }).unwrap();
    transaction.commit().unwrap();
    assert!(own(&machine).is_some());
    transaction.keep().unwrap();
    assert!(own(&machine).is_none());
}

#[test]
fn a_run_waits_to_be_confirmed_while_somebody_watches() {
    let machine = Machine::new("/tmp");
    let mut transaction = begin(&machine, &waiting(60)).unwrap();
    let watched = watch(&machine.state, 1).unwrap();
    assert!(watch(&machine.state, 1).is_err());
    assert!(transaction.await_confirmation().is_err(), "nothing has been changed yet");
    transaction.commit().unwrap();
    transaction.await_confirmation().unwrap();
    drop(transaction);

    assert_eq!(unconfirmed(&machine.state).unwrap().unwrap().run.run, 1);
    assert!(interrupted(&machine.state).unwrap().is_none() && machine.recover().unwrap().is_none());
    let refused = machine.begin(Vec::new()).unwrap_err();
    assert_eq!(refused.exit(), crate::error::Exit::Refused);
    assert!(refused.to_string().contains("warded confirm"), "{refused}");

    // The machine restarts: nobody watches the run any more.
    drop(watched);
    assert!(unconfirmed(&machine.state).unwrap().is_none());
    assert!(interrupted(&machine.state).unwrap().is_some());
}

#[test]
fn what_is_confirmed_stays_and_what_is_not_goes() {
    for confirmed in [true, false] {
        let machine = Machine::new("/tmp");
        let changes = example(&machine);
        let old = machine.tree();
        let mut transaction =
            Transaction::begin(&machine.root, &machine.state, &machine.identity(), changes, Vec::new(), &waiting(60))
                .unwrap();
        let watched = watch(&machine.state, 1).unwrap();
        transaction.commit().unwrap();
        transaction.await_confirmation().unwrap();
        drop(transaction);
        let no = |_: &Journal, _| Err(Error::refused("the same login"));
        assert!(confirm(&machine.state, &machine.root, no).is_err() && own(&machine).is_none());
        if confirmed {
            let (journal, left) = confirm(&machine.state, &machine.root, |_, _| Ok(())).unwrap().unwrap();
            assert_eq!((journal.run.run, journal.entries.len(), left), (1, 4, Vec::new()));
            assert!(own(&machine).is_some() && machine.tree().len() == 3);
            assert!(confirm(&machine.state, &machine.root, |_, _| Ok(())).unwrap().is_none());
            assert!(roll_back_run(&machine.state, &machine.root, 1, |_, _| StillNamed::nothing()).unwrap().is_none());
            drop(watched);
            assert!(machine.undo());
        } else {
            let rolled_back =
                roll_back_run(&machine.state, &machine.root, 1, |_, _| StillNamed::nothing()).unwrap().unwrap();
            assert_eq!((rolled_back.restored.len(), rolled_back.reloads.len()), (4, 1));
            assert!(own(&machine).is_none());
            assert!(confirm(&machine.state, &machine.root, |_, _| Ok(())).unwrap().is_none());
        }
        assert_eq!(machine.tree(), old);
    }
}

#[test]
fn whoever_watches_in_vain_is_not_waited_for_for_ever() {
    let machine = Machine::new("/tmp");
    let mut transaction = begin(&machine, &waiting(-61)).unwrap();
    let _stopped = watch(&machine.state, 1).unwrap();
    transaction.commit().unwrap();
    transaction.await_confirmation().unwrap();
    drop(transaction);
    assert!(unconfirmed(&machine.state).unwrap().is_none());
    assert_eq!(machine.recover().unwrap().unwrap().rolled_back.restored.len(), 4);
}

/// A configuration that replaces another one, and a new list that it names.
fn list_and_configuration(machine: &Machine) -> Transaction {
    machine.put("d/conf", b"old configuration", 0o640);
    let mut transaction = machine
        .begin(vec![
            machine.change("d/list.krl", Some((b"a list", 0o644)), Order::WriteCertificate),
            machine.change("d/conf", Some((b"RevokedKeys list.krl", 0o644)), Order::WriteOther),
        ])
        .unwrap();
    transaction.commit().unwrap();
    transaction
}

#[test]
fn what_a_configuration_names_goes_when_sshd_has_been_told_and_not_before() {
    Machine::everywhere(|machine| {
        let mut transaction = list_and_configuration(machine);
        let list = machine.path("d/list.krl");
        transaction.note_reload_begins().unwrap();
        let done = transaction
            .roll_back(|_, done| {
                assert!(done.was_told && list.exists());
                assert_eq!(fs::read(machine.path("d/conf")).unwrap(), b"old configuration");
                StillNamed::nothing()
            })
            .unwrap();
        assert!(!list.exists() && done.left_alone.is_empty(), "{done:?}");
        drop(transaction);
        clear(machine);

        // sshd could not be told to reload.
        let mut transaction = list_and_configuration(machine);
        transaction.note_reload_begins().unwrap();
        let done = transaction.roll_back(|_, _| StillNamed::Unknown).unwrap();
        assert!(list.exists() && done.left_alone.len() == 1, "{done:?}");
        drop(transaction);
        clear(machine);

        // sshd was never told to reload.
        let mut transaction = list_and_configuration(machine);
        let never_read =
            |done: &RollbackReport| if done.was_told { StillNamed::Unknown } else { StillNamed::nothing() };
        let done = transaction.roll_back(|_, done| never_read(done)).unwrap();
        assert!(!list.exists() && done.left_alone.is_empty(), "{done:?}");
        drop(transaction);
        clear(machine);

        // Somebody has added lines to the configuration that names the list.
        let mut transaction = list_and_configuration(machine);
        transaction.note_reload_begins().unwrap();
        let theirs = |text: &str| {
            fs::write(machine.path("d/conf"), text).unwrap();
            StillNamed::Named(vec![(machine.path("d/conf"), text.as_bytes().to_vec())])
        };
        let named = theirs("RevokedKeys list.krl\n# theirs\n");
        let done = transaction.roll_back(|_, _| named).unwrap();
        assert!(list.exists() && done.left_alone.len() == 2, "{done:?}");
        drop(transaction);
        clear(machine);

        // Somebody has written another configuration, which does not name the list.
        let mut transaction = list_and_configuration(machine);
        transaction.note_reload_begins().unwrap();
        let named = theirs("# theirs\n");
        let done = transaction.roll_back(|_, _| named).unwrap();
        assert!(!list.exists() && done.left_alone.len() == 1, "{done:?}");
    });
}

#[test]
fn a_directory_that_is_no_longer_safe_keeps_nothing_else_from_being_put_back() {
    let machine = Machine::new("/tmp");
    let changes = example(&machine);
    let mut transaction = machine.begin(changes).unwrap();
    transaction.commit().unwrap();
    drop(transaction);
    let open = |mode| fs::set_permissions(machine.path("e"), fs::Permissions::from_mode(mode)).unwrap();
    open(0o777);
    assert!(machine.recover().is_err());
    assert_eq!(fs::read(machine.path("d/conf")).unwrap(), b"old configuration");
    open(0o755);
    machine.recover().unwrap().unwrap();
    assert_eq!(machine.path("e/key").metadata().unwrap().mode() & 0o777, 0o600);
}

#[test]
fn many_files_are_put_back_with_few_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let machine = Machine::new("/tmp");
    let change = |number: usize| {
        let name = format!("d/{number}");
        machine.put(&name, b"old", 0o600);
        machine.change(&name, Some((b"new", 0o600)), Order::WriteOther)
    };
    let mut transaction = machine.begin((0..600).map(change).collect()).unwrap();
    transaction.commit().unwrap();
    drop(transaction);
    let limit = getrlimit(Resource::Nofile);
    let few = rustix::process::Rlimit { current: Some(1024), maximum: limit.maximum };
    setrlimit(Resource::Nofile, few).unwrap();
    let recovered = machine.recover();
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(recovered.unwrap().unwrap().rolled_back.restored.len(), 600);
}

/// Its process is gone, and the process that rolls it back has locked it and waits for the directories.
#[test]
fn nothing_is_built_on_a_run_that_is_about_to_be_rolled_back() {
    let machine = Machine::new("/tmp");
    let changes = example(&machine);
    let mut transaction = machine.begin(changes).unwrap();
    transaction.commit().unwrap();
    drop(transaction);
    let watchdog = Run::open(&machine.state, 1).unwrap().unwrap();
    let new = machine.tree();
    let change = || vec![machine.change("d/conf", Some((b"on top", 0o644)), Order::WriteOther)];
    let elsewhere = vec![machine.change("e/other", Some((b"elsewhere", 0o644)), Order::WriteOther)];
    for changes in [change(), elsewhere] {
        let error = machine.begin(changes).unwrap_err().to_string();
        assert!(error.contains("run 1 (unix certify-host") && error.contains("has not ended"), "{error}");
        assert_eq!(machine.tree(), new);
    }
    drop(watchdog);
    machine.recover().unwrap().unwrap();
    assert_eq!(fs::read(machine.path("d/conf")).unwrap(), b"old configuration");
    machine.apply(change());
}

#[test]
fn a_journal_that_cannot_be_read_keeps_no_other_run_waiting() {
    let machine = Machine::new("/tmp");
    machine.apply(vec![machine.change("d/first", Some((b"1", 0o644)), Order::WriteOther)]);
    let changes = example(&machine);
    let old = machine.tree();
    let mut transaction = machine.begin(changes).unwrap();
    transaction.commit().unwrap();
    drop(transaction);
    let directory = machine.state.path().join("runs/1");
    fs::write(directory.join("journal.json"), "{").unwrap();
    let recovered = recover(&machine.state, &machine.root, |_, _| StillNamed::nothing()).unwrap().unwrap();
    assert_eq!((recovered.run.run, machine.tree()), (2, old));
    // The damaged run has ended, so it stops nothing and is only reported.
    assert_eq!(recover(&machine.state, &machine.root, |_, _| StillNamed::nothing()).unwrap(), None);
    let told: Vec<String> = damaged(&machine.state).unwrap().iter().map(ToString::to_string).collect();
    assert!(matches!(&told[..], [told] if told.contains("runs/1/journal.json cannot be read")), "{told:?}");
    let mut third = machine.begin(vec![machine.change("d/third", Some((b"3", 0o644)), Order::WriteOther)]).unwrap();
    third.commit().unwrap();
    // It is not known which runs could be folded.
    let left = third.keep().unwrap();
    assert!(matches!(&left[..], [left] if left.why.contains("runs/1/journal.json cannot be read")), "{left:?}");
    drop(third);
    assert_eq!(newest(&machine.state).unwrap().unwrap().run.run, 3);
    assert!(confirm(&machine.state, &machine.root, |_, _| Ok(())).unwrap().is_none());
    // While a process works on it, or one of its later states is still there, it may be unended.
    let lock = StateDir::find(&directory).unwrap().unwrap().try_lock().unwrap().unwrap();
    assert!(recover(&machine.state, &machine.root, |_, _| StillNamed::nothing()).is_err());
    drop(lock);
    fs::write(directory.join(State::Kept.file()), "{").unwrap();
    assert!(damaged(&machine.state).unwrap().is_empty());
    let error = recover(&machine.state, &machine.root, |_, _| StillNamed::nothing()).unwrap_err().to_string();
    assert!(error.contains("runs/1/journal.json cannot be read") && error.contains("away"), "{error}");
    assert!(machine.begin(vec![machine.change("d/conf", None, Order::RemoveOther)]).is_err());
    // The journal of another run tells nothing about this one.
    fs::copy(machine.state.path().join("runs/2/journal.json"), directory.join("journal.json")).unwrap();
    let error = recover(&machine.state, &machine.root, |_, _| StillNamed::nothing()).unwrap_err().to_string();
    assert!(error.contains("runs/1 is of another run") && error.contains("run 2's"), "{error}");
    fs::rename(&directory, machine.state.path().join("moved")).unwrap();
    assert_eq!(recover(&machine.state, &machine.root, |_, _| StillNamed::nothing()).unwrap(), None);
}
