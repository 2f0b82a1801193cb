//! What the fuzz targets share: the product's own code, without what runs guests, so that all of it is
//! compiled with coverage in a minute or two.

pub mod recipe;
pub mod reference;
pub mod registry;

pub use warded_artifact::{archive, embed, imports, lock, manifest, reach, read, recording, signers};
pub use warded_engine::FEATURES;
pub use warded_lib::{audit, ca, digest, error, guard, machine, name, policy, text, transaction};

use std::{path::PathBuf, sync::OnceLock};
use tempfile::TempDir;

/// A directory of this process's own, in memory.
///
/// # Panics
/// Where there is none to be had.
#[must_use]
pub fn scratch() -> PathBuf {
    static SCRATCH: OnceLock<TempDir> = OnceLock::new();
    let made = SCRATCH.get_or_init(|| tempfile::Builder::new().prefix("warded-fuzz-").tempdir_in("/dev/shm").unwrap());
    made.path().to_owned()
}

/// Text that a person gets to see: nothing in it moves a cursor.
///
/// # Panics
/// Where something does.
pub fn is_harmless(text: &str) {
    assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{text:?}");
}
