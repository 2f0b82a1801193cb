//! Each limit on a guest: it ends the run with words that name the limit, on record, with nothing
//! changed. (The one on a host call takes half a minute to reach, and is not here.)

use crate::support::{
    Grants, Machine, Run,
    guest::{Guest, data},
};
use std::time::{Duration, Instant};

/// Runs a guest that goes on until it is stopped.
#[track_caller]
fn stopped(grants: &[&str], imports: &str, fields: &str, body: &str, says: &[&str]) {
    let machine = Machine::stopped();
    let before = machine.tree();
    let guest = Guest::doing(imports, fields, body).component();
    Grants::of(grants).write(&machine.path("policies"), "case", "go", &guest);
    let start = Instant::now();
    let run: Run = machine.warded(["apply", "go", "--policy", "case", "--yes"]);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    run.ends(5).says(&["refused: ", " was stopped: ", "nothing was changed"]).says(says);
    assert_eq!(before, machine.tree());
    let last = machine.audit().pop().unwrap();
    assert_eq!(last["kind"], "ended");
    assert!(last["detail"].as_str().unwrap().contains("was stopped"), "{last}");
}

/// What is done over and over.
fn for_ever(body: &str) -> String {
    format!("(loop $again {body} (br $again))")
}

#[test]
fn time() {
    stopped(&[], "", "", &for_ever(""), &["it computed for more than 10 s"]);
}

#[test]
fn time_counts_what_passes_between_calls_too() {
    let calls = for_ever(
        "(call $info (i32.const 0) (i32.const 0)) (local.set 0 (i32.const 300000000)) (loop $spin (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if $spin (local.get 0)))",
    );
    stopped(&["log = [\"info\"]"], LOG, "", &calls, &["it computed for more than 10 s"]);
}

#[test]
fn memory() {
    stopped(&[], "", "", "(drop (memory.grow (i32.const 1100)))", &["more than 64 MiB of memory"]);
}

#[test]
fn tables() {
    let table = "(table $t 1 funcref)";
    stopped(
        &[],
        "",
        table,
        "(drop (table.grow $t (ref.null func) (i32.const 200000)))",
        &["table of more than 100000 elements"],
    );
}

#[test]
fn depth() {
    let deeper = "(func $deeper (param i64) (result i64) (i64.add (local.get 0) (call $deeper (i64.add (local.get 0) (i64.const 1)))))";
    stopped(&[], "", deeper, "(drop (call $deeper (i64.const 0)))", &["it called itself too deeply"]);
}

#[test]
fn a_panic() {
    stopped(&[], "", "", "(unreachable)", &["it panicked"]);
}

#[test]
fn a_read_beyond_its_memory() {
    stopped(&[], "", "", "(drop (i32.load (i32.const 0x7fffffff)))", &["out of bounds"]);
}

#[test]
fn arguments_beyond_its_memory() {
    stopped(&["log = [\"info\"]"], LOG, "", "(call $info (i32.const 0x7ffffff0) (i32.const 64))", &[]);
}

#[test]
fn text_that_is_none() {
    let bad = data(4096, b"\xff\xfe");
    stopped(&["log = [\"info\"]"], LOG, &bad, "(call $info (i32.const 4096) (i32.const 2))", &["utf-8"]);
}

#[test]
fn handles() {
    let import = "(import \"warded:host/keys@0.1.0\" \"host-keys\" (func $keys (param i32)))";
    let body = for_ever("(call $keys (i32.const 1024))");
    stopped(&["keys = [\"sshd-host-keys\"]"], import, "", &body, &["more than 1000 handles"]);
}

#[test]
fn lines_of_log() {
    let body = for_ever("(call $info (i32.const 0) (i32.const 3))");
    stopped(&["log = [\"info\"]"], LOG, "", &body, &["more than 1000 lines"]);
}

#[test]
fn calls() {
    let import = "(import \"warded:host/machine@0.1.0\" \"fact\" (func $fact (param i32 i32 i32)))";
    let body = for_ever("(call $fact (i32.const 4096) (i32.const 8) (i32.const 1024))");
    stopped(&["facts = [\"hostname\"]"], import, &data(4096, b"hostname"), &body, &["more than 100000 calls"]);
}

#[test]
fn bytes_in_a_call() {
    let body = format!("(drop (memory.grow (i32.const 100))) {}", write("(i32.const 5000000)"));
    stopped(&["files.write = [\"{sshd}/x0\"]"], WRITE, "", &body, &["more than 4 MiB in one call"]);
}

#[test]
fn bytes_that_are_staged() {
    let path = |machine: &str| data(4096, machine.as_bytes());
    let machine = Machine::stopped();
    let before = machine.tree();
    let file = format!("{}/a", machine.path("ssh").display());
    let last = 4096 + file.len() - 1;
    // The next file each time: /a, /b, /c …
    let next = format!("(i32.store8 (i32.const {last}) (i32.add (i32.load8_u (i32.const {last})) (i32.const 1)))");
    let call = write("(i32.const 4000000)").replace("(i32.const 3)", &format!("(i32.const {})", file.len()));
    let body = format!("(drop (memory.grow (i32.const 100))) {}", for_ever(&format!("{call} {next}")));
    let guest = Guest::doing(WRITE, &path(&file), &body).component();
    Grants::of(&["files.write = [\"{sshd}/*\"]"]).write(&machine.path("policies"), "case", "go", &guest);
    machine
        .warded(["apply", "go", "--policy", "case", "--yes"])
        .ends(5)
        .says(&["staged more than 64 MiB", "nothing was changed"]);
    assert_eq!(before, machine.tree());
}

const LOG: &str = "(import \"warded:host/log@0.1.0\" \"info\" (func $info (param i32 i32)))";
const WRITE: &str = "(import \"warded:host/files@0.1.0\" \"write\" (func $write (param i32 i32 i32 i32 i32 i32 i32)))";

/// Writes so many bytes to the path at 4096.
fn write(bytes: &str) -> String {
    format!(
        "(call $write (i32.const 4096) (i32.const 3) (i32.const 8192) {bytes} (i32.const 0) (i32.const 0) (i32.const 1024))"
    )
}
