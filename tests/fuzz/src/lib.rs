//! The host's own files that read what comes from elsewhere, and nothing else of the host: without
//! what runs guests, all of this is compiled with coverage in a minute or two. Most modules here are
//! links to `host/src`; `guest` has those files of the guests' SDK that edit sshd's configuration.
#![allow(dead_code, reason = "what is not fuzzed is here only because the rest refers to it")]

pub mod audit;
pub mod ca;
pub mod digest;
pub mod error;
pub mod guard;
pub mod guest;
pub mod machine;
#[path = "../../../host/src/operation/block.rs"]
pub mod marked_block;
pub mod policy;
pub mod reference;
pub mod text;
pub mod transaction;

use std::{path::PathBuf, sync::OnceLock};
use tempfile::TempDir;

/// An error as the guests' SDK makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// Its code, and its message.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self(format!("{code}: {}", message.into()))
    }

    /// What it is about.
    #[must_use]
    pub fn about(self, name: &str, value: impl Into<String>) -> Self {
        Self(format!("{} ({name}: {})", self.0, value.into()))
    }
}

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
