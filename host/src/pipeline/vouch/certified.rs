//! Which keys had a host certificate on this machine, by the path of their private key. If a path is recorded with
//! another key than the one that is there now, the key was made anew.

use serde::{Deserialize, Serialize};
use ssh_key::PublicKey;
use std::collections::{BTreeMap, BTreeSet};
use warded_lib::{
    digest::Digest,
    error::{Error, Label, Result},
    machine::{path::AbsolutePath, private::StateDir},
    text::neutral,
};

const SCHEMA: &str = "warded.certified-keys/1";
const FILE: &str = "certified-keys.json";

/// The record. If it cannot be read, any key may have had a certificate, and the file is not overwritten.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertifiedKeys {
    schema: String,
    keys: BTreeMap<String, BTreeSet<Digest>>,
    #[serde(skip)]
    is_changed: bool,
    #[serde(skip)]
    fault: Option<Error>,
}

impl Default for CertifiedKeys {
    fn default() -> Self {
        Self { schema: SCHEMA.to_owned(), keys: BTreeMap::new(), is_changed: false, fault: None }
    }
}

impl CertifiedKeys {
    /// The record of this machine; empty if there is no file yet.
    #[must_use]
    pub fn load(state: &StateDir) -> Self {
        Self::read(state).unwrap_or_else(|fault| Self { fault: Some(fault), ..Self::default() })
    }

    fn read(state: &StateDir) -> Result<Self> {
        let Some(bytes) = state.read(FILE)? else { return Ok(Self::default()) };
        let unreadable = |why: &str| {
            Error::failed(format!("cannot read the record of certified keys {}", state.path().join(FILE).display()))
                .cause(neutral(why))
                .next("use the version of Warded that wrote it, or remove that file: `renew` writes a new one")
        };
        let record: Self = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error.to_string()))?;
        if record.schema != SCHEMA {
            return Err(unreadable(&format!("its schema is {}, and this version knows {SCHEMA}", record.schema)));
        }
        Ok(record)
    }

    /// Why the record cannot be read, or could not be written.
    #[must_use]
    pub fn fault(&self) -> Option<&Error> {
        self.fault.as_ref()
    }

    /// Notes that a key has a certificate.
    pub fn note(&mut self, path: &AbsolutePath, key: &PublicKey) {
        let Some(digest) = digest(key) else { return };
        self.is_changed |= self.keys.entry(path.as_str().to_owned()).or_default().insert(digest);
    }

    /// Writes the record, if it has changed and could be read.
    pub fn save(&mut self, state: &StateDir) {
        if self.is_changed && self.fault.is_none() {
            let written = serde_json::to_vec_pretty(self)
                .map_err(|error| Error::failed("cannot write the record of certified keys").cause(error))
                .and_then(|text| state.write(FILE, &text, 0o600));
            self.fault = written.err();
            self.is_changed = false;
        }
    }

    /// Whether a key had a certificate, or may have had one, under any path.
    #[must_use]
    pub fn had(&self, key: &PublicKey) -> bool {
        self.fault.is_some() || digest(key).is_none_or(|digest| self.keys.values().any(|keys| keys.contains(&digest)))
    }

    /// Whether another key had a certificate under that path.
    #[must_use]
    pub fn another_had(&self, path: &AbsolutePath, key: &PublicKey) -> bool {
        let own = digest(key);
        self.keys.get(path.as_str()).is_some_and(|keys| keys.iter().any(|known| Some(*known) != own))
    }
}

/// Notes that these keys have certificates.
///
/// # Errors
/// The record cannot be read or written.
pub fn note<'a>(state: &StateDir, keys: impl IntoIterator<Item = (&'a AbsolutePath, &'a PublicKey)>) -> Result<()> {
    let mut certified = CertifiedKeys::load(state);
    keys.into_iter().for_each(|(path, key)| certified.note(path, key));
    certified.save(state);
    certified.fault.map_or(Ok(()), Err)
}

/// What follows if the record cannot be read or written, in a sentence.
#[must_use]
pub fn warning(fault: &Error) -> String {
    let notes = fault.notes().map(|(label, text)| match label {
        Label::Cause => format!(": {text}"),
        Label::Seen | Label::State | Label::Next => format!("; {label}: {text}"),
    });
    let why: String = notes.collect();
    format!("No host key is certified on the word of another one: {}{why}", fault.message())
}

fn digest(key: &PublicKey) -> Option<Digest> {
    key.to_bytes().ok().map(|bytes| Digest::of(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use warded_lib::machine::keys::generate;

    #[test]
    fn a_key_that_was_made_anew_is_known_by_the_one_before_it() {
        let scratch = tempfile::tempdir().unwrap();
        let state = StateDir::open(&scratch.path().join("state")).unwrap();
        let [old, new, other] = [(); 3].map(|()| generate("ssh-ed25519", "x").unwrap().public);
        let [path, elsewhere] = ["/etc/ssh/a", "/etc/ssh/b"].map(|path| path.parse::<AbsolutePath>().unwrap());
        assert!(!CertifiedKeys::load(&state).another_had(&path, &new), "nothing is known");
        note(&state, [(&path, &old), (&elsewhere, &other)]).unwrap();
        let known = CertifiedKeys::load(&state);
        for (at, key, had, another_had) in [
            (&path, &old, true, false),
            (&path, &new, false, true),
            (&path, &other, true, true),
            (&elsewhere, &old, true, true),
        ] {
            assert_eq!((known.had(key), known.another_had(at, key)), (had, another_had));
        }
        // The old key comes back: it had a certificate.
        note(&state, [(&path, &new)]).unwrap();
        let known = CertifiedKeys::load(&state);
        assert!(known.had(&old) && known.had(&new) && known.another_had(&path, &old));
    }

    #[test]
    fn where_the_record_cannot_be_read_any_key_may_have_had_a_certificate() {
        let scratch = tempfile::tempdir().unwrap();
        let state = StateDir::open(&scratch.path().join("state")).unwrap();
        let [key, other] = [(); 2].map(|()| generate("ssh-ed25519", "x").unwrap().public);
        let path: AbsolutePath = "/etc/ssh/a".parse().unwrap();
        for (text, cause) in [
            ("", "EOF"),
            ("{}", "missing field"),
            (r#"{"schema":"warded.certified-keys/2","keys":{}}"#, "this version knows warded.certified-keys/1"),
            (r#"{"schema":"warded.certified-keys/1","keys":{},"more":1}"#, "unknown field"),
        ] {
            state.write(FILE, text.as_bytes(), 0o600).unwrap();
            let known = CertifiedKeys::load(&state);
            assert!(known.had(&key) && !known.another_had(&path, &other), "{text}");
            let error = note(&state, [(&path, &key)]).unwrap_err();
            assert!(warning(&error).contains(cause), "{text}: {}", warning(&error));
            let left = state.read(FILE).unwrap().unwrap();
            assert_eq!(left.as_slice(), text.as_bytes(), "nothing is written in its place");
        }
    }
}
