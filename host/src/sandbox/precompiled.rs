//! The one reviewed file with `unsafe`: machine code that this binary's own build made.
#![expect(unsafe_code, reason = "wasmtime cannot check machine code; where it comes from is what makes it safe")]

use wasmtime::{Engine, component::Component};

/// Loads a component that `build.rs` compiled into this binary. None where this processor or
/// this wasmtime cannot run it; the caller then compiles the component itself.
///
/// The bytes are `'static`: they can only come from the binary.
pub(super) fn load(engine: &Engine, code: &'static [u8]) -> Option<Component> {
    // SAFETY: `Component::deserialize` runs what it is given as machine code. `code` was made by
    // `build.rs` from the component beside it with the same wasmtime, and is as trustworthy as the
    // rest of this binary, of which it is a part.
    unsafe { Component::deserialize(engine, code) }.ok()
}
