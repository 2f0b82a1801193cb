//! What the fuzz targets share: the product's own code, without what runs guests, so that all of it is
//! compiled with coverage in a minute or two.

extern crate self as warded_engine;

/// Links to the host's files, as those below.
pub mod broker {
    pub mod recording {
        mod bytes;
        mod call;
        mod effects;
        #[expect(dead_code, reason = "the host has limits for reading and writing them")]
        mod file;

        pub use bytes::bytes;
        pub use call::{Call, Outcome};
        pub use effects::{Difference, differences};
        pub use file::{Head, Recording};
    }
}
pub mod components {
    pub mod read;
}
mod features;
pub mod publishing {
    pub mod archive;
    pub mod lock;
    pub mod manifest;
    pub mod signers;

    /// As in the host's `publishing.rs`.
    const MAX_BYTES: u64 = 64 << 10;
}
pub mod reach;
pub mod recipe;
pub mod reference;
pub mod registry;
pub mod sandbox {
    pub mod imports;
}

pub use features::FEATURES;
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
