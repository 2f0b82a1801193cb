//! A call that the request does not include, hidden in each way that a component allows. `policy check` exits with 5,
//! or says that it cannot tell.

use crate::support::{
    Machine,
    odd::{MEMORY, PROCEDURE, TYPES},
    policy,
};
use std::fs;

const REQUEST: &str = "name = \"mine\"\nversion = \"1.0.0\"\n[procedure.go]\nsummary = \"s\"\nlog = [\"info\"]\n";

/// A component whose procedure `go` is the function `f` of the core instance `$i`, which `core` defines. The procedure
/// calls `log.info`. `$hidden` is `schedule.none`, which is not in its request.
fn component(core: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(component {TYPES}
        (import "warded:host/log@0.1.0" (instance $log
            (export "info" (func (param "message" string))) (export "warn" (func (param "message" string)))))
        (import "warded:host/schedule@0.1.0" (instance $schedule {HIDDEN}))
        {MEMORY}
        (core func $info (canon lower (func $log "info") (memory $memory "memory")))
        (core func $warn (canon lower (func $log "warn") (memory $memory "memory")))
        (core func $hidden (canon lower (func $schedule "none") (memory $memory "memory") (realloc (func $memory "realloc"))))
        (core instance $host
            (export "info" (func $info)) (export "warn" (func $warn)) (export "hidden" (func $hidden)))
        {core} {PROCEDURE})"#
    ))
    .unwrap_or_else(|error| panic!("{error}"))
}

/// The function `none` of the interface `schedule`.
const HIDDEN: &str = r#"
    (alias outer 1 $error (type $its_error))
    (export "none" (func (result (result bool (error $its_error)))))"#;

/// One core module, which imports `$info` and `$hidden`, and whose procedure has this body.
fn module(fields: &str, body: &str) -> String {
    format!(
        r#"(core module $m (type $plain (func (param i32)))
            (import "host" "info" (func $info (param i32 i32))) (import "host" "hidden" (func $hidden (param i32)))
            {fields}
            (func (export "f") (param i32 i32) (result i32)
                (call $info (i32.const 0) (i32.const 0)) {body} i32.const 8))
        (core instance $i (instantiate $m (with "host" (instance $host))))"#
    )
}

#[test]
fn a_call_that_is_not_asked_for_is_found_wherever_it_is() {
    let machine = Machine::stopped();
    let file = machine.path("mine.wasm");
    let check = |core: &str| {
        fs::write(&file, policy::asking(&component(core), REQUEST)).unwrap();
        machine.warded(["policy", "check", file.to_str().unwrap()])
    };
    check(&module("", "")).ends(0).prints(&["It asks for what it can call, and for nothing else."]);
    let through = "(call_indirect $t (type $plain) (i32.const 1024) (i32.const 1))";
    let element = "(table $t 8 funcref) (elem (table $t) (i32.const 1) func $hidden)";
    for (what, core) in [
        ("a call", module("", "(call $hidden (i32.const 1024))")),
        ("a function table", module(element, through)),
        (
            "a passive element segment",
            module(
                "(table $t 8 funcref) (elem $e func $hidden)",
                &format!("(table.init $t $e (i32.const 1) (i32.const 0) (i32.const 1)) {through}"),
            ),
        ),
        (
            "table.set",
            module(
                "(table $t 8 funcref) (elem declare func $hidden)",
                &format!("(table.set $t (i32.const 1) (ref.func $hidden)) {through}"),
            ),
        ),
        ("a start function", module("(func $start (call $hidden (i32.const 1024))) (start $start)", "")),
        (
            "a second core module",
            r#"(core module $second (import "host" "hidden" (func $hidden (param i32)))
                    (func (export "hidden") (param i32) (call $hidden (local.get 0))))
                (core instance $second (instantiate $second (with "host" (instance $host))))
                (core module $m (import "second" "hidden" (func $hidden (param i32)))
                    (import "host" "info" (func $info (param i32 i32)))
                    (func (export "f") (param i32 i32) (result i32)
                        (call $info (i32.const 0) (i32.const 0)) (call $hidden (i32.const 1024)) i32.const 8))
                (core instance $i (instantiate $m (with "second" (instance $second)) (with "host" (instance $host))))"#
                .to_owned(),
        ),
        ("a nested component", format!("(component $inner) {}", module("", "(call $hidden (i32.const 1024))"))),
    ] {
        let run = check(&core).ends(5);
        let finding = "go: it can call schedule.none, and the request does not ask for it";
        assert!(run.stdout.contains(finding), "{what}: {}", run.stdout);
    }
}

/// A part that cannot be analysed may call every function of an interface of which something is granted: an interpreter
/// imports all of it. That is not a finding, but it is reported.
#[test]
fn what_a_component_within_could_call_is_said() {
    let machine = Machine::stopped();
    let file = machine.path("mine.wasm");
    let text = format!(
        r#"(component {TYPES}
        (import "warded:host/log@0.1.0" (instance $log
            (export "info" (func (param "message" string))) (export "warn" (func (param "message" string)))))
        {MEMORY}
        (core func $info (canon lower (func $log "info") (memory $memory "memory")))
        (component $inner)
        (core module $m (import "host" "info" (func $info (param i32 i32)))
            (func (export "f") (param i32 i32) (result i32) (call $info (i32.const 0) (i32.const 0)) i32.const 8))
        (core instance $i (instantiate $m (with "host" (instance (export "info" (func $info))))))
        {PROCEDURE})"#
    );
    fs::write(&file, policy::asking(&wat::parse_str(text).unwrap(), REQUEST)).unwrap();
    let path = file.to_str().unwrap();
    let note =
        "it contains another component: it is not known whether it calls log.warn, and nothing allows such a call";
    machine.warded(["policy", "check", path]).ends(0).prints(&[&format!("note: go: {note}")]);
    let object = machine.warded(["policy", "check", path, "--json"]).ends(0).object("warded.policy-check/1");
    assert_eq!(object["notes"], serde_json::json!([format!("go: {note}")]));
    machine.warded(["audit", path]).ends(0).prints(&[note]);
    let audit = machine.warded(["audit", path, "--json"]).ends(0).object("warded.audit/1");
    assert_eq!(audit["procedures"][0]["not_ruled_out"], serde_json::json!(["log.warn"]));
    machine.warded(["policy", "add", path, "--accept-risk", "unsigned-policy"]).ends(2).prints(&[note]);
}
