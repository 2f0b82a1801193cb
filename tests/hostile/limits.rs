//! Guests that use as much as they can get: time, memory, stack, tables, handles, words, calls.

use super::{
    case::{Case, case},
    record::{asked, ended},
};
use crate::support::{
    odd::{DOING_NOTHING, MEMORY, PROCEDURE, TYPES},
    script::Argument::{Expression, Number, Text, Texts},
};
use std::{fs, os::unix::fs::PermissionsExt as _};

/// A grant for a file that exists.
const FILE: &str = "files.read = [\"{dir}/ssh/sshd_config\"]";
const MANY: &str = "files.write = [\"{dir}/many/*\"]";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = computing();
    cases.extend(asking());
    cases.extend(staging());
    cases.extend(lying());
    cases
}

/// Resources that the guest uses by itself.
fn computing() -> Vec<Case> {
    let stopped = |name: &str, fields: &'static str, body: &'static str, why: &str| {
        case(name)
            .does(move |guest| {
                guest.field(fields).raw(body);
            })
            .ends_stopped(why)
    };
    vec![
        stopped("loop", "", "(loop $ever (br $ever))", "computed for more than 10 s"),
        stopped("loop when it starts", "(func $s (loop $e (br $e))) (start $s)", "", "computed for more than 10 s"),
        stopped(
            "loop when it has ended",
            r#"(func (export "cabi_post_go") (param i32) (loop $e (br $e)))"#,
            "",
            "computed for more than 10 s",
        ),
        stopped("recursion", "(func $r (call $r))", "(call $r)", "called itself too deeply"),
        stopped("memory bomb", "", "(drop (memory.grow (i32.const 2000)))", "more than 64 MiB of memory"),
        stopped(
            "memory bomb, a page at a time",
            "",
            "(loop $e (drop (memory.grow (i32.const 1))) (br $e))",
            "more than 64 MiB of memory",
        ),
        stopped(
            "table bomb",
            "(table $t 1 funcref)",
            "(drop (table.grow $t (ref.null func) (i32.const 2000000)))",
            "tables of more than 100000 elements",
        ),
        stopped("panic", "", "(unreachable)", "it panicked"),
        stopped("division by nothing", "", "(drop (i32.div_u (i32.const 1) (local.get $i)))", "divide by zero"),
        stopped("memory that is not there", "", "(drop (i32.load (i32.const -8)))", "out of bounds"),
        stopped(
            "function that is not there",
            "(type $f (func)) (table 1 funcref)",
            "(call_indirect (type $f) (i32.const 0))",
            "uninitialized element",
        ),
        case("table that is too large from the start")
            .does(|guest| {
                guest.field("(table 2000000 funcref)");
            })
            .ends_stopped("tables of more than 100000 elements"),
        case("a hundred tables")
            .does(|guest| {
                guest.field(&"(table 10 funcref)".repeat(99));
            })
            .ends_stopped("it wanted more than 64 tables"),
        parts("tables of many modules", 33, "(table 1 funcref) (table 1 funcref)", "it wanted more than 64 tables"),
        parts("memories of many modules", 17, "(memory 0)", "it wanted more than 16 memories"),
        case("a module with two memories")
            .made_as(|_| wat::parse_str("(component (core module (memory 1) (memory 1)))").unwrap())
            .ends_refused(&["this is not a valid WebAssembly component", "multiple memories"]),
        parts("instances of many modules", 65, "", "it wanted more than 64 instances of core modules"),
        parts("two memories from the start", 2, "(memory 640)", "more than 64 MiB of memory"),
        parts(
            "two memories that grow",
            2,
            "(memory 1) (func $s (drop (memory.grow (i32.const 640)))) (start $s)",
            "more than 64 MiB of memory",
        ),
        parts("two tables", 2, "(table 60000 funcref)", "tables of more than 100000 elements"),
        case("trap with a name that draws, when it starts")
            .made_as(|_| starting("(unreachable)"))
            .ends_stopped("it panicked"),
        case("denial with a name that draws, when it starts")
            .made_as(|_| starting("(call $fact (i32.const 0) (i32.const 8) (i32.const 512))"))
            .ends_denied("machine.fact", "hostname", "no grant covers it"),
    ]
}

