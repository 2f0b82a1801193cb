//! Parts of components in text, for guests that no builder makes: a procedure has its type and a memory.

/// The type of a procedure, `$procedure`.
pub(super) const TYPES: &str = r#"
    (import "warded:host/types@0.1.0" (instance $types
        (type $s (record (field "name" string) (field "value" string)))
        (export "setting" (type $setting (eq $s)))
        (type $e (record (field "code" string) (field "message" string) (field "details" (list $setting))))
        (export "error" (type (eq $e)))))
    (alias export $types "setting" (type $setting))
    (alias export $types "error" (type $error))
    (type $procedure (func (param "settings" (list $setting)) (result (result (error $error)))))"#;

/// Where its settings lie, the core instance `$memory`.
pub(super) const MEMORY: &str = r#"
    (core module $memory (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
    (core instance $memory (instantiate $memory))"#;

/// The core function of a procedure that does nothing: at 8, there is no error.
pub(super) const DOING_NOTHING: &str = r#"(func (export "f") (param i32 i32) (result i32) i32.const 8)"#;

/// The procedure `go`: the function `f` of the core instance `$i`.
pub(super) const PROCEDURE: &str = r#"
    (func $f (type $procedure)
        (canon lift (core func $i "f") (memory $memory "memory") (realloc (func $memory "realloc"))))
    (export "go" (func $f))"#;
