use super::*;

/// A component with three host functions in the core instance `host`. Its core modules must define the core instance
/// `m` with the export `p`.
fn component(core: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "warded:host/files@0.1.0" (instance $files
                (export "read" (func)) (export "write" (func)) (export "remove" (func (param "mode" u32)))))
            (core func $read (canon lower (func $files "read")))
            (core func $write (canon lower (func $files "write")))
            (core func $remove (canon lower (func $files "remove")))
            (core instance $host
                (export "read" (func $read)) (export "write" (func $write)) (export "remove" (func $remove)))
            {core}
            (func (export "p") (canon lift (core func $m "p"))))"#
    );
    wat::parse_str(text).unwrap()
}

/// One core module that imports the three functions.
fn module(body: &str) -> Vec<u8> {
    component(&format!(
        r#"(core module $module
            (type $plain (func)) (type $mode (func (param i32)))
            (import "host" "read" (func $read)) (import "host" "write" (func $write))
            (import "host" "remove" (func $remove (param i32)))
            {body})
        (core instance $m (instantiate $module (with "host" (instance $host))))"#
    ))
}

fn functions(component: &[u8]) -> Vec<String> {
    match &reached(component).unwrap().procedures["p"] {
        Reach::Functions(functions) => functions.iter().cloned().collect(),
        Reach::Everything { because } => vec![(*because).to_owned()],
    }
}

#[test]
fn a_call_is_followed_wherever_it_is_hidden() {
    let table = "(table $t 8 funcref) (elem (table $t) (i32.const 1) func $read $write $remove)";
    for (what, body, expected) in [
        ("a call", "(func (export \"p\") call $read)".to_owned(), &["files.read"][..]),
        ("a function that nobody calls", "(func $unused call $write) (func (export \"p\"))".to_owned(), &[]),
        ("a call of a call", "(func $a call $write) (func (export \"p\") return_call $a)".to_owned(), &["files.write"]),
        (
            "a table with a constant index",
            format!("{table} (func (export \"p\") i32.const 2 call_indirect $t (type $plain))"),
            &["files.write"],
        ),
        (
            "a table with an index that only a run shows",
            format!("{table} (func (export \"p\") i32.const 1 i32.const 1 i32.add call_indirect $t (type $plain))"),
            &["files.read", "files.write"],
        ),
        (
            "a table, by another type",
            format!("{table} (func (export \"p\") i32.const 7 memory.size drop i32.const 3 i32.eqz return_call_indirect $t (type $mode)) (memory 1)"),
            &["files.remove"],
        ),
        (
            "a constant before a branch",
            format!(
                "{table} (func (export \"p\") (block (result i32) i32.const 1 i32.const 0 br_if 0 drop i32.const 2) \
                 call_indirect $t (type $plain))"
            ),
            &["files.read", "files.write"],
        ),
        (
            "a segment whose place is computed",
            "(table $t 8 funcref) (elem (table $t) (offset i32.const 1 i32.const 1 i32.add) func $write) \
             (func (export \"p\") i32.const 1 call_indirect $t (type $plain))"
                .to_owned(),
            &["files.write"],
        ),
        (
            "a passive segment",
            "(table $t 8 funcref) (elem $e func $write) \
             (func (export \"p\") i32.const 0 i32.const 0 i32.const 1 table.init $t $e \
             i32.const 0 call_indirect $t (type $plain))"
                .to_owned(),
            &["files.write"],
        ),
        (
            "a reference that is put into a table",
            "(table $t 8 funcref) (elem declare func $write) \
             (func (export \"p\") i32.const 0 ref.func $write table.set $t i32.const 0 call_indirect $t (type $plain))"
                .to_owned(),
            &["files.write"],
        ),
        (
            "a reference that a function nobody calls puts into a table",
            "(table $t 8 funcref) (elem declare func $write) \
             (func $other i32.const 0 ref.func $write table.set $t) \
             (func (export \"p\") i32.const 0 call_indirect $t (type $plain))"
                .to_owned(),
            &["files.write"],
        ),
        (
            "a table that grows by a reference",
            "(table $t 0 8 funcref) (elem declare func $write) \
             (func (export \"p\") ref.func $write i32.const 1 table.grow $t drop i32.const 0 call_indirect $t (type $plain))"
                .to_owned(),
            &["files.write"],
        ),
        (
            "a copy of another table",
            "(table $t 8 funcref) (table $other 8 funcref) (elem (table $other) (i32.const 0) func $write) \
             (func (export \"p\") i32.const 0 i32.const 0 i32.const 1 table.copy $t $other \
             i32.const 0 call_indirect $t (type $plain))"
                .to_owned(),
            &["files.write"],
        ),
        (
            "a reference in a global",
            "(table $t 8 funcref) (global $g funcref (ref.func $write)) \
             (func (export \"p\") i32.const 0 global.get $g table.set $t i32.const 0 call_indirect $t (type $plain))"
                .to_owned(),
            &["files.write"],
        ),
        (
            "a start function",
            "(func $start call $write) (start $start) (func (export \"p\") call $read)".to_owned(),
            &["files.read", "files.write"],
        ),
    ] {
        let found = functions(&module(&body));
        assert_eq!(found, expected, "{what}");
    }
}

