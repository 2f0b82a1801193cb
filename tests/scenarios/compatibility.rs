//! Guests that were made for other versions of the interfaces.

use crate::support::{Grants, Machine, script::Script};

/// A guest that says something, made for this version of `warded:host`: its name is in the component, as often as it is
/// imported.
fn made_for(version: &str) -> Vec<u8> {
    let mut script = Script::new("");
    script.says("info", "it runs");
    let mut component = script.component();
    let ours = b"@0.1.0";
    assert_eq!(version.len(), ours.len(), "another length would not fit in its place");
    let places: Vec<usize> = (0..component.len()).filter(|at| component[*at..].starts_with(ours)).collect();
    assert!(!places.is_empty());
    for at in places {
        component[at..at + ours.len()].copy_from_slice(version.as_bytes());
    }
    component
}

#[test]
fn a_guest_for_a_compatible_version_runs_and_another_one_is_refused_in_words() {
    let machine = Machine::stopped();
    let with = |version: &str| {
        Grants::of(&["log = [\"info\"]"]).write(&machine.path("policies"), "case", "go", &made_for(version));
        machine.warded(["plan", "go"])
    };
    for version in ["@0.1.0", "@0.1.9"] {
        with(version).ends(0).prints(&["it runs"]);
    }
    for (version, made_for, needed) in [
        ("@0.2.0", "a newer Warded", "warded:host 0.2"),
        ("@1.0.0", "a newer Warded", "warded:host 1.0"),
        ("@0.0.9", "an older Warded", "warded:host 0.0"),
    ] {
        let made_for = format!("the component is made for {made_for}");
        let needed = format!("it needs {needed}; this Warded has warded:host 0.1");
        with(version).ends(5).says(&[&made_for, &needed, "nothing of it was compiled or run"]);
        let list = machine.warded(["policy", "list"]).ends(0).stdout;
        assert!(list.contains(&format!("cannot be run: {made_for}")), "{list}");
        let shown = machine.warded(["policy", "show", "case", "--json"]).ends(0).object("warded.policy-show/1");
        assert_eq!(shown["policy"]["broken"], made_for, "{shown}");
    }
    with("@0.1.9");
    let shown = machine.warded(["policy", "show", "case", "--json"]).ends(0).object("warded.policy-show/1");
    assert_eq!(shown["policy"]["broken"], serde_json::Value::Null, "{shown}");
}
