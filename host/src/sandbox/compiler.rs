//! The compiler, in a process of its own with bounded memory and time: a component of some hundred KiB can make
//! it want gigabytes. All that is taken over from that process is what it writes, and only if that is whole.

use super::guest_error;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    io::{self, Read as _, Write as _},
    panic::{self, AssertUnwindSafe},
    time::Duration,
};
use warded_lib::{
    digest::Digest,
    error::{Error, Result},
    machine::exec,
    text::neutral,
};
use wasmtime::Engine;

/// The hidden command by which this program is the compiler (`cli/compile.rs`).
pub const COMMAND: &str = "compile";
/// Memory that the compiler may have.
pub const MEMORY_BYTES: u64 = 512 << 20;
/// Its address space: beside that memory, the program and its libraries.
const ADDRESS_BYTES: u64 = MEMORY_BYTES + (256 << 20);
/// Seconds of a processor that it may use. A busy machine may take longer to give it that.
pub const PROCESSOR_SECONDS: u64 = 60;
/// Time after which it is given up, whatever the machine does.
const PATIENCE: Duration = Duration::from_secs(600);
/// Bytes of machine code that are taken over.
const CODE_BYTES: usize = 128 << 20;
/// Bytes of a digest, which ends what the compiler writes: without it, that is not whole.
const DIGEST_BYTES: usize = 32;

/// Compiles a component, in a process apart.
///
/// # Errors
/// Refused: the compiler does not take it, or wants too much. Failed: the process cannot be started.
pub(super) fn compile(component: &[u8]) -> Result<Vec<u8>> {
    let apart = exec::run_self_apart([COMMAND], component, CODE_BYTES + DIGEST_BYTES, PATIENCE)?;
    let refused = |why: &str| {
        let memory = MEMORY_BYTES >> 20;
        let bounds = format!("the compiler has {memory} MiB of memory and {PROCESSOR_SECONDS} s of a processor");
        Err(Error::refused("the component cannot be compiled").cause(format!("{why}\n({bounds})")))
    };
    if apart.timed_out {
        return refused("its compiler did not come to an end in time");
    }
    let mut code = apart.output;
    let end = code.len().saturating_sub(DIGEST_BYTES);
    let digest = code.split_off(end);
    if Digest::of(&code).bytes() == digest.as_slice() {
        return Ok(code);
    }
    let said = neutral(apart.said.trim().lines().next().unwrap_or_default());
    refused(if said.is_empty() {
        "its compiler was killed, having used too much of a processor, or made more machine code than is taken over"
    } else {
        &said
    })
}

/// Is the compiler: reads a component from standard input, and writes its machine code to standard output.
///
/// # Errors
/// It cannot be compiled.
pub fn serve() -> Result<()> {
    let failed = |what: &str, error: io::Error| Error::failed(format!("the compiler {what}")).cause(error);
    limit().map_err(|error| failed("cannot bound itself", error))?;
    let mut component = Vec::new();
    io::stdin().lock().read_to_end(&mut component).map_err(|error| failed("cannot read the component", error))?;
    let mut config = warded_engine::config();
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

/// A component on which the compiler itself fails is refused like one that it does not take.
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

/// Bounds this process; a tighter bound that it was started with stays.
fn limit() -> io::Result<()> {
    let bounds = [
        (Resource::Data, MEMORY_BYTES),
        (Resource::As, ADDRESS_BYTES),
        // Should the run that started it be killed, it still comes to an end.
        (Resource::Cpu, PROCESSOR_SECONDS),
        // It writes to its pipe, and to no file.
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
