//! Handles that the host never gave out: every function that takes one, and the drop of every resource.

use super::{
    case::{Case, case},
    record::Record,
};
use crate::support::{
    calls::{self, Calls},
    guest::Guest,
};

pub(super) fn cases() -> Vec<Case> {
    let takes_handles = calls::all().into_iter().filter(|one| !one.is_freestanding() || one.interface == "authority");
    let mut cases: Vec<Case> = takes_handles
        .filter_map(|function| {
            let text = |_: &str, _: &str| "localhost".to_owned();
            let mut calls = Calls::new(&text).forged();
            calls.call(&function);
            let guest = calls.guest();
            // Of the functions that are not methods, some take no handle.
            let takes_one = guest.fields.contains("(i32.const 7)");
            takes_one.then(|| made_up(&format!("a handle that was made up, for {}", function.capability()), &guest))
        })
        .collect();
    cases.extend(calls::resources().into_iter().map(|(module, resource)| {
        let imports = format!("(import \"{module}\" \"[resource-drop]{resource}\" (func $drop (param i32)))");
        let guest = Guest::doing(&imports, "", "(call $drop (i32.const 7))");
        made_up(&format!("a handle that was made up, of a {resource}, and its end"), &guest)
    }));
    assert!(cases.len() >= 17, "only {} cases", cases.len());
    cases
}

/// The host stops such a guest before it decides anything: the guest asked for nothing, so nothing is denied.
fn made_up(name: &str, guest: &Guest) -> Case {
    let component = guest.component();
    let stopped = case(name).made_as(move |_| component.clone()).ends_stopped("unknown handle index 7");
    ["asked", "denied", "failed", "done"].into_iter().fold(stopped, |case, kind| case.also(Record::of(kind).never()))
}