/// If a table could have an initial function, its contents would not come from element segments alone.
#[test]
fn a_table_cannot_begin_with_a_function() {
    let bytes = module("(table $t 8 funcref (ref.func $write)) (func (export \"p\"))");
    assert!(reached(&bytes).unwrap_err().to_string().contains("function-references"));
}

#[test]
fn a_call_is_followed_into_other_instances() {
    let second = |more: &str| {
        component(&format!(
            r#"(core module $first (import "host" "write" (func $write)) (func $hidden call $write)
                (table (export "t") 2 funcref) (elem (i32.const 1) func $hidden) (func (export "go") call $write))
            (core instance $first (instantiate $first (with "host" (instance $host))))
            {more}"#
        ))
    };
    let exported = second(
        r#"(core module $second (import "first" "go" (func $go)) (func (export "p") call $go))
        (core instance $m (instantiate $second (with "first" (instance $first))))"#,
    );
    assert_eq!(functions(&exported), ["files.write"]);
    let through_a_table = second(
        r#"(core module $second (import "first" "t" (table 2 funcref))
            (func (export "p") i32.const 1 call_indirect))
        (core instance $m (instantiate $second (with "first" (instance $first))))"#,
    );
    assert_eq!(functions(&through_a_table), ["files.write"]);
    let through_an_alias = second(
        r#"(alias core export $first "t" (core table $t))
        (core instance $tables (export "given" (table $t)))
        (core module $second (import "tables" "given" (table 2 funcref))
            (func (export "p") i32.const 1 call_indirect))
        (core instance $m (instantiate $second (with "tables" (instance $tables))))"#,
    );
    assert_eq!(functions(&through_an_alias), ["files.write"]);
    let written_elsewhere = second(
        r#"(core module $second (import "first" "t" (table 2 funcref)) (import "host" "read" (func $read))
            (elem (i32.const 0) func $read) (func (export "p") i32.const 0 call_indirect))
        (core instance $m (instantiate $second (with "first" (instance $first)) (with "host" (instance $host))))"#,
    );
    assert_eq!(functions(&written_elsewhere), ["files.read"]);
}

