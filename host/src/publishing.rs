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

/// The files beside the directory of policies that decide which components may be accepted.
#[must_use]
pub fn beside_policies(policies: &Path) -> [PathBuf; 3] {
    let allowed = signature::default_allowed_signers(policies);
    [pinned::file(policies), signature::revoked_signers(&allowed), allowed]
}

/// The paths of a component's manifest and of its signature.
#[must_use]
pub fn beside(component: &Path) -> (PathBuf, PathBuf) {
    let with = |ending: &str| {
        let mut name = component.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    (with(".manifest"), with(".manifest.sig"))
}

/// The signed manifest of a component and its signature, from the files beside it; `None` if neither exists.
///
/// # Errors
/// One of them is missing, too large, or not text.
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
