//! Runs of earlier versions: the state is in the journal, each later state is a whole journal beside it, and each copy
//! is a file.

use super::*;
use crate::transaction::archive::Archive;
use serde_json::Value;
use zeroize::Zeroizing;

impl Machine {
    /// Makes a run look as an earlier version would have left it.
    fn as_earlier_version(&self, number: u64) {
        let run = self.state.sub(&format!("runs/{number}")).unwrap();
        let mut journal: Value = serde_json::from_slice(&run.read("journal.json").unwrap().unwrap()).unwrap();
        journal["schema"] = "warded.journal/1".into();
        let mut write = |name: &str, state: &str| {
            journal["state"] = state.into();
            run.remove(name).unwrap();
            run.write(name, &serde_json::to_vec_pretty(&journal).unwrap(), 0o600).unwrap();
        };
        for state in State::ALL.into_iter().filter(|state| *state != State::Prepared) {
            if let Some(word) = run.word(state.file()).unwrap() {
                write(state.file(), &word);
            }
        }
        write("journal.json", &run.word("journal.state").unwrap().unwrap());
        run.remove("journal.state").unwrap();
        let bytes: Vec<u8> = run.read("copies.tar").unwrap().unwrap().to_vec();
        for (name, copy) in Archive::parse(Zeroizing::new(bytes)).unwrap().files() {
            let (kind, number) = name.split_once('/').unwrap();
            run.sub(kind).unwrap().write(number, copy, 0o600).unwrap();
        }
        run.remove("copies.tar").unwrap();
        run.remove("watch").unwrap();
    }

    fn names(&self, number: u64) -> Vec<String> {
        self.state.sub(&format!("runs/{number}")).unwrap().names().unwrap()
    }
}

#[test]
fn one_that_was_interrupted_is_rolled_back() {
    Machine::everywhere(|machine| {
        for number in 1.. {
            let (old, run) = committed(machine);
            machine.as_earlier_version(run);
            let killed = kill_at(number, || drop(machine.recover().unwrap()));
            machine.recover().unwrap();
            assert_eq!(machine.tree(), old, "point {number}");
            assert_eq!(machine.names(run), ["journal.json"]);
            if !killed {
                assert!(number > 8);
                break;
            }
        }
    });
}

#[test]
fn one_that_was_kept_is_undone_and_folded() {
    for number in [1, retain::RUNS_KEPT + 5] {
        let machine = Machine::new("/dev/shm");
        let changes = example(&machine);
        let start = machine.tree();
        machine.apply(changes);
        machine.as_earlier_version(1);
        assert_eq!(machine.names(1), ["journal.json", "new", "old"]);
        for number in 1..=number {
            let contents = format!("certificate {number}");
            machine.apply(vec![machine.change("d/cert", Some((contents.as_bytes(), 0o644)), Order::WriteCertificate)]);
            if number == 1 {
                machine.as_earlier_version(2);
            }
        }
        let journal = machine.state.read("runs/1/journal.json").unwrap().unwrap();
        let journal: Value = serde_json::from_slice(&journal).unwrap();
        let is_folded = number > retain::RUNS_KEPT;
        let schema = if is_folded { "warded.journal/2" } else { "warded.journal/1" };
        assert_eq!((journal["schema"].as_str(), journal["state"].is_null()), (Some(schema), is_folded));
        while machine.undo() {}
        assert_eq!(machine.tree(), start, "after {number} more");
    }
}

/// The watching process of that version reads the state where that version wrote it.
#[test]
fn one_that_waits_is_confirmed_in_its_own_journal() {
    let machine = Machine::new("/tmp");
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60);
    let followup = Followup { confirm: Some(Confirm { until, since: None }), ..followup() };
    let changes = example(&machine);
    let mut transaction =
        Transaction::begin(&machine.root, &machine.state, &machine.identity(), changes, Vec::new(), &followup).unwrap();
    transaction.commit().unwrap();
    transaction.await_confirmation().unwrap();
    drop(transaction);
    machine.as_earlier_version(1);
    let _watched = watch(&machine.state, 1).unwrap();
    assert!(unconfirmed(&machine.state).unwrap().is_some());
    confirm(&machine.state, &machine.root, |_, _| Ok(())).unwrap().unwrap();
    let journal: Value = serde_json::from_slice(&machine.state.read("runs/1/journal.json").unwrap().unwrap()).unwrap();
    assert_eq!(journal["state"], "kept");
    assert_eq!(machine.names(1), ["journal.json", "new", "old", "watch"]);
}