/// A component of `count` core modules, all alike, each of them within its bounds.
fn parts(name: &str, count: usize, fields: &'static str, why: &str) -> Case {
    case(name)
        .made_as(move |_| {
            let others = "(core instance (instantiate $m))".repeat(count - 1);
            let text = format!(
                "(component {TYPES} {MEMORY} (core module $m {fields} {DOING_NOTHING}) {others}
                 (core instance $i (instantiate $m)) {PROCEDURE})"
            );
            wat::parse_str(text).unwrap()
        })
        .ends_stopped(why)
}

/// A component that does something when it is instantiated, in a function whose name clears the screen.
fn starting(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "warded:host/machine@0.1.0" (instance $host
                (export "fact" (func (param "name" string) (result (option string))))))
            {TYPES} {MEMORY}
            (core module $name (import "" "memory" (memory 1)) (data (i32.const 0) "hostname"))
            (core instance (instantiate $name (with "" (instance $memory))))
            (core func $fact (canon lower (func $host "fact")
                (memory $memory "memory") (realloc (func $memory "realloc"))))
            (core module $main (import "host" "fact" (func $fact (param i32 i32 i32)))
                (func $s (@name "\1b[2J\1b]0;owned\07 forcing trap when growing memory fuel") {body})
                (start $s) {DOING_NOTHING})
            (core instance $i (instantiate $main (with "host" (instance (export "fact" (func $fact))))))
            {PROCEDURE})"#
    );
    wat::parse_str(text).unwrap()
}

/// Calls that are expensive for the host.
fn asking() -> Vec<Case> {
    vec![
        case("a million handles")
            .granted(&["keys = [\"{dir}/ssh/ssh_host_ed25519_key\"]"])
            .does(|guest| {
                guest.repeats(1_000_000, |guest| {
                    guest.does("keys.open", &[Text(b"{dir}/ssh/ssh_host_ed25519_key")]);
                });
            })
            .ends_stopped("it holds more than 1000 handles"),
        case("log flood")
            .granted(&["log = [\"info\", \"warn\"]"])
            .does(|guest| {
                guest.repeats(1_000_000, |guest| {
                    guest.says("info", "flood").says("warn", "flood");
                });
            })
            .ends_stopped("it said more than 1000 lines"),
        case("words of a megabyte")
            .granted(&["log = [\"warn\"]"])
            .does(|guest| {
                guest.raw("(drop (memory.grow (i32.const 32))) (memory.fill (i32.const 131072) (i32.const 120) (i32.const 1048576)) ");
                guest.tries("log.warn", &[Expression("(i32.const 131072)"), Number(1 << 20)]);
            })
            .ends(&[0], &["warning: xxxx", "Nothing to do."], asked("log.warn", "a message"))
            .hides(&"x".repeat(1001)),
        case("calls without end")
            .granted(&["facts = [\"hostname\"]"])
            .does(|guest| {
                guest.repeats(1_000_000, |guest| {
                    guest.tries("machine.fact", &[Text(b"hostname")]);
                });
            })
            .ends_stopped("calls"),
        case("calls without end, of what is no path")
            .does(|guest| {
                guest.repeats(1_000_000, |guest| {
                    guest.tries("files.read", &[Text(b"no path")]);
                });
            })
            .ends_stopped("calls"),
        case("calls without end, of long names that are no path")
            .does(|guest| {
                guest.raw("(drop (memory.grow (i32.const 1))) (memory.fill (i32.const 65536) (i32.const 27) (i32.const 4000)) ");
                guest.repeats(1_000_000, |guest| {
                    guest.tries("files.read", &[Number(65536), Number(4000)]);
                });
            })
            .ends_stopped("fills more than 7 MiB of the audit log"),
        case("a fact whose name has four million bytes")
            .does(|guest| {
                guest.raw("(drop (memory.grow (i32.const 100))) (memory.fill (i32.const 65536) (i32.const 27) (i32.const 4000000)) ");
                guest.tries("machine.fact", &[Number(65536), Number(4_000_000)]);
            })
            .ends_denied("machine.fact", &"\u{1b}".repeat(400), "grant it by hand"),
    ]
}