#[test]
fn what_the_host_calls_for_its_own_ends_counts() {
    let text = r#"(component
        (import "warded:host/files@0.1.0" (instance $files (export "read" (func)) (export "write" (func))
            (export "list" (func (result string)))))
        (core func $read (canon lower (func $files "read")))
        (core func $write (canon lower (func $files "write")))
        (core module $memory (import "" "read" (func $read)) (import "" "write" (func $write))
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) call $read i32.const 0)
            (func (export "after") (param i32) call $write))
        (core instance $memory (instantiate $memory
            (with "" (instance (export "read" (func $read)) (export "write" (func $write))))))
        (core func $list (canon lower (func $files "list") (memory $memory "memory") (realloc (func $memory "realloc"))))
        (core module $module (import "" "list" (func $list (param i32)))
            (func (export "p") i32.const 0 call $list) (func (export "q") (result i32) i32.const 0))
        (core instance $m (instantiate $module (with "" (instance (export "list" (func $list))))))
        (func (export "p") (canon lift (core func $m "p")))
        (func (export "q") (result string)
            (canon lift (core func $m "q") (memory $memory "memory") (post-return (func $memory "after")))))"#;
    let reached = reached(&wat::parse_str(text).unwrap()).unwrap();
    let of = |name: &str| reached.of(name).iter().cloned().collect::<Vec<_>>();
    assert_eq!(of("p"), ["files.list", "files.read"]);
    assert_eq!(of("q"), ["files.write"]);
    assert_eq!(reached.imported.len(), 3);
}

#[test]
fn what_cannot_be_followed_counts_as_everything() {
    let nested = component(
        r#"(component $inner)
        (core module $module (func (export "p")))
        (core instance $m (instantiate $module))"#,
    );
    assert_eq!(functions(&nested), ["it contains another component"]);
    assert_eq!(reached(&nested).unwrap().of("p").len(), 3);
    // A nested component can take functions from an instance without an alias, so the whole interface counts.
    let handed_on = wat::parse_str(
        r#"(component
            (import "warded:host/types@0.1.0" (instance (export "setting" (type (sub resource)))))
            (import "warded:host/files@0.1.0" (instance $files (export "read" (func)) (export "write" (func))))
            (component $inner (import "files" (instance (export "read" (func)))) (export "nothing" (instance 0)))
            (instance $inner (instantiate $inner (with "files" (instance $files))))
            (core module $module (func (export "p")))
            (core instance $m (instantiate $module))
            (func (export "p") (canon lift (core func $m "p")))
            (export "more" (instance $inner)))"#,
    );
    let handed_on = reached(&handed_on.unwrap()).unwrap();
    assert_eq!(handed_on.of("p").iter().collect::<Vec<_>>(), ["files.read", "files.write"]);
    assert_eq!(handed_on.other_exports.iter().collect::<Vec<_>>(), ["more"]);
    let own = wat::parse_str(
        r#"(component (import "warded:host/files@0.1.0" (instance $files (export "read" (func))))
            (alias export $files "read" (func $read)) (export "p" (func $read)))"#,
    );
    assert_eq!(functions(&own.unwrap()), ["it exports a function that is not its own"]);
}

const SECOND_NAME: &str = "it gives a core module a second name";

/// An alias and an export add a module index: if they were ignored, later indices would name the wrong modules.
#[test]
fn a_module_does_not_hide_behind_a_second_name() {
    let evil = r#"(core module $evil (import "host" "write" (func $write))
        (func $go call $write) (export "p" (func $go)))"#;
    let starting = r#"(core module $evil (import "host" "write" (func $write)) (start $write))"#;
    let good = r#"(core module $good (func (export "p")))"#;
    let instance =
        |name: &str, of: &str| format!(r#"(core instance {name} (instantiate {of} (with "host" (instance $host))))"#);
    for (what, core) in [
        (
            "an alias of the component's own module",
            format!("{evil} (alias outer 0 0 (core module $again)) {good} {}", instance("$m", "$again")),
        ),
        (
            "a module that is exported, and starts",
            format!(
                r#"{starting} (export $again "evil" (core module $evil)) {good} {} {}"#,
                instance("", "$again"),
                instance("$m", "$good")
            ),
        ),
        (
            "a module that is exported, and fills a table",
            r#"(core module $tables (table (export "t") 2 funcref)) (core instance $tables (instantiate $tables))
                (core module $evil (import "host" "write" (func $write)) (import "tables" "t" (table 2 funcref))
                    (elem (i32.const 0) func $write))
                (export $again "evil" (core module $evil))
                (core instance (instantiate $again (with "host" (instance $host)) (with "tables" (instance $tables))))
                (core module $calling (import "tables" "t" (table 2 funcref))
                    (func (export "p") i32.const 0 call_indirect))
                (core instance $m (instantiate $calling (with "tables" (instance $tables))))"#
                .to_owned(),
        ),
    ] {
        let component = component(&core);
        assert_eq!(functions(&component), [SECOND_NAME], "{what}");
        assert_eq!(reached(&component).unwrap().of("p").len(), 3, "{what}");
    }
}

