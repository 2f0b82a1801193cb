//! Components in the text format, for guests that no builder makes: the parts of such components (a procedure has its
//! type and a memory), and a few odd ones.

/// The type of a procedure, `$procedure`.
pub(crate) const TYPES: &str = r#"
    (import "warded:host/types@0.1.0" (instance $types
        (type $s (record (field "name" string) (field "value" string)))
        (export "setting" (type $setting (eq $s)))
        (type $e (record (field "code" string) (field "message" string) (field "details" (list $setting))))
        (export "error" (type (eq $e)))))
    (alias export $types "setting" (type $setting))
    (alias export $types "error" (type $error))
    (type $procedure (func (param "settings" (list $setting)) (result (result (error $error)))))"#;

/// The memory with its settings, the core instance `$memory`.
pub(crate) const MEMORY: &str = r#"
    (core module $memory (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
    (core instance $memory (instantiate $memory))"#;

/// The core function of a procedure that does nothing: at address 8, the result says that there is no error.
pub(crate) const DOING_NOTHING: &str = r#"(func (export "f") (param i32 i32) (result i32) i32.const 8)"#;

/// The procedure `go`: it is the function `f` of the core instance `$i`.
pub(crate) const PROCEDURE: &str = r#"
    (func $f (type $procedure)
        (canon lift (core func $i "f") (memory $memory "memory") (realloc (func $memory "realloc"))))
    (export "go" (func $f))"#;

/// A component made of two, one of which calls the other with a text. Wasmtime generates a core module with both
/// memories for it.
pub(crate) fn composed() -> Vec<u8> {
    wat::parse_str(format!(
        r#"(component {TYPES}
        (component $callee
            (core module $m (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
                (func (export "take") (param i32 i32)))
            (core instance $i (instantiate $m))
            (func (export "take") (param "text" string)
                (canon lift (core func $i "take") (memory $i "memory") (realloc (func $i "realloc")))))
        (component $caller {TYPES}
            (import "take" (func $take (param "text" string)))
            (core module $own (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
            (core instance $own (instantiate $own))
            (core func $take (canon lower (func $take) (memory $own "memory") (realloc (func $own "realloc"))))
            (core module $m (import "" "take" (func $take (param i32 i32)))
                (func (export "f") (param i32 i32) (result i32) (call $take (i32.const 0) (i32.const 5)) i32.const 8))
            (core instance $i (instantiate $m (with "" (instance (export "take" (func $take))))))
            (func $f (type $procedure)
                (canon lift (core func $i "f") (memory $own "memory") (realloc (func $own "realloc"))))
            (export "go" (func $f)))
        (instance $callee (instantiate $callee))
        (instance $caller (instantiate $caller
            (with "warded:host/types@0.1.0" (instance $types)) (with "take" (func $callee "take"))))
        (export "go" (func $caller "go")))"#
    ))
    .unwrap()
}

/// A function whose innermost loop changes every local and branches to every loop around it: each of these loops needs
/// its own value of each local.
pub(crate) fn every_local_in_every_loop(locals: usize, loops: usize) -> String {
    let changed: String =
        (0..locals).map(|n| format!("(local.set {n} (i64.add (local.get {n}) (i64.const 1)))")).collect();
    let back: String = (0..loops).map(|n| format!("(br_if {n} (i64.eqz (local.get {})))", n % locals)).collect();
    format!(
        "(func (local {}) {} {changed} {back} {})",
        "i64 ".repeat(locals),
        "(loop ".repeat(loops),
        ")".repeat(loops)
    )
}
