//! The one reviewed file with `unsafe`: machine code that this binary's own build made, its compiler now, or its
//! compiler earlier.
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

/// Loads machine code that an earlier run kept, or an administrator put in place.
///
/// # Errors
/// There is no such file, or it is not used: it is not safe or not whole, or this processor or this wasmtime cannot run
/// it.
pub(super) fn load_kept(
    engine: &Engine,
    kept: &CompiledCache,
    component: &Digest,
) -> std::result::Result<Component, MissingCode> {
    let missing = |why: Option<String>| MissingCode { file: kept.file(component), why };
    let code = kept.find(component).map_err(|error| missing(Some(error.brief())))?.ok_or_else(|| missing(None))?;
    // SAFETY: `code` was made from the component by an earlier run of this user, as below, or by `warded policy compile`,
    // and this user put it there. Nobody else can write the file, or to the directory that it lies in (`StateDir` sees to
    // both), and its seal shows that it is whole and this component's. Whoever could forge it could change this program's
    // configuration and its policies, too.
    unsafe { Component::deserialize(engine, code) }.map_err(|error| {
        let (file, why) = (neutral_path(&kept.file(component)), guest_error::short(&format!("{error:#}")));
        missing(Some(format!("{file} cannot be loaded: {why}")))
    })
}

/// Compiles a component in a process apart, loads what that gives, and keeps it in a cache. `sought`: the machine code that was
/// not there.
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
    // SAFETY: `code` was made from the component by the very file that runs (`/proc/self/exe`), with the same
    // wasmtime and the same configuration, and came over a pipe that no other process has. Its digest shows that
    // it is whole. It is as trustworthy as what this process would compile itself.
    unsafe { Component::deserialize(engine, code) }
        .map_err(|error| Error::failed("cannot load a compiled component").cause(format!("{error:#}")))
}