/// Large contents that the guest stages, or makes the host search.
fn staging() -> Vec<Case> {
    vec![
        case("too much in one call")
            .granted(&[MANY])
            .given(|machine| fs::create_dir(machine.path("many")).unwrap())
            .does(|guest| {
                guest.raw("(drop (memory.grow (i32.const 200))) ");
                guest.does(
                    "files.write",
                    &[Text(b"{dir}/many/a"), Number(65536), Number(5 << 20), Number(0), Number(0)],
                );
            })
            .ends_stopped("it passed more than 4 MiB in one call"),
        case("too much staged")
            .granted(&[MANY])
            .given(|machine| fs::create_dir(machine.path("many")).unwrap())
            .does(|guest| {
                guest.raw("(drop (memory.grow (i32.const 200))) ");
                for number in 0..40 {
                    let path = format!("{{dir}}/many/{number}");
                    let contents = [Number(65536), Number(4_000_000), Number(0), Number(0)];
                    guest.does("files.write", &[&[Text(path.as_bytes())][..], &contents].concat());
                }
            })
            .ends_stopped("it staged more than 64 MiB"),
        case("too much removed")
            .granted(&[MANY])
            .given(|machine| {
                fs::create_dir(machine.path("many")).unwrap();
                for number in 0..20 {
                    fs::write(machine.path(&format!("many/{number}")), vec![b'x'; 4_000_000]).unwrap();
                }
            })
            .does(|guest| {
                for number in 0..20 {
                    guest.does("files.remove", &[Text(format!("{{dir}}/many/{number}").as_bytes())]);
                }
            })
            .ends_stopped("it staged more than 64 MiB"),
        case("files without end")
            .granted(&[MANY])
            .given(|machine| fs::create_dir(machine.path("many")).unwrap())
            .does(|guest| {
                guest.repeats_counting(5000, "{dir}/many/0000", |guest, [at, long]| {
                    let contents = [Number(0), Number(1), Number(0), Number(0)];
                    guest.does("files.write", &[&[at, long][..], &contents].concat());
                });
            })
            .ends_stopped("it staged more than 1000 files"),
        case("diff bomb")
            .granted(&["files.write = [\"{dir}/ssh/big\"]"])
            .given(|machine| fs::write(machine.path("ssh/big"), "a\n".repeat(20_000)).unwrap())
            .does(|guest| {
                guest.raw("(drop (memory.grow (i32.const 100))) (memory.fill (i32.const 65536) (i32.const 10) (i32.const 4000000)) ");
                // Every line differs from the one that is there, except for the line ends.
                guest.does(
                    "files.write",
                    &[Text(b"{dir}/ssh/big"), Number(65536), Number(4_000_000), Number(0), Number(0)],
                );
            })
            .ends(&[0], &["many lines"], asked("files.write", "{dir}/ssh/big"))
            .may_change(&["ssh/big"]),
        case("a hundred thousand names")
            .granted(&["keys = [\"sshd-host-keys\"]", "authority = [\"issue host\"]"])
            .does(|guest| {
                guest.does("keys.host-keys", &[]).takes_first();
                // A list of pairs that are all zeros: empty names.
                guest.raw("(drop (memory.grow (i32.const 100))) ");
                guest.does(
                    "authority.issue",
                    &[Expression("(local.get $h)"), Number(0), Number(1 << 20), Number(100_000)],
                );
            })
            .gives_up("authority.issue", &" ".repeat(400), "invalid-principal", "it is empty"),
        case("sshd that never answers")
            .granted(&["sshd.effective = true"])
            .told(&["--sshd", "{dir}/sleeper", "--json"])
            .given(|machine| {
                let sleeper = machine.path("sleeper");
                fs::write(&sleeper, "#!/bin/sh\nexec sleep 1000\n").unwrap();
                fs::set_permissions(sleeper, fs::Permissions::from_mode(0o755)).unwrap();
            })
            .does(|guest| {
                guest.does("sshd.effective", &[Text(b"port"), Number(0), Number(0)]);
            })
            .gives_up("sshd.effective", "port", "io", "did not answer within 15 s")
            .says("\"schema\": \"warded.error/1\""),
    ]
}

