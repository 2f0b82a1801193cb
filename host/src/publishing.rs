//! Who publishes a component: a manifest beside it that names publisher, version and digests, signed by an SSH key.

pub mod offered;
pub mod pinned;
pub mod signature;

use std::path::{Path, PathBuf};
use warded_artifact::{manifest::MAX_BYTES, read};
use warded_lib::{
    error::{Error, Result},
    registry::SignedManifest,
    text::neutral_path,
};

/// What lies beside the directory of policies, and decides on what comes into it.
#[must_use]
pub fn beside_policies(policies: &Path) -> [PathBuf; 3] {
    let allowed = signature::default_allowed_signers(policies);
    [pinned::file(policies), signature::revoked_signers(&allowed), allowed]
}

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

/// What is signed of a component, and its signature, from the files beside it; none where there is neither.
///
/// # Errors
/// One of them is missing, too large, or no text.
pub fn signed_beside(component: &Path) -> Result<Option<SignedManifest>> {
    let (manifest, signature) = beside(component);
    if !manifest.exists() && !signature.exists() {
        return Ok(None);
    }
    let text = |file: &Path| {
        String::from_utf8(read::any(file, MAX_BYTES)?)
            .map_err(|error| Error::refused(format!("{} is not text", neutral_path(file))).cause(error))
    };
    Ok(Some(SignedManifest { manifest: text(&manifest)?, signature: text(&signature)? }))
}
