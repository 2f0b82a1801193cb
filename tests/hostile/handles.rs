//! Handles that nobody gave: every function that takes one, and the end of every one.

use crate::support::{
    Grants, Machine, Run,
    calls::{self, Calls},
    guest::Guest,
};

#[test]
fn a_handle_that_was_made_up_ends_the_run() {
    let machine = Machine::stopped();
    let takes_handles: Vec<_> =
        calls::all().into_iter().filter(|one| !one.is_freestanding() || one.interface == "authority").collect();
    let mut tried = 0;
    for function in takes_handles {
        let text = |_: &str, _: &str| "localhost".to_owned();
        let mut calls = Calls::new(&text).forged();
        calls.call(&function);
        let guest = calls.guest();
        if guest.fields.contains("(i32.const 7)") {
            ends(&machine, &guest, &function.capability());
            tried += 1;
        }
    }
    for (module, resource) in calls::resources() {
        let imports = format!("(import \"{module}\" \"[resource-drop]{resource}\" (func $drop (param i32)))");
        ends(&machine, &Guest::doing(&imports, "", "(call $drop (i32.const 7))"), &resource);
        tried += 1;
    }
    assert!(tried >= 17, "only {tried} cases");
}

fn ends(machine: &Machine, guest: &Guest, what: &str) {
    let before = machine.tree();
    Grants::of(&[]).write(&machine.path("policies"), "case", "go", &guest.component());
    let records = machine.audit().len();
    let run: Run = machine.warded(["apply", "go", "--policy", "case", "--yes"]);
    run.ends(5).says(&["go was stopped: ", "handle", "nothing was changed"]);
    let audit = machine.audit();
    let new: Vec<_> = audit[records..].iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert_eq!(new, ["started", "ended"], "{what}");
    assert_eq!(before, machine.tree(), "{what}");
}
