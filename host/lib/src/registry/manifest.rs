//! The OCI manifest of an artifact with one component, in the layout of the CNCF's Wasm group. Warded's signed manifest
//! and its signature are annotations in it, since older registries do not support referrers.

use crate::{
    digest::Digest,
    error::{Error, Result},
    text::neutral,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The media type of the manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const COMPONENT: &str = "application/wasm";
const SIGNED: &str = "warded.policy.manifest";
const SIGNATURE: &str = "warded.policy.signature";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u64,
    #[serde(default)]
    media_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Describes a blob: type, digest and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    media_type: String,
    pub digest: Digest,
    pub size: u64,
}

impl Descriptor {
    fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        }
    }
}

/// The configuration of such an artifact. It contains no date, so that the same component always gives the same
/// artifact.
#[must_use]
pub fn config(component: &[u8]) -> Vec<u8> {
    let digest = Digest::of(component);
    serde_json::json!({
        "created": "1970-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2", "layerDigests": [digest],
    })
    .to_string()
    .into_bytes()
}

impl Manifest {
    /// The manifest of an artifact.
    #[must_use]
    pub fn of(artifact: &super::Artifact, config: &[u8]) -> Self {
        let annotations = artifact.signed.iter().flat_map(|signed| {
            [(SIGNED.to_owned(), signed.manifest.clone()), (SIGNATURE.to_owned(), signed.signature.clone())]
        });
        Self {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            config: Descriptor::of(CONFIG, config),
            layers: vec![Descriptor::of(COMPONENT, &artifact.component)],
            annotations: annotations.collect(),
        }
    }

    /// The bytes that are stored.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::failed("cannot write the manifest of the artifact").cause(error))
    }

    /// Parses a manifest that a registry sent.
    ///
    /// # Errors
    /// Refused: it is not the manifest of an artifact with one component.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |why: String| Error::refused("the registry's manifest is not one of a policy").cause(why);
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| wrong(neutral(&error.to_string())))?;
        if manifest.schema_version != 2 || !matches!(manifest.media_type.as_str(), "" | MANIFEST) {
            return Err(wrong(format!("its type is {:?}", neutral(&manifest.media_type))));
        }
        if manifest.config.media_type != CONFIG {
            return Err(wrong(format!("its configuration is {:?}", neutral(&manifest.config.media_type))));
        }
        match manifest.layers.as_slice() {
            [layer] if layer.media_type == COMPONENT => Ok(manifest),
            [layer] => Err(wrong(format!("its layer is {:?}", neutral(&layer.media_type)))),
            layers => Err(wrong(format!("it has {} layers, and a policy has one", layers.len()))),
        }
    }

    #[must_use]
    pub fn component(&self) -> Option<&Descriptor> {
        self.layers.first()
    }

    /// The signed manifest and its signature, if it has both.
    #[must_use]
    pub fn signed(&self) -> Option<super::SignedManifest> {
        let annotation = |name: &str| self.annotations.get(name).cloned();
        Some(super::SignedManifest { manifest: annotation(SIGNED)?, signature: annotation(SIGNATURE)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_manifest_of_one_component_is_one() {
        let artifact = super::super::Artifact {
            component: b"component".to_vec(),
            signed: Some(super::super::SignedManifest { manifest: "m".to_owned(), signature: "s".to_owned() }),
        };
        let bytes = Manifest::of(&artifact, &config(&artifact.component)).to_bytes().unwrap();
        let read = Manifest::parse(&bytes).unwrap();
        assert_eq!(read.component(), Some(&Descriptor::of(COMPONENT, b"component")));
        assert_eq!(read.signed(), artifact.signed);
        let text = String::from_utf8(bytes).unwrap();
        let layer = serde_json::to_string(&read.layers.first()).unwrap();
        for (from, to, why) in [
            ("\"schemaVersion\":2", "\"schemaVersion\":1", "its type is "),
            ("image.manifest", "image.index", "its type is "),
            ("vnd.wasm.config", "vnd.oci.config", "its configuration is "),
            (COMPONENT, "application/x\\u001b", "its layer is "),
            (layer.as_str(), "", "it has 0 layers"),
            (&layer, &format!("{layer},{layer}"), "it has 2 layers"),
            ("\"size\":9", "\"size\":-9", "invalid value"),
            ("sha256:", "sha512:", "not a digest"),
            ("{", "", "invalid type"),
        ] {
            let changed = text.replacen(from, to, if from == "sha256:" { 2 } else { 1 });
            assert_ne!(changed, text, "{from}");
            let error = Manifest::parse(changed.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
        }
    }
}
