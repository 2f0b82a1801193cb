//! `policies.lock`: which policies an administrator added, where they came from, and who signed them. One file serves
//! many machines, since it identifies everything by digest.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use warded_lib::{
    digest::Digest,
    error::{Error, Result},
    name::Name,
    registry::{Reference, Version},
    text::{is_neutral, neutral},
};

/// The largest lock file that is read, in bytes.
pub const MAX_BYTES: u64 = 4 << 20;
const SCHEMA: &str = "warded.policies-lock/1";
const HEAD: &str = "# `warded policy add`, `update`, `rollback` and `remove` write this file.\n";

/// The policies, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock(BTreeMap<Name, Entry>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub version: String,
    /// The digest of its component.
    pub component: Digest,
    /// Who signed it; `None` if nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
    /// A reference to an artifact, or the name of a file.
    pub source: String,
    /// The digest of the artifact in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
    /// The policy file, if it grants less than the component asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<String>,
}

/// Where a policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A registry: the artifact by its digest.
    Registry(Reference),
    /// A file of this name.
    File(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    policy: BTreeMap<Name, Entry>,
}

impl Entry {
    /// Whether both name the same component, publisher and grants, wherever they are from.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        *self == Self { source: self.source.clone(), artifact: self.artifact, ..other.clone() }
    }

    /// Where to get the policy from.
    ///
    /// # Errors
    /// The entry does not say that; the text explains it.
    pub fn place(&self) -> std::result::Result<Place, String> {
        if self.source.starts_with("oci://") {
            let reference: Reference = self.source.parse()?;
            return match (&reference.version, self.artifact) {
                (Version::Pinned(digest), Some(artifact)) if *digest != artifact => {
                    Err(format!("source names {digest}, and artifact is {artifact}"))
                }
                (_, Some(artifact)) => Ok(Place::Registry(reference.pinned(artifact))),
                (_, None) => Err(format!("{reference} has no artifact, which is its digest in the registry")),
            };
        }
        if self.artifact.is_some() {
            return Err("only what is in a registry has an artifact".to_owned());
        }
        if is_file_name(&self.source) {
            Ok(Place::File(self.source.clone()))
        } else {
            Err(format!("{:?} is neither a reference nor the name of a file", neutral(&self.source)))
        }
    }
}

/// Whether a lock file may contain this name of a component's file.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    !name.starts_with('.') && !name.contains('/') && name.ends_with(".wasm") && name.len() <= 255 && is_neutral(name)
}

impl Lock {
    /// The entries, in the order of their names.
    pub fn entries(&self) -> impl Iterator<Item = (&Name, &Entry)> {
        self.0.iter()
    }

    /// Adds an entry, or replaces the one with this name.
    pub fn set(&mut self, name: &Name, entry: Entry) {
        self.0.insert(name.clone(), entry);
    }

    /// Removes an entry.
    pub fn remove(&mut self, name: &Name) {
        self.0.remove(name);
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// Refused: it is not a lock file.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |why: String| Error::refused("this is no file of locked policies").cause(why);
        let text = str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        let file: File = toml::from_str(text).map_err(|error| wrong(neutral(error.message())))?;
        if file.schema != SCHEMA {
            return Err(wrong(format!("its schema is {:?}, and this Warded reads {SCHEMA}", neutral(&file.schema))));
        }
        for (name, entry) in &file.policy {
            entry.place().map_err(|why| wrong(format!("policy {name}: {why}")))?;
            let texts = [Some(&entry.version), entry.publisher.as_ref()];
            if let Some(text) = texts.into_iter().flatten().find(|text| !is_neutral(text)) {
                return Err(wrong(format!("policy {name}: {:?} has control characters", neutral(text))));
            }
        }
        Ok(Self(file.policy))
    }

    /// The lock file as text.
    ///
    /// # Errors
    /// Never: every field is a text.
    pub fn to_text(&self) -> Result<String> {
        let file = File { schema: SCHEMA.to_owned(), policy: self.0.clone() };
        let text = toml::to_string_pretty(&file)
            .map_err(|error| Error::failed("cannot write the file of locked policies").cause(error))?;
        Ok(format!("{HEAD}{text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(source: &str, artifact: Option<Digest>) -> Entry {
        Entry {
            version: "1.2.0".to_owned(),
            component: Digest::of(b"component"),
            publisher: Some("ops@example.org".to_owned()),
            source: source.to_owned(),
            artifact,
            grants: None,
        }
    }

    #[test]
    fn a_lock_file_reads_back_in_the_order_of_names() {
        let digest = Digest::of(b"manifest");
        let mut lock = Lock::default();
        lock.set(&"b".parse().unwrap(), entry("oci://r.example.org/p/b:1.2.0", Some(digest)));
        let narrowed = Some("name = 'a'\n[procedure.p]\nsummary = \"'''\"\n".to_owned());
        lock.set(&"a".parse().unwrap(), Entry { grants: narrowed, publisher: None, ..entry("a.wasm", None) });
        let text = lock.to_text().unwrap();
        assert_eq!(Lock::parse(text.as_bytes()).unwrap(), lock);
        assert!(text.find("[policy.a]") < text.find("[policy.b]"), "{text}");
        let places: Vec<Place> = lock.entries().map(|(_, entry)| entry.place().unwrap()).collect();
        let pinned = format!("oci://r.example.org/p/b@{digest}").parse().unwrap();
        assert_eq!(places, [Place::File("a.wasm".to_owned()), Place::Registry(pinned)]);
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_entry() {
        let digest = Some(Digest::of(b"manifest"));
        let other = Digest::of(b"another");
        for (entry, why) in [
            (entry("../a.wasm", None), "neither a reference nor the name of a file"),
            (entry("/etc/a.wasm", None), "neither a reference"),
            (entry(".a.wasm", None), "neither a reference"),
            (entry("a", None), "neither a reference"),
            (entry("a\u{1b}.wasm", None), "neither a reference"),
            (entry("https://r/a.wasm", None), "neither a reference"),
            (entry("a.wasm", digest), "only what is in a registry"),
            (entry("oci://r/a:1", None), "has no artifact"),
            (entry(&format!("oci://r/a@{other}"), digest), "and artifact is"),
            (entry("oci://u@r/a:1", digest), "no host"),
        ] {
            let mut lock = Lock::default();
            lock.set(&"a".parse().unwrap(), entry);
            let error = Lock::parse(lock.to_text().unwrap().as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why) && error.lines().all(is_neutral), "{why}: {error}");
        }
        let text = Lock::default().to_text().unwrap();
        for (text, why) in [
            (text.replace("lock/1", "lock/2"), "this Warded reads"),
            (format!("{text}more = 1\n"), "unknown field"),
            (format!("{text}[policy.A]\n"), "is not a name"),
            (String::new(), "missing field"),
        ] {
            let error = Lock::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
        }
    }
}
