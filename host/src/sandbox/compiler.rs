//! The compiler, in a process of its own with bounded memory and time: a component of some hundred KiB can make it want
//! gigabytes. Warded uses only what that process writes, and only if it is complete. A program built without the
//! feature `compiler` has no compiler.

#[cfg(feature = "compiler")]
mod serve;

#[cfg(feature = "compiler")]
pub use serve::serve;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use warded_lib::{
    digest::Digest,
    error::{Error, Result},
    machine::exec,
    text::{neutral, shell_word},
};

/// Whether this program can compile components.
pub const IS_HERE: bool = cfg!(feature = "compiler");
/// The hidden command that runs this program as the compiler (`cli/compile.rs`).
pub const COMMAND: &str = "compile";
/// The memory that the compiler may use.
pub const MEMORY_BYTES: u64 = 512 << 20;
/// The seconds of processor time that it may use. On a busy machine this may take longer in real time.
pub const PROCESSOR_SECONDS: u64 = 60;
/// The time after which the run gives up on it, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(600);
/// The largest accepted size of the machine code, in bytes.
pub(super) const CODE_BYTES: usize = 128 << 20;
/// The length of the digest that ends the compiler's output: output without it is not complete.
const DIGEST_BYTES: usize = 32;

/// The machine code of a component that was looked for and not found, or not used.
#[derive(Debug)]
pub struct MissingCode {
    /// Where it was looked for.
    pub file: PathBuf,
    /// Why the file was not used; `None` if there is no file.
    pub why: Option<String>,
}

/// Compiles a component in a separate process, for every processor of this machine's kind. `sought` is the machine code
/// that was looked for before, if any.
///
/// # Errors
/// Refused: the compiler rejects the component, or needs too much; or there is no compiler. Failed: the process cannot
/// be started.
pub fn compile(component: &[u8], sought: Option<&MissingCode>) -> Result<Vec<u8>> {
    if !IS_HERE {
        return Err(missing(sought));
    }
    let apart = exec::run_self_apart([COMMAND], component, CODE_BYTES + DIGEST_BYTES, PATIENCE)?;
    let refused = |why: &str| {
        let memory = MEMORY_BYTES >> 20;
        let bounds = format!("the compiler has {memory} MiB of memory and {PROCESSOR_SECONDS} s of a processor");
        Err(Error::refused("the component cannot be compiled").cause(format!("{why}\n({bounds})")))
    };
    if apart.timed_out {
        return refused("its compiler did not finish in time");
    }
    let mut code = apart.output;
    let end = code.len().saturating_sub(DIGEST_BYTES);
    let digest = code.split_off(end);
    if Digest::of(&code).bytes() == digest.as_slice() {
        return Ok(code);
    }
    let said = neutral(apart.said.trim().lines().next().unwrap_or_default());
    refused(if said.is_empty() {
        "its compiler was killed: it used too much processor time, or its machine code was larger than allowed"
    } else {
        &said
    })
}

/// Why a program without a compiler cannot run a component, and what to do.
fn missing(sought: Option<&MissingCode>) -> Error {
    let another = format!("use a build of Warded {} that has a compiler", env!("CARGO_PKG_VERSION"));
    let error = Error::refused("the component cannot be compiled").cause(
        "this program was built without a compiler: it runs the policies that came with it, and those that were \
         compiled elsewhere",
    );
    let Some(MissingCode { file, why }) = sought else { return error.next(another) };
    let word = |path: Option<&Path>| shell_word(&path.unwrap_or(file).to_string_lossy());
    let (directory, name) = (word(file.parent()), word(file.file_name().map(Path::new)));
    let error = why.iter().fold(error, Error::seen);
    error
        .next(format!("{another}: warded policy compile FILE.wasm DIRECTORY"))
        .next(format!("then, as root: install -d -m 700 {directory} && install -m 600 DIRECTORY/{name} {directory}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_a_compiler_names_what_helps() {
        let sought = |why: Option<&str>| {
            let why = why.map(str::to_owned);
            missing(Some(&MissingCode { file: "/var/lib/warded/compiled/91be-48".into(), why })).to_string()
        };
        let error = sought(Some("it is a symbolic link"));
        for part in [
            "cannot be compiled",
            "built without a compiler",
            "it is a symbolic link",
            "warded policy compile",
            "install -d -m 700 /var/lib/warded/compiled && \
             install -m 600 DIRECTORY/91be-48 /var/lib/warded/compiled/",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!sought(None).contains("seen:"));
        assert!(!missing(None).to_string().contains("install"));
    }
}