/// A function of an interface that was passed on has another name in the component, and still counts as imported.
#[test]
fn everything_is_all_of_the_interfaces() {
    let component = wat::parse_str(
        r#"(component
            (import "warded:host/files@0.1.0" (instance $files (export "read" (func)) (export "write" (func))))
            (instance $bag (export "files" (instance $files)))
            (alias export $bag "files" (instance $again))
            (core func $write (canon lower (func $again "write")))
            (core module $module (import "host" "write" (func $write)) (func (export "p") call $write))
            (core instance $m (instantiate $module (with "host" (instance (export "write" (func $write))))))
            (func (export "p") (canon lift (core func $m "p"))))"#,
    );
    let reached = reached(&component.unwrap()).unwrap();
    assert_eq!(reached.of("p").iter().collect::<Vec<_>>(), ["files.read", "files.write"]);
}

/// Each of these is a small file that would take thousands of millions of steps without the limit.
#[test]
fn what_is_too_large_to_follow_counts_as_everything() {
    const MODULE: &str = r#"(type $plain (func)) (import "host" "read" (func $read))"#;
    let many = |text: &str, times: usize| text.repeat(times);
    let instances = |elements: &str| {
        component(&format!(
            r#"(core module $large {MODULE} (table 3000 funcref) {elements} (func (export "p")))
            (core instance $m (instantiate $large (with "host" (instance $host)))) {}"#,
            many(r#"(core instance (instantiate $large (with "host" (instance $host))))"#, 400)
        ))
    };
    let types = |number: usize| {
        let parameters: String = (0..12).map(|bit| if number >> bit & 1 == 1 { " i32" } else { " i64" }).collect();
        format!("(type $t{number} (func (param{parameters})))")
    };
    let through_each_type: String =
        (0..2000).map(|number| format!("unreachable i32.eqz call_indirect (type $t{number}) ")).collect();
    let large_table = component(&format!(
        r#"(core module $large {MODULE} {} (table 60000 funcref) (elem (i32.const 0) func {})
            (func (export "p") {through_each_type}))
        (core instance $m (instantiate $large (with "host" (instance $host))))"#,
        (0..2000).map(types).collect::<String>(),
        many("$read ", 60000)
    ));
    let chain: String = (1..900)
        .map(|n| {
            let before = n - 1;
            format!(
                r#"(core instance $c{n} (export "read" (func $f{before})))
                (alias core export $c{n} "read" (core func $f{n}))"#
            )
        })
        .collect();
    let handed_on = component(&format!(
        r#"(core instance $c0 (export "read" (func $read))) (alias core export $c0 "read" (core func $f0)) {chain}
        (core module $large {MODULE} (elem func {}) (func (export "p")))
        (core instance $m (instantiate $large (with "host" (instance $c899))))"#,
        many("$read ", 60000)
    ));
    for (what, component) in [
        ("references to what was handed on often", handed_on),
        ("a filled table in each instance", instances(&format!("(elem (i32.const 0) func {})", many("$read ", 3000)))),
        ("references in each instance", instances(&format!("(elem func {})", many("$read ", 3000)))),
        ("a large table, by many types", large_table),
    ] {
        assert_eq!(functions(&component), ["there is too much of it to follow"], "{what}");
    }
}
