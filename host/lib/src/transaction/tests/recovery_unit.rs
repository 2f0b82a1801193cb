//! The unit that recovers interrupted runs stays until the run that removes it is kept.

use super::*;
use crate::machine::schedule::{MARK, recovers};

/// A unit like the one of a schedule.
fn unit() -> Vec<u8> {
    format!("{MARK}\n[Service]\nExecStart=/usr/local/bin/warded recover\n").into_bytes()
}

#[test]
fn stopped_after_any_step_it_is_there_or_the_run_is_kept() {
    Machine::everywhere(|machine| {
        let mut kept = 0;
        for number in 1.. {
            machine.put("e/unit", &unit(), 0o644);
            let mut changes = example(machine);
            changes.push(machine.change("e/unit", None, Order::RemoveRecovery));
            let old = machine.tree();
            let killed = kill_at(number, || {
                let mut transaction = machine.begin(changes).unwrap();
                assert!(transaction.retires_recovery());
                transaction.commit().unwrap();
                transaction.keep().unwrap();
            });
            if interrupted(&machine.state).unwrap().is_some() {
                assert!(machine.path("e/unit").exists(), "point {number}");
                machine.recover().unwrap().unwrap();
                assert_eq!(machine.tree(), old, "point {number}");
            } else {
                machine.recover().unwrap();
                let is_kept = fs::read(machine.path("d/conf")).unwrap() == b"new configuration";
                assert_eq!(machine.path("e/unit").exists(), !is_kept, "point {number}");
                kept += usize::from(is_kept);
            }
            if !killed {
                break;
            }
        }
        assert!(kept > 3, "{kept}");
    });
}

#[test]
fn an_undo_takes_it_out_last() {
    let machine = Machine::new("/tmp");
    let unit = unit();
    assert!(recovers(&unit));
    machine.apply(vec![
        machine.change("e/unit", Some((&unit, 0o644)), Order::WriteOther),
        machine.change("d/conf", Some((b"text", 0o644)), Order::WriteOther),
    ]);
    for which in [UndoScope::Newest, UndoScope::All(Edits::Refuse)] {
        let undo = undo_changes(&machine.state, &machine.root, which).unwrap().unwrap();
        let orders: Vec<Order> = undo.changes.iter().map(|change| change.order).collect();
        assert!(orders.contains(&Order::RemoveRecovery) && orders.contains(&Order::RemoveOther), "{orders:?}");
    }
    let undo = undo_changes(&machine.state, &machine.root, UndoScope::Newest).unwrap().unwrap();
    let mut transaction = machine.begin(undo.changes).unwrap();
    transaction.commit().unwrap();
    assert!(machine.path("e/unit").exists() && !machine.path("d/conf").exists());
    assert_eq!(transaction.keep().unwrap(), []);
    assert!(!machine.path("e/unit").exists());
}

/// Removing it loses nobody's edit.
#[test]
fn one_that_was_edited_meanwhile_stays() {
    let machine = Machine::new("/tmp");
    machine.put("e/unit", &unit(), 0o644);
    let mut transaction = machine.begin(vec![machine.change("e/unit", None, Order::RemoveRecovery)]).unwrap();
    transaction.commit().unwrap();
    machine.put("e/unit", b"somebody's", 0o644);
    let left = transaction.keep().unwrap();
    assert_eq!(fs::read(machine.path("e/unit")).unwrap(), b"somebody's");
    assert_eq!(left.len(), 1, "{left:?}");
}
