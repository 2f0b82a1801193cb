//! The one reviewed file with `unsafe`: it loads machine code that was made when this binary was built, by its compiler
//! now, or by its compiler earlier.
#![expect(unsafe_code, reason = "wasmtime cannot check machine code; where it comes from is what makes it safe")]

use super::{
    compiled::CompiledCache,
    compiler::{self, MissingCode},
    guest_error,
};
use warded_lib::{
    digest::Digest,
    error::{Error, Result},
    text::neutral_path,
};
use wasmtime::{Engine, component::Component};

/// Loads a component that `build.rs` compiled into this binary. `None` if this processor or this wasmtime cannot run
/// it; the caller then compiles the component itself.
///
/// The bytes are `'static`: they can only come from the binary.
pub(super) fn load(engine: &Engine, code: &'static [u8]) -> Option<Component> {
    // SAFETY: `Component::deserialize` executes its input as machine code. `build.rs` made `code` from the component
    // beside it with the same wasmtime. It is part of this binary, and as trustworthy as the rest of it.
    unsafe { Component::deserialize(engine, code) }.ok()
}

/// Loads machine code that an earlier run stored, or that an administrator put there.
///
/// # Errors
/// There is no such file, or it is not used: it is not safe or not complete, or this processor or this wasmtime cannot
/// run it.
pub(super) fn load_kept(
    engine: &Engine,
    kept: &CompiledCache,
    component: &Digest,
) -> std::result::Result<Component, MissingCode> {
    let missing = |why: Option<String>| MissingCode { file: kept.file(component), why };
    let code = kept.find(component).map_err(|error| missing(Some(error.brief())))?.ok_or_else(|| missing(None))?;
    // SAFETY: `code` was made from the component by an earlier run of this user, as below, or by `warded policy
    // compile`, and this user put it there. Nobody else can write the file or its directory (`StateDir` checks both),
    // and its seal shows that it is complete and belongs to this component. Whoever could forge it could also change
    // this program's configuration and its policies.
    unsafe { Component::deserialize(engine, code) }.map_err(|error| {
        let (file, why) = (neutral_path(&kept.file(component)), guest_error::short(&format!("{error:#}")));
        missing(Some(format!("{file} cannot be loaded: {why}")))
    })
}

/// Compiles a component in a separate process, loads the result, and stores it in a cache. `sought` is the machine code
/// that was not found.
///
/// # Errors
/// It cannot be compiled.
pub(super) fn compile(
    engine: &Engine,
    component: &[u8],
    sought: Option<&MissingCode>,
    cache: Option<(&CompiledCache, &Digest)>,
) -> Result<Component> {
    let code = compiler::compile(component, sought)?;
    if let Some((cache, digest)) = cache {
        cache.keep(digest, &code);
    }
    // SAFETY: `code` was made from the component by the same executable that runs now (`/proc/self/exe`), with the same
    // wasmtime and the same configuration, and came over a pipe that no other process has. Its digest shows that it is
    // complete. It is as trustworthy as what this process would compile itself.
    unsafe { Component::deserialize(engine, code) }
        .map_err(|error| Error::failed("cannot load a compiled component").cause(format!("{error:#}")))
}
