//! All policies of a lock file in one file, with their components and signatures, for a machine without a network.

use crate::{lock::Entry, manifest::MAX_BYTES as MAX_SIGNED_BYTES, read::MAX_COMPONENT_BYTES};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};
use std::{collections::BTreeMap, fmt};
use warded_lib::{
    digest::Digest,
    error::{Error, Result},
    name::Name,
    registry::{Artifact, SignedManifest},
    text::neutral,
};

/// The largest archive that is read, in bytes.
pub const MAX_BYTES: u64 = 256 << 20;
const SCHEMA: &str = "warded.policies/1";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    schema: String,
    #[serde(deserialize_with = "each_once")]
    policies: BTreeMap<Name, ArchivedPolicy>,
}

/// A policy in an archive.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArchivedPolicy {
    lock: Entry,
    /// The bytes in Base64.
    component: String,
    signed: Option<SignedManifest>,
}

/// Parses a map in which no name occurs twice: of two, JSON parsers keep the last, and people read the first.
fn each_once<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<BTreeMap<Name, ArchivedPolicy>, D::Error> {
    struct Policies;
    impl<'de> Visitor<'de> for Policies {
        type Value = BTreeMap<Name, ArchivedPolicy>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("policies by their names")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some((name, saved)) = map.next_entry::<Name, ArchivedPolicy>()? {
                if let Some((name, _)) = all.get_key_value(&name) {
                    return Err(A::Error::custom(format!("policy {name} is there twice")));
                }
                all.insert(name, saved);
            }
            Ok(all)
        }
    }
    from.deserialize_map(Policies)
}

impl Archive {
    /// An archive of these policies. The same policies give the same bytes.
    #[must_use]
    pub fn of(policies: impl IntoIterator<Item = (Name, Entry, Artifact)>) -> Self {
        let saved = policies.into_iter().map(|(name, lock, artifact)| {
            let component = STANDARD.encode(&artifact.component);
            (name, ArchivedPolicy { lock, component, signed: artifact.signed })
        });
        Self { schema: SCHEMA.to_owned(), policies: saved.collect() }
    }

