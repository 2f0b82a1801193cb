//! The compiler, in a process of its own with bounded memory and time: a component of some hundred KiB can make
//! it want gigabytes. All that is taken over from that process is what it writes, and only if that is whole.
//! A program that was built without the feature `compiler` has none.

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
/// The hidden command by which this program is the compiler (`cli/compile.rs`).
pub const COMMAND: &str = "compile";
/// Memory that the compiler may have.
pub const MEMORY_BYTES: u64 = 512 << 20;
/// Seconds of a processor that it may use. A busy machine may take longer to give it that.
pub const PROCESSOR_SECONDS: u64 = 60;
/// Time after which it is given up, whatever the machine does.
const PATIENCE: Duration = Duration::from_secs(600);
/// Bytes of machine code that are taken over.
pub(super) const CODE_BYTES: usize = 128 << 20;
/// Bytes of a digest, which ends what the compiler writes: without it, that is not whole.
const DIGEST_BYTES: usize = 32;

/// The machine code of a component that was looked for in vain.
#[derive(Debug)]
pub struct MissingCode {
    /// Where it was looked for.
    pub file: PathBuf,
    /// Why what is there was not taken; none: nothing is there.
    pub why: Option<String>,
}

/// Compiles a component, in a process apart, for every processor of this one's kind. `sought` is its machine code, if that
/// was looked for.
///
/// # Errors
/// Refused: the compiler does not take it, or wants too much; or there is no compiler. Failed: the process cannot be
/// started.
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
        "its compiler was killed, having used too much of a processor, or made more machine code than is taken over"
    } else {
        &said
    })
}

/// Why a program without a compiler does not run a component, and what helps.
fn missing(sought: Option<&MissingCode>) -> Error {
    let another = format!("take a build of Warded {} that has a compiler", env!("CARGO_PKG_VERSION"));
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
