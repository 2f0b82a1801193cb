//! Components that do not fit their policy: other imports, other exports, damaged bytes.

use super::{
    case::{Case, case},
    record::Record,
};
use crate::support::{
    Machine,
    guest::{Guest, procedure},
    odd::{DOING_NOTHING, MEMORY, PROCEDURE, TYPES, composed},
};
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = imports();
    cases.extend(exports());
    cases.extend(damaged());
    cases
}

fn guest(change: impl Fn(&mut Guest)) -> Vec<u8> {
    let mut guest = Guest::doing("", "", "");
    change(&mut guest);
    guest.component()
}

fn is(name: &str, component: fn() -> Vec<u8>) -> Case<()> {
    case(name).made_as(move |_| component())
}

fn text(component: &str) -> Vec<u8> {
    wat::parse_str(component).unwrap()
}

/// A component with the right procedure and this import.
fn importing(what: &str) -> Vec<u8> {
    let module = format!("(core module $m {DOING_NOTHING})");
    text(&format!(
        "(component (import {what}) {TYPES} {MEMORY} {module} (core instance $i (instantiate $m)) {PROCEDURE})"
    ))
}

/// A component with the right procedure and a further export.
fn with_export(more: &str) -> Vec<u8> {
    let module = format!("(core module $m {DOING_NOTHING})");
    text(&format!("(component {TYPES} {MEMORY} {module} (core instance $i (instantiate $m)) {PROCEDURE} {more})"))
}