    /// The archive as a file.
    ///
    /// # Errors
    /// Never: every field is a text.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::failed("cannot write the file of policies").cause(error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads an archive. Each component matches the digest of its entry; no signature has been verified.
    ///
    /// # Errors
    /// Refused: it is not an archive, or not complete.
    pub fn parse(bytes: &[u8]) -> Result<Vec<(Name, Entry, Artifact)>> {
        let wrong = |why: String| {
            Error::refused("this is no file of saved policies").cause(why).next("`warded policy save` writes one")
        };
        let archive: Self = serde_json::from_slice(bytes).map_err(|error| wrong(neutral(&error.to_string())))?;
        if archive.schema != SCHEMA {
            return Err(wrong(format!("its schema is {:?}, and this Warded reads {SCHEMA}", neutral(&archive.schema))));
        }
        let read = |(name, saved): (Name, ArchivedPolicy)| {
            saved.lock.place().map_err(|why| wrong(format!("policy {name}: {why}")))?;
            let component =
                STANDARD.decode(&saved.component).map_err(|error| wrong(format!("policy {name}: {error}")))?;
            let is_larger = |length: usize, limit: u64| u64::try_from(length).is_ok_and(|length| length > limit);
            let texts = saved.signed.iter().flat_map(|signed| [&signed.manifest, &signed.signature]);
            if is_larger(component.len(), MAX_COMPONENT_BYTES) {
                return Err(wrong(format!("the component of {name} is larger than {} MiB", MAX_COMPONENT_BYTES >> 20)));
            }
            if texts.into_iter().any(|text| is_larger(text.len(), MAX_SIGNED_BYTES)) {
                return Err(wrong(format!("the signature of {name} is larger than {} KiB", MAX_SIGNED_BYTES >> 10)));
            }
            let found = Digest::of(&component);
            if found != saved.lock.component {
                return Err(wrong(format!(
                    "the component of {name} has the digest {found}, and is to have {}",
                    saved.lock.component
                )));
            }
            Ok((name, saved.lock, Artifact { component, signed: saved.signed }))
        };
        archive.policies.into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_whole_or_refused() {
        let entry = Entry {
            version: "1".to_owned(),
            component: Digest::of(b"component"),
            publisher: None,
            source: "a.wasm".to_owned(),
            artifact: None,
            grants: None,
        };
        let signed = Some(SignedManifest { manifest: "m".to_owned(), signature: "s".to_owned() });
        let all = || {
            [(
                "a".parse().unwrap(),
                entry.clone(),
                Artifact { component: b"component".to_vec(), signed: signed.clone() },
            )]
        };
        let bytes = Archive::of(all()).to_bytes().unwrap();
        assert_eq!(Archive::parse(&bytes).unwrap(), all());
        let text = String::from_utf8(bytes).unwrap();
        for (from, to, why) in [
            ("warded.policies/1", "warded.policies/2", "this Warded reads"),
            (STANDARD.encode("component").as_str(), &STANDARD.encode("Component"), "is to have"),
            (&STANDARD.encode("component"), "!", "Invalid"),
            ("a.wasm", "../a.wasm", "neither a reference"),
            ("\"signed\"", "\"other\"", "unknown field"),
            ("}\n", "", "EOF"),
        ] {
            let changed = if from == "}\n" { text[..text.len() - 2].to_owned() } else { text.replace(from, to) };
            assert_ne!(changed, text, "{from}");
            let error = Archive::parse(changed.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
        }
    }

    /// A person who reads the file sees the first entry, and a map would keep the last.
    #[test]
    fn a_policy_is_in_an_archive_once() {
        let entry = |component: &[u8]| {
            let digest = Digest::of(component);
            let component = STANDARD.encode(component);
            format!(
                r#""a": {{ "lock": {{ "version": "1", "component": "{digest}", "source": "a.wasm" }},
                "component": "{component}", "signed": null }}"#
            )
        };
        let archive = |policies: &str| format!(r#"{{ "schema": "{SCHEMA}", "policies": {{ {policies} }} }}"#);
        assert_eq!(Archive::parse(archive(&entry(b"one")).as_bytes()).unwrap().len(), 1);
        let twice = archive(&format!("{}, {}", entry(b"one"), entry(b"two")));
        let error = Archive::parse(twice.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("policy a is there twice"), "{error}");
    }

    #[test]
    fn what_is_too_large_for_a_component_or_a_signature_is_refused() {
        let mib16 = usize::try_from(MAX_COMPONENT_BYTES).unwrap();
        let kib64 = usize::try_from(MAX_SIGNED_BYTES).unwrap();
        for (component, manifest, signature, why) in [
            (mib16, kib64, kib64, None),
            (mib16 + 1, 1, 1, Some("component of a is larger than 16 MiB")),
            (1, kib64 + 1, 1, Some("signature of a is larger than 64 KiB")),
            (1, 1, kib64 + 1, Some("signature of a is larger than 64 KiB")),
        ] {
            let component = vec![0; component];
            let entry = Entry {
                version: "1".to_owned(),
                component: Digest::of(&component),
                publisher: None,
                source: "a.wasm".to_owned(),
                artifact: None,
                grants: None,
            };
            let signed = Some(SignedManifest { manifest: "m".repeat(manifest), signature: "s".repeat(signature) });
            let archive = Archive::of([("a".parse().unwrap(), entry, Artifact { component, signed })]);
            let said = Archive::parse(&archive.to_bytes().unwrap()).map_err(|error| error.to_string());
            assert!(
                match (&said, why) {
                    (Ok(_), None) => true,
                    (Err(said), Some(why)) => said.contains(why),
                    (Ok(_), Some(_)) | (Err(_), None) => false,
                },
                "{why:?}: {:?}",
                said.err()
            );
        }
    }
}
