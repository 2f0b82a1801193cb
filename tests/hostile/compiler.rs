//! Components that are small, and large to the compiler.

use super::case::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("a component that the compiler would need gigabytes for")
            .does(|guest| {
                guest.field(&every_local_in_every_loop(1500, 1500));
            })
            .ends_refused(&[
                "the component cannot be compiled",
                "the compiler has 512 MiB of memory and 60 s of a processor",
            ]),
    ]
}

/// A function whose innermost loop changes every local and leads back to every loop around it: each of these needs a
/// value of its own for each local.
fn every_local_in_every_loop(locals: usize, loops: usize) -> String {
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