/// Imports that the host does not offer, or offers with another type.
fn imports() -> Vec<Case> {
    vec![
        is("imports of WASI", || {
            guest(|guest| {
                guest.package = Some("package wasi:cli@0.2.0; interface environment { f: func(); }".to_owned());
                guest.world = "import wasi:cli/environment@0.2.0;".to_owned();
                guest.imports = r#"(import "wasi:cli/environment@0.2.0" "f" (func $f))"#.to_owned();
                guest.fields = procedure("go", "(call $f)");
            })
        })
        .ends_refused(&["imports what no procedure gets", "wasi:cli/environment@0.2.0", "nothing of it was compiled"]),
        is("imports of a function of its own", || {
            guest(|guest| {
                guest.world = "import run: func(command: string);".to_owned();
                guest.imports = r#"(import "$root" "run" (func $run (param i32 i32)))"#.to_owned();
                guest.fields = procedure("go", "(call $run (i32.const 0) (i32.const 0))");
            })
        })
        .ends_refused(&["imports what no procedure gets", "run"]),
        is("imports of another version", || {
            importing(r#""warded:host/files@9.0.0" (instance (export "read" (func)))"#)
        })
        .ends_refused(&["made for a newer Warded", "needs warded:host 9.0; this Warded has warded:host 0.1"]),
        is("imports of a version before a release", || {
            importing(r#""warded:host/files@0.1.0-rc.1" (instance (export "read" (func)))"#)
        })
        .ends_refused(&["made for another version of Warded", "warded:host/files@0.1.0-rc.1"]),
        is("imports of a function that a later version has", || {
            importing(r#""warded:host/log@0.1.9" (instance (export "shout" (func (param "message" string))))"#)
        })
        .ends_refused(&["made for a newer Warded", "it needs log.shout, which this Warded does not have"]),
        is("a record with one more field", || {
            importing(
                r#""warded:host/services@0.1.0" (instance
                    (type $s (record (field "name" string) (field "value" string)))
                    (export "setting" (type $setting (eq $s)))
                    (type $e (record (field "code" string) (field "message" string) (field "details" (list $setting))
                        (field "more" string)))
                    (export "error" (type $error (eq $e)))
                    (export "reload" (func (param "name" string) (result (result (error $error))))))"#,
            )
        })
        .ends_refused(&["made for another version of Warded", "services.reload with other types than this Warded has"]),
        is("imports of an interface that is not there", || {
            importing(r#""warded:host/shell@0.1.0" (instance (export "run" (func)))"#)
        })
        .ends_refused(&["made for a newer Warded", "it needs shell.run, which this Warded does not have"]),
        is("imports of a function by another type", || {
            importing(r#""warded:host/log@0.1.0" (instance (export "info" (func (param "path" u64))))"#)
        })
        .ends_refused(&["made for another version of Warded", "it needs log.info with other types"]),
        is("imports of a core module", || {
            text(r#"(component (import "warded" (core module)))"#)
        })
        .ends_refused(&["imports what no procedure gets"]),
        is("imports in a component within", || {
            text(
                r#"(component (component $inner (import "wasi:cli/run@0.2.0" (instance)))
                   (import "wasi:io/poll@0.2.0" (instance $poll)) (instance (instantiate $inner (with "wasi:cli/run@0.2.0" (instance $poll)))))"#,
            )
        })
        .ends_refused(&["imports what no procedure gets"]),
    ]
}

/// Exports that differ from what the policy describes.
fn exports() -> Vec<Case> {
    vec![
        is("one procedure more", || {
            guest(|guest| {
                guest.exports.push("more".to_owned());
                guest.fields.push_str(&procedure("more", ""));
            })
        })
        .ends(&[0], &["Nothing to do"], Record::of("done").saying(&["nothing to do"])),
        is("an export more, of another type", || {
            with_export(
                r#"(core module $x (func (export "x") unreachable))
            (core instance $x (instantiate $x)) (func $x (canon lift (core func $x "x"))) (export "init" (func $x))"#,
            )
        })
        .ends(&[0], &["Nothing to do"], Record::of("done").saying(&["nothing to do"])),
        is("an instance more", || with_export(r#"(instance $x) (export "exports" (instance $x))"#)).ends(
            &[0],
            &["Nothing to do"],
            Record::of("done").saying(&["nothing to do"]),
        ),
        is("no procedure", || text("(component)")).ends_refused(&[
            "policy case describes procedures that its component does not have",
            "describes go, which the component does not export",
        ]),
        is("a procedure of another type", || {
            text(
                r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
                   (func $f (canon lift (core func $i "f"))) (export "go" (func $f)))"#,
            )
        })
        .ends_refused(&["exports go, which does not have the type of a procedure"]),
        is("a component of two, one calling the other", composed).ends(
            &[0],
            &["Nothing to do"],
            Record::of("done").saying(&["nothing to do"]),
        ),
        is("an instance for a procedure", || text(r#"(component (instance $i) (export "go" (instance $i)))"#))
            .ends_refused(&["exports go, which is not a function"]),
        is("a core module", || text("(module)")).ends_refused(&["not a WebAssembly component"]),
        is("nothing", Vec::new).ends_refused(&["not a WebAssembly component"]),
        is("a script", || b"#!/bin/sh\nreboot\n".to_vec()).ends_refused(&["not a WebAssembly component"]),
        is("a component for another policy", || guest(|_| {})).with_another_digest().ends(
            &[5],
            &["is not the one that was accepted"],
            Record::of("failed").saying(&["is not the one that was accepted"]),
        ),
    ]
}

/// The bundled component with one bit changed in each of its regions: another bit every day.
fn damaged() -> Vec<Case> {
    const WHOLE: &[u8] = include_bytes!("../../policies/demo.wasm");
    const REGIONS: usize = 24;
    let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let day = usize::try_from(days).unwrap();
    let mut cases: Vec<Case<()>> = (0..REGIONS)
        .map(|region| {
            let size = WHOLE.len() / REGIONS;
            let at = region * size + day * 7919 % size;
            // The region is always the same, so that the case can be named on the command line. The byte and its bit
            // depend on the day.
            let name = format!("damaged in part {} of {REGIONS}, today byte {at} bit {}", region + 1, day % 8);
            case(name).made_as(move |_: &Machine| {
                let mut bytes = WHOLE.to_vec();
                bytes[at] ^= 1 << (day % 8);
                bytes
            })
        })
        .collect();
    cases.push(case("half of a component").made_as(|_| WHOLE[..WHOLE.len() / 2].to_vec()));
    // The component exports another procedure than the policy describes, so that Warded refuses even an undamaged one.
    // Which of these refusals it is depends on the byte.
    let refusals = [
        "refused: this is not a WebAssembly component",
        "refused: this is not a valid WebAssembly component",
        "refused: the component imports what no procedure gets",
        "refused: the component cannot be compiled",
        "refused: the component is made for a newer Warded",
        "refused: the component is made for another version of Warded",
        "refused: policy case describes procedures that its component does not have",
        "which is not a function",
    ];
    let record = || Record::of("ended").saying(&refusals);
    cases.into_iter().map(|case| case.ends(&[5], &["refused: "], record())).collect()
}
