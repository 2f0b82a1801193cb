//! The journal of a run, which may be cut off, of another version, or anything: it is read whole or
//! refused, and what is read is written as it was. Nothing is rolled back here.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{fs, sync::OnceLock};
use warded_fuzz::{
    is_harmless,
    machine::private::StateDir,
    scratch,
    transaction::{self, Journal},
};

fuzz_target!(|data: &[u8]| {
    static STATE: OnceLock<StateDir> = OnceLock::new();
    let state = STATE.get_or_init(|| {
        let state = StateDir::open(&scratch().join("state")).unwrap();
        state.sub("runs/7").unwrap();
        state
    });
    fs::write(state.path().join("runs/7/journal.json"), data).unwrap();
    match transaction::look(state, 7) {
        Ok(journal) => {
            let journal = journal.unwrap();
            let text = serde_json::to_vec(&journal).unwrap();
            let mut read: Journal = serde_json::from_slice(&text).unwrap();
            read.state = journal.state;
            assert_eq!(read, journal);
            let interrupted = transaction::interrupted(state).unwrap();
            assert_eq!(interrupted.is_some(), !journal.is_final());
            assert!(transaction::unconfirmed(state).unwrap().is_none(), "nobody watches it");
            is_harmless(&journal.until());
        }
        Err(error) => {
            is_harmless(&error.to_string());
            // Nothing of it is left to be done, so it has ended, and is told.
            assert!(transaction::interrupted(state).unwrap().is_none());
            assert!(transaction::unconfirmed(state).unwrap().is_none());
            assert_eq!(transaction::damaged(state).unwrap().len(), 1);
            // With a later state beside it nobody knows.
            let later = state.path().join("runs/7/journal.kept");
            fs::write(&later, "").unwrap();
            assert!(transaction::interrupted(state).is_err() && transaction::unconfirmed(state).is_err());
            assert!(transaction::damaged(state).unwrap().is_empty());
            fs::remove_file(later).unwrap();
        }
    }
});
