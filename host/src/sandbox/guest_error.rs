//! The error for a guest that did not end well: which limit it exceeded, or which failure it met.

use super::{bindings::warded::host::types, limits};
use crate::broker::{limits::exceeded, operation::Failure};
use std::io;
use warded_lib::{
    ca::CaError,
    error::Error,
    name::Name,
    text::{neutral, neutral_lines},
};
use wasmtime::{Trap, WasmBacktrace};

/// The failure codes which say that the machine is in no state to be changed, so that the command is refused. `unsafe`
/// is for whatever a procedure itself finds.
const REFUSALS: [&str; 2] = ["invalid-configuration", "unsafe"];

/// A failure, as a guest gets it.
impl From<Failure> for types::Error {
    fn from(failure: Failure) -> Self {
        let details = failure.details.into_iter().map(|(name, value)| types::Setting { name, value }).collect();
        Self { code: failure.code.into_owned(), message: failure.message, details }
    }
}

/// The failure that the procedure itself ended with, in its own words, with control characters neutralised.
pub(super) fn ended_with(procedure: &Name, error: &types::Error, authority: Option<CaError>) -> Error {
    // If it gave up because of the CA, a person needs the CA's error.
    if let Some(failure) = authority.filter(|failure| failure.code() == error.code) {
        return Error::from(failure);
    }
    let said = format!("{procedure} gave up ({}): {}", short(&error.code), short(&error.message));
    let mut ended = if REFUSALS.contains(&error.code.as_str()) { Error::refused(said) } else { Error::failed(said) };
    for types::Setting { name, value } in error.details.iter().take(limits::ERROR_DETAILS) {
        // A procedure that knows what to do next says so in a detail named `next`.
        ended = if name == "next" {
            ended.next(short(value))
        } else {
            ended.seen(format!("{}: {}", short(name), short(value)))
        };
    }
    if let Some(more) = error.details.len().checked_sub(limits::ERROR_DETAILS).filter(|more| *more > 0) {
        ended = ended.seen(format!("and {more} more details"));
    }
    ended.or_next(match error.code.as_str() {
        "not-a-file" => "move what is there out of the way, then run this again",
        _ => "warded audit log shows what it asked for before that",
    })
}

/// The error for a component that could not be instantiated: what stopped its own code, what it has too many of, or
/// what does not fit.
pub(super) fn not_started(procedure: &Name, error: &wasmtime::Error) -> Error {
    let ran = error.is::<Error>() || error.is::<Trap>() || error.is::<WasmBacktrace>();
    if ran { trapped(procedure, error) } else { limits::too_many(error).unwrap_or_else(|| broken(error)) }
}

/// The error for a component that imports a function which this version does not have, or has with other types.
/// wasmtime reports that in a chain of texts: the interface, the function in it, and what is wrong with the function.
pub(super) fn not_linked(error: &wasmtime::Error) -> Error {
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    let quoted = |at: usize, before: &str| {
        let (named, rest) = chain.get(at)?.split_once('`')?;
        named.starts_with(before).then(|| rest.split('`').next().unwrap_or_default())
    };
    let (Some(interface), Some(function)) = (quoted(0, "component imports"), quoted(1, "instance export")) else {
        return broken(error);
    };
    let interface = interface.rsplit('/').next().unwrap_or(interface);
    let interface = interface.split('@').next().unwrap_or(interface);
    let function = short(&format!("{interface}.{function}"));
    let refused = if chain.last().is_some_and(|last| last.ends_with("implementation is missing")) {
        Error::refused("the component is made for a newer Warded")
            .cause(format!("it needs {function}, which this Warded does not have"))
    } else {
        Error::refused("the component is made for another version of Warded")
            .cause(format!("it needs {function} with other types than this Warded has"))
    };
    refused.state("nothing of it was run").next("update Warded, or use the component that was made for this version")
}

/// The error for a component that exports something else than this version calls, or for which the system has no room.
pub(super) fn broken(error: &wasmtime::Error) -> Error {
    if error.chain().any(|cause| cause.is::<io::Error>() || cause.is::<rustix::io::Errno>()) {
        return Error::failed("the component cannot be loaded")
            .cause(short(&format!("{error:#}")))
            .next("raise what limits this process: ulimit -a shows it");
    }
    Error::refused("the component does not fit this version of Warded").cause(short(&format!("{error:#}")))
}

/// The error for a trap: a denial or a failure of the host is passed on as it is, and other traps are explained.
pub(super) fn trapped(procedure: &Name, error: &wasmtime::Error) -> Error {
    if let Some(own) = error.downcast_ref::<Error>() {
        return own.clone();
    }
    let limit = |what: &str| exceeded(procedure.as_str(), what);
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => limit(&format!("it computed for more than {} s", limits::GUEST_TIME.as_secs())),
        Some(Trap::StackOverflow) => limit("it called itself too deeply (512 KiB of stack)"),
        Some(Trap::UnreachableCodeReached) => limit("it panicked"),
        Some(trap) => limit(&neutral_lines(&trap.to_string())),
        None => {
            // Only the root cause is used, without the backtrace: the guest chose the names of its functions.
            let text = short(&error.root_cause().to_string());
            if text.contains("fuel") {
                limit(&format!("it passed more than {} MiB in one call", limits::CALL_BYTES >> 20))
            } else {
                limit(&text)
            }
        }
    }
}

/// A text that a guest chose, or that contains a guest's names, made safe and short.
pub(super) fn short(text: &str) -> String {
    neutral(&text.chars().take(limits::ERROR_CHARACTERS).collect::<String>())
}
