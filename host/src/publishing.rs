//! Who publishes a component: a manifest beside it that names publisher, version and digests, signed by an SSH key.

mod manifest;
pub mod signature;
pub mod signers;

pub use manifest::Manifest;

use std::path::{Path, PathBuf};

/// The largest manifest or signature that is read, in bytes.
pub const MAX_BYTES: u64 = 64 << 10;

/// Where a component's manifest is, and where its signature.
#[must_use]
pub fn beside(component: &Path) -> (PathBuf, PathBuf) {
    let with = |ending: &str| {
        let mut name = component.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    (with(".manifest"), with(".manifest.sig"))
}
