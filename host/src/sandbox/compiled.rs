//! Machine code of components that did not come with the binary, kept in the state directory so that a renewal need not
//! compile. It is only a cache: code that does not fit is compiled again, and a missing entry is no error.

use super::compiler::CODE_BYTES;
use std::{fs::Metadata, path::PathBuf, time::SystemTime};
use warded_lib::{
    digest::Digest,
    error::{Error, Result},
    machine::private::StateDir,
    text::neutral_path,
};

const DIRECTORY: &str = "compiled";
/// How many entries and how many bytes are kept; the oldest entries are removed to make room.
const KEPT: usize = 32;
const KEPT_BYTES: u64 = 256 << 20;

/// The cache in a state directory: only the directory's owner can have written its contents.
#[derive(Clone, Debug)]
pub struct CompiledCache(StateDir);

impl CompiledCache {
    /// The cache in a state directory.
    #[must_use]
    pub fn in_state(state: &StateDir) -> Self {
        Self(state.clone())
    }

    /// The path of the file for a component's machine code, whether or not the file exists.
    pub(super) fn file(&self, component: &Digest) -> PathBuf {
        self.0.path().join(DIRECTORY).join(name(component))
    }

    /// The machine code of a component; `None` if there is no file for it.
    ///
    /// # Errors
    /// The file is not safe to run, or not complete.
    pub(super) fn find(&self, component: &Digest) -> Result<Option<Vec<u8>>> {
        let Some(directory) = self.0.find_sub(DIRECTORY)? else { return Ok(None) };
        let Some(mut code) = directory.read_owned(&name(component), CODE_BYTES + Digest::BYTES)? else {
            return Ok(None);
        };
        let seal = code.split_off(code.len().saturating_sub(Digest::BYTES));
        if self::seal(&code, component).bytes() == seal.as_slice() {
            return Ok(Some(code));
        }
        let file = neutral_path(&self.file(component));
        Err(Error::refused(format!("{file} is not used"))
            .cause("it is incomplete, or was compiled from another component"))
    }

    /// Stores machine code. If that fails, the next run compiles again.
    pub(super) fn keep(&self, component: &Digest, code: &[u8]) {
        let kept = (|| {
            let directory = self.0.sub(DIRECTORY)?;
            let (name, bytes) = (name(component), sealed(code, component));
            make_room(&directory, &name, bytes.len())?;
            directory.write_one_of_many(&name, &bytes, 0o600)
        })();
        // Storing may fail, for example on a full disk: the component has been compiled all the same.
        kept.unwrap_or_default();
    }
}

/// Removes the oldest entries until there is room for one of this name and size.
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

/// The file name for a component's machine code. It depends on the processor, the system and the release of wasmtime,
/// which all need other machine code. Another version of this program may also need other code; it finds that out when
/// it loads the file.
#[must_use]
pub fn name(component: &Digest) -> String {
    let digits = component.to_string();
    let digits = digits.trim_start_matches("sha256:");
    format!("{digits}-{}-{}", env!("WARDED_MACHINE"), env!("WARDED_WASMTIME"))
}

/// The contents of a file with a component's machine code.
#[must_use]
pub fn sealed(code: &[u8], component: &Digest) -> Vec<u8> {
    [code, seal(code, component).bytes()].concat()
}

/// A digest that shows that the code is complete, belongs to this component, and is for this kind of machine.
fn seal(code: &[u8], component: &Digest) -> Digest {
    let machine = env!("WARDED_MACHINE").as_bytes();
    Digest::of(&[Digest::of(code).bytes().as_slice(), component.bytes(), machine].concat())
}
