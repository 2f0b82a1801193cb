//! Machine code of components that did not come with the binary, kept in the state directory, so that a renewal
//! compiles nothing. Only a cache: what does not fit is made again, and nothing fails for lack of it.

use std::{fs::Metadata, path::PathBuf, time::SystemTime};
use warded_lib::{digest::Digest, error::Result, machine::private::StateDir};

const DIRECTORY: &str = "compiled";
/// As many are kept, and as many bytes of them; for one more, the oldest go.
const KEPT: usize = 32;
const KEPT_BYTES: u64 = 256 << 20;

/// The cache in a state directory: only its owner can have written what is in it.
#[derive(Clone, Debug)]
pub struct CompiledCache(StateDir);

impl CompiledCache {
    /// The cache in a state directory.
    #[must_use]
    pub fn in_state(state: &StateDir) -> Self {
        Self(state.clone())
    }

    /// The directory that they lie in, once there are any.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.0.path().join(DIRECTORY)
    }

    /// The machine code of a component, if it is here and whole.
    pub(super) fn find(&self, component: &Digest) -> Option<Vec<u8>> {
        let directory = self.0.find_sub(DIRECTORY).ok()??;
        let mut code = directory.read(&name(component)).ok()??.to_vec();
        let seal = code.split_off(code.len().checked_sub(Digest::BYTES)?);
        (self::seal(&code, component).bytes() == seal.as_slice()).then_some(code)
    }

    /// Keeps machine code. Where that fails, the next run compiles again.
    pub(super) fn keep(&self, component: &Digest, code: &[u8]) {
        let kept = (|| {
            let directory = self.0.sub(DIRECTORY)?;
            let (name, bytes) = (name(component), sealed(code, component));
            make_room(&directory, &name, bytes.len())?;
            directory.write_one_of_many(&name, &bytes, 0o600)
        })();
        // A full disk, for example: the component has been compiled all the same.
        kept.unwrap_or_default();
    }
}

/// Removes the oldest, so that there is room for one of this name and size.
fn make_room(directory: &StateDir, name: &str, bytes: usize) -> Result<()> {
    let names = directory.names()?.into_iter().filter(|there| there != name);
    let mut there: Vec<(SystemTime, u64, String)> = names
        .map(|name| {
            let found = directory.path().join(&name).symlink_metadata();
            let size = found.as_ref().map_or(0, Metadata::len);
            (found.and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH), size, name)
        })
        .collect();
    there.sort();
    let mut room = KEPT_BYTES.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
    for (number, (_, size, name)) in (1..).zip(there.iter().rev()) {
        room = room.saturating_sub(*size);
        if number >= KEPT || room == 0 {
            directory.remove(name)?;
        }
    }
    Ok(())
}

/// The name of a file with a component's machine code. Another release of wasmtime takes other machine code; so may
/// another version of this program, which finds that out when it loads it.
#[must_use]
pub fn name(component: &Digest) -> String {
    let digits = component.to_string();
    format!("{}-{}", digits.trim_start_matches("sha256:"), env!("WARDED_WASMTIME"))
}

/// The contents of a file with a component's machine code.
#[must_use]
pub fn sealed(code: &[u8], component: &Digest) -> Vec<u8> {
    [code, seal(code, component).bytes()].concat()
}

/// What shows that the code is whole, and this component's.
fn seal(code: &[u8], component: &Digest) -> Digest {
    Digest::of(&[Digest::of(code).bytes().as_slice(), component.bytes()].concat())
}
