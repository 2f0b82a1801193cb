//! The compiler itself, in the process that a run started for it.

use super::{MEMORY_BYTES, PROCESSOR_SECONDS};
use crate::sandbox::guest_error;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    io::{self, Read as _, Write as _},
    panic::{self, AssertUnwindSafe},
};
use warded_lib::{
    digest::Digest,
    error::{Error, Result},
};
use wasmtime::Engine;

/// The limit of its address space: the memory for compiling, plus the program and its libraries.
const ADDRESS_BYTES: u64 = MEMORY_BYTES + (256 << 20);

/// Reads a component from standard input, and writes its machine code to standard output.
///
/// # Errors
/// It cannot be compiled.
pub fn serve() -> Result<()> {
    let failed = |what: &str, error: io::Error| Error::failed(format!("the compiler {what}")).cause(error);
    limit().map_err(|error| failed("cannot set its own limits", error))?;
    let mut component = Vec::new();
    io::stdin().lock().read_to_end(&mut component).map_err(|error| failed("cannot read the component", error))?;
    let mut config = warded_engine::config();
    // With a target, the code runs on every processor of that kind, as the code of the bundled components does.
    config
        .target(env!("WARDED_TARGET"))
        .map_err(|error| Error::failed("the compiler has no such target").cause(error))?;
    // Each thread would take memory, and there may be many processors.
    config.parallel_compilation(false);
    let code = refuse_panic(|| {
        Engine::new(&config)
            .and_then(|engine| engine.precompile_component(&component))
            .map_err(|error| Error::refused(guest_error::short(&format!("{error:#}"))))
    })?;
    let mut output = io::stdout().lock();
    [code.as_slice(), Digest::of(&code).bytes()]
        .into_iter()
        .try_for_each(|part| output.write_all(part))
        .and_then(|()| output.flush())
        .map_err(|error| failed("cannot write its machine code", error))
}

/// Turns a panic of the compiler into a refusal of the component.
fn refuse_panic<T>(compile: impl FnOnce() -> Result<T>) -> Result<T> {
    panic::set_hook(Box::new(|_| {}));
    panic::catch_unwind(AssertUnwindSafe(compile)).unwrap_or_else(|payload| {
        let why = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref().copied());
        Err(Error::refused(format!(
            "the compiler fails on it: {}",
            guest_error::short(why.unwrap_or("no reason given"))
        )))
    })
}

/// Sets the limits of this process. A tighter limit that it was started with stays.
fn limit() -> io::Result<()> {
    let bounds = [
        (Resource::Data, MEMORY_BYTES),
        (Resource::As, ADDRESS_BYTES),
        // It must end even if the run that started it is killed.
        (Resource::Cpu, PROCESSOR_SECONDS),
        // It writes only to its pipe, and to no file.
        (Resource::Fsize, 0),
    ];
    bounds.into_iter().try_for_each(|(resource, bound)| {
        let bound = getrlimit(resource).maximum.map_or(bound, |given| given.min(bound));
        setrlimit(resource, Rlimit { current: Some(bound), maximum: Some(bound) }).map_err(io::Error::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_that_panics_refuses() {
        for why in ["in a word", "with a value"] {
            let error = refuse_panic::<()>(|| if why.len() == 9 { panic!("in a word") } else { panic!("{why}") });
            assert_eq!(error.unwrap_err().message(), format!("the compiler fails on it: {why}"));
        }
        assert_eq!(refuse_panic(|| Ok(7)).unwrap(), 7);
    }
}
