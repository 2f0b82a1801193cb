//! Machine code of components that did not come with the binary, kept in the state directory, so that a renewal
//! compiles nothing. Only a cache: what does not fit is made again, and nothing fails for lack of it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use warded_lib::{digest::Digest, machine::private::StateDir};
use wasmtime::Engine;

const DIRECTORY: &str = "compiled";
/// As many are kept; one more, and all others go.
const KEPT: usize = 8;

/// The cache in a state directory: only its owner can have written what is in it.
#[derive(Clone, Debug)]
pub struct Compiled(StateDir);

impl Compiled {
    /// The cache in a state directory.
    #[must_use]
    pub fn in_state(state: &StateDir) -> Self {
        Self(state.clone())
    }

    /// The machine code of a component, if it is here and whole.
    pub(super) fn find(&self, engine: &Engine, component: &Digest) -> Option<Vec<u8>> {
        let directory = self.0.find_sub(DIRECTORY).ok()??;
        let mut code = directory.read(&name(engine, component)).ok()??.to_vec();
        let seal = code.split_off(code.len().checked_sub(Digest::BYTES)?);
        (sealed(&code, component).bytes() == seal.as_slice()).then_some(code)
    }

    /// Keeps machine code. Where that fails, the next run compiles again.
    pub(super) fn keep(&self, engine: &Engine, component: &Digest, code: &[u8]) {
        let kept = (|| {
            let directory = self.0.sub(DIRECTORY)?;
            let names = directory.names()?;
            if names.len() >= KEPT {
                names.iter().try_for_each(|name| directory.remove(name))?;
            }
            let bytes = [code, sealed(code, component).bytes()].concat();
            directory.write_one_of_many(&name(engine, component), &bytes, 0o600)
        })();
        // A full disk, for example: the component has been compiled all the same.
        kept.unwrap_or_default();
    }
}

/// Another release of wasmtime, or another configuration, takes other machine code.
fn name(engine: &Engine, component: &Digest) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let digits = component.to_string();
    format!("{}-{:016x}", digits.trim_start_matches("sha256:"), hasher.finish())
}

/// What shows that the code is whole, and this component's.
fn sealed(code: &[u8], component: &Digest) -> Digest {
    Digest::of(&[Digest::of(code).bytes().as_slice(), component.bytes()].concat())
}