/// Addresses, lengths and texts that are invalid.
fn lying() -> Vec<Case> {
    let read = |name: &str, at: i32, length: i32, why: &str| {
        case(name)
            .granted(&[FILE])
            .does(move |guest| {
                guest.does("files.read", &[Number(at), Number(length)]);
            })
            .ends_stopped(why)
    };
    let returns = |name: &str, body: &'static str| {
        case(name).does(move |guest| {
            guest.raw(body);
        })
    };
    let result = |name: &str, body: &'static str, why: &str| returns(name, body).ends_stopped(why);
    vec![
        read("string of a gibibyte", 4096, 1 << 30, "out of bounds"),
        read("string that lies outside", -16, 64, "out of bounds"),
        read("string of four gibibytes", 0, -1, "out of bounds"),
        case("string that is no text")
            .granted(&[FILE])
            .does(|guest| {
                guest.does("files.read", &[Text(b"/etc/\xff\xfe")]);
            })
            .ends_stopped("utf-8"),
        case("list of a gibibyte")
            .granted(&["keys = [\"sshd-host-keys\"]", "authority = [\"issue host\"]"])
            .does(|guest| {
                guest.does("keys.host-keys", &[]).takes_first();
                guest.does("authority.issue", &[Expression("(local.get $h)"), Number(0), Number(0), Number(1 << 30)]);
            })
            .ends_stopped("list"),
        case("list of strings that lie outside")
            .granted(&["sshd.effective = true"])
            .does(|guest| {
                guest.raw("(i32.store (i32.const 2048) (i32.const -8)) (i32.store (i32.const 2052) (i32.const 99)) ");
                guest.does("sshd.effective", &[Text(b"port"), Number(2048), Number(1)]);
            })
            .ends_stopped("out of bounds"),
        case("case that is none")
            .granted(&["authority = [\"roots host\"]"])
            .does(|guest| {
                guest.does("authority.roots", &[Number(7)]);
            })
            .ends_stopped("discriminant"),
        case("key that is a certificate")
            .granted(&[
                "keys = [\"sshd-host-keys\"]",
                "authority = [\"issue host\"]",
                "certificates = [\"beside-key\"]",
            ])
            .told(&["--set", "principal=localhost"])
            .does(|guest| {
                guest.does("keys.host-keys", &[]).takes_first();
                guest.does("authority.issue", &[Expression("(local.get $h)"), Number(0), Texts(&[b"localhost"])]);
                guest.takes(4);
                guest.does("authority.issue", &[Expression("(local.get $h)"), Number(0), Texts(&[b"localhost"])]);
            })
            .ends_stopped("handle"),
        result("result that lies outside", "(return (i32.const -8))", "out of bounds"),
        result("result that is not aligned", "(return (i32.const 1025))", "not aligned"),
        result(
            "result that is neither",
            "(i32.store (i32.const 1024) (i32.const 7)) (return (i32.const 1024))",
            "discriminant",
        ),
        result(
            "error of a gibibyte",
            "(i32.store (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1032) (i32.const 1073741824)) \
             (return (i32.const 1024))",
            "out of bounds",
        ),
        returns(
            "error of a megabyte",
            "(drop (memory.grow (i32.const 32))) (memory.fill (i32.const 65536) (i32.const 120) (i32.const 1048576)) \
             (i32.store (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1036) (i32.const 65536)) \
             (i32.store (i32.const 1040) (i32.const 1048576)) (return (i32.const 1024))",
        )
        .ends(&[1], &["go gave up (): xxxx"], ended("go gave up (): xxxx"))
        .hides(&"x".repeat(501)),
        returns(
            "error with fifty thousand details",
            "(drop (memory.grow (i32.const 32))) (i32.store (i32.const 1024) (i32.const 1)) \
             (i32.store (i32.const 1044) (i32.const 65536)) (i32.store (i32.const 1048) (i32.const 50000)) \
             (return (i32.const 1024))",
        )
        .ends(&[1], &["go gave up ()", "more details"], ended("go gave up ()")),
    ]
}
