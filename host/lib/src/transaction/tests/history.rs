//! What counts as a run of its own: renewals belong to the run whose certificates they renewed.

use super::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};

impl Machine {
    /// A renewal: one certificate is replaced by another.
    fn renew(&self, number: usize) {
        self.apply(vec![self.change("d/cert", Some((&certificate(number), 0o644)), Order::WriteCertificate)]);
    }

    fn certify(&self) {
        self.apply(vec![
            self.change("d/cert", Some((&certificate(0), 0o644)), Order::WriteCertificate),
            self.change("d/conf", Some((b"HostCertificate d/cert\n", 0o644)), Order::WriteOther),
        ]);
    }

    fn configure(&self, text: &str) {
        self.apply(vec![self.change("e/conf", Some((text.as_bytes(), 0o644)), Order::WriteOther)]);
    }

    fn outcomes(&self) -> Vec<(u64, Outcome, WayBack)> {
        let history = history(&self.state).unwrap();
        assert!(history.fault.is_none());
        history.runs.iter().map(|past| (past.journal.run.run, past.outcome, past.way_back)).collect()
    }
}

fn certificate(number: usize) -> Vec<u8> {
    const NAME: &str = "ssh-ed25519-cert-v01@openssh.com";
    let blob = [&32_u32.to_be_bytes()[..], NAME.as_bytes(), format!("{number}").as_bytes()].concat();
    format!("{NAME} {} {number}\n", STANDARD.encode(blob)).into_bytes()
}

#[test]
fn renewals_go_with_the_run_that_they_renewed() {
    let machine = Machine::new("/tmp");
    let start = machine.tree();
    machine.certify();
    machine.renew(1);
    machine.renew(2);
    machine.configure("one");
    let written = machine.tree();
    machine.renew(3);
    let refused = |which| Error::from(undo_changes(&machine.state, &machine.root, which).unwrap_err());
    assert!(refused(UndoScope::Only(5)).to_string().contains("warded undo 4 "), "{}", refused(UndoScope::Only(5)));
    assert_eq!(refused(UndoScope::Only(1)).exit(), crate::error::Exit::Refused);
    let undo = undo_changes(&machine.state, &machine.root, UndoScope::Only(4)).unwrap().unwrap();
    assert_eq!((undo.runs(), undo.count, undo.is_one_step, undo.earlier), (4..=5, 2, true, Some(1)));
    let undo = undo_changes(&machine.state, &machine.root, UndoScope::DownTo(2)).unwrap().unwrap();
    assert_eq!((undo.runs(), undo.count, undo.is_one_step, undo.earlier), (2..=5, 4, false, Some(1)));
    assert!(machine.undo());
    let conf = written.keys().filter(|name| *name != "e/conf").cloned().collect::<Vec<_>>();
    assert_eq!(machine.tree().into_keys().collect::<Vec<_>>(), conf);
    use {
        Outcome::{Kept, Undone},
        WayBack::{Next, With},
    };
    let undone = |run| (run, Undone(6), WayBack::None);
    assert_eq!(
        machine.outcomes(),
        [(6, Kept, WayBack::None), undone(5), undone(4), (3, Kept, With(1)), (2, Kept, With(1)), (1, Kept, Next)]
    );
    assert!(machine.undo());
    assert_eq!(machine.tree(), start);
    assert!(!machine.undo());
}

#[test]
fn new_terms_are_no_renewal() {
    let machine = Machine::new("/tmp");
    machine.certify();
    let change = machine.change("d/cert", Some((&certificate(1), 0o644)), Order::WriteCertificate);
    let identity = RunIdentity { enrols: true, ..machine.identity() };
    let mut transaction =
        Transaction::begin(&machine.root, &machine.state, &identity, vec![change], Vec::new(), &followup()).unwrap();
    transaction.commit().unwrap();
    transaction.keep().unwrap();
    drop(transaction);
    machine.renew(2);
    let undo = undo_changes(&machine.state, &machine.root, UndoScope::Newest).unwrap().unwrap();
    assert_eq!(undo.runs(), 2..=3);
}

/// Twenty runs besides renewals can be undone; the number of renewals kept is limited, too.
#[test]
fn renewals_push_no_run_out() {
    let machine = Machine::new("/dev/shm");
    let start = machine.tree();
    machine.certify();
    for number in 0..60 {
        machine.renew(number + 1);
        if number % 3 == 0 {
            machine.configure(&format!("{number}"));
        }
    }
    let ways: Vec<_> = machine.outcomes().into_iter().map(|(_, _, way_back)| way_back).collect();
    let renewals = ways.iter().filter(|way_back| matches!(way_back, WayBack::With(_))).count();
    assert_eq!((ways.len() - renewals, renewals), (retain::RUNS_KEPT, retain::RUNS_KEPT));
    assert_eq!((0..).take_while(|_| machine.undo()).count(), retain::RUNS_KEPT);
    assert_eq!(machine.tree(), start);
}

/// A number reserved before other runs, and used after their undo, would count as undone with them.
#[test]
fn a_number_that_an_undo_has_spent_begins_no_run() {
    let machine = Machine::new("/tmp");
    machine.certify();
    let change = machine.change("e/x", Some((b"x", 0o644)), Order::WriteOther);
    let late = machine.identity();
    machine.renew(1);
    assert!(machine.undo());
    let begin = |identity: &RunIdentity| {
        let change = vec![change.clone()];
        Transaction::begin(&machine.root, &machine.state, identity, change, Vec::new(), &followup()).map(drop)
    };
    let refused = begin(&late).unwrap_err();
    assert!(refused.to_string().contains("was made after this was planned"), "{refused}");
    begin(&machine.identity()).unwrap();
}
