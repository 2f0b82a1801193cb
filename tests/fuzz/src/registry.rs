//! What a registry answers, and where it is, as the host reads that.

pub use warded_lib::registry::credentials::Credentials;
pub use warded_lib::registry::{Artifact, Reference, SignedManifest, Version};

use warded_lib::{
    digest::Digest,
    error::Result,
    registry::{credentials, manifest},
};

/// What there is in the manifest of an artifact.
#[derive(Debug, PartialEq, Eq)]
pub struct ManifestParts {
    pub component: Digest,
    /// Its bytes.
    pub size: u64,
    pub signed: Option<SignedManifest>,
    /// The manifest, written again.
    pub again: Vec<u8>,
}

/// Reads the manifest of an artifact.
///
/// # Errors
/// It is none.
pub fn described(bytes: &[u8]) -> Result<ManifestParts> {
    let manifest = manifest::Manifest::parse(bytes)?;
    let component = manifest.component().expect("a manifest that was read has a component");
    let (component, size) = (component.digest, component.size);
    Ok(ManifestParts { component, size, signed: manifest.signed(), again: manifest.to_bytes()? })
}

/// The manifest that an artifact is stored with.
///
/// # Errors
/// Never: every field is a text or a number.
pub fn stored(artifact: &Artifact) -> Result<Vec<u8>> {
    manifest::Manifest::of(artifact, &manifest::config(&artifact.component)).to_bytes()
}

/// The token server and the service that a challenge names.
#[must_use]
pub fn challenged(challenge: &str) -> Option<(String, Option<String>)> {
    credentials::bearer(challenge).map(|bearer| (bearer.realm, bearer.service))
}

/// The header with the token in an answer, and what a log would get of both.
///
/// # Errors
/// There is none in it.
pub fn authorization(answer: &[u8]) -> Result<(Vec<u8>, String)> {
    let access = credentials::token(answer)?;
    let header = access.header()?;
    Ok((header.as_bytes().to_vec(), format!("{access:?} {header:?}")))
}
