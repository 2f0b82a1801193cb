//! Reads what is needed to bind a policy to a component. The host checks the rest.

use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A request, as the guest's author wrote it.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Its name, and the component's.
    pub(crate) name: String,
    /// Its procedures.
    pub(crate) procedures: BTreeSet<String>,
    /// The file, byte for byte.
    pub(crate) text: String,
}

/// Why a policy cannot be bound to a component.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("{0}")]
    NotToml(#[from] toml::de::Error),
    #[error("it has no `name` of small letters, digits and `-`")]
    Name,
    #[error("it has a `component`: that line is written when the component is made")]
    Bound,
    #[error("it has no line `version = …` of its own above the first table")]
    Version,
    #[error("it has no procedure")]
    NoProcedure,
}

impl Policy {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        let text = str::from_utf8(bytes).map_err(|_| Invalid::NotUtf8)?.to_owned();
        let table: toml::Table = text.parse()?;
        let name = table.get("name").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err(Invalid::Name);
        }
        if table.contains_key("component") {
            return Err(Invalid::Bound);
        }
        if !text.lines().take_while(|line| !line.starts_with('[')).any(is_version) {
            return Err(Invalid::Version);
        }
        let procedures: BTreeSet<String> = table
            .get("procedure")
            .and_then(toml::Value::as_table)
            .map(|procedures| procedures.keys().cloned().collect())
            .unwrap_or_default();
        if procedures.is_empty() {
            return Err(Invalid::NoProcedure);
        }
        Ok(Self { name, procedures, text })
    }

    /// The same file with the component's digest below the version, which an operator can accept.
    pub(crate) fn bound_to(&self, component: &[u8]) -> String {
        let digest = Sha256::digest(component).iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string does not fail.
            let _unfailing = write!(hex, "{byte:02x}");
            hex
        });
        let mut bound = String::new();
        let mut written = false;
        for line in self.text.split_inclusive('\n') {
            bound.push_str(line);
            if !written && is_version(line) {
                bound.push_str("component = \"sha256:");
                bound.push_str(&digest);
                bound.push_str("\"\n");
                written = true;
            }
        }
        bound
    }
}

fn is_version(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| key.trim() == "version") && line.trim_start() == line
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# x\nname      = \"a-1\"\nversion   = \"0.1.0\"\nsummary = \"s\"\n\n[procedure.b]\nversion = 1\n";

    #[test]
    fn a_digest_is_put_below_the_version() {
        let policy = Policy::parse(TEXT.as_bytes()).unwrap();
        assert_eq!((policy.name.as_str(), policy.procedures.len()), ("a-1", 1));
        let bound = policy.bound_to(b"");
        let line = "component = \"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\n";
        assert_eq!(bound, TEXT.replacen("summary", &format!("{line}summary"), 1));
    }

    #[test]
    fn what_cannot_be_bound_is_refused() {
        for text in [
            "name = \"a\"\n[procedure.b]\n",
            "name = \"A\"\nversion = \"1\"\n[procedure.b]\n",
            "name = \"../a\"\nversion = \"1\"\n[procedure.b]\n",
            "version = \"1\"\n[procedure.b]\n",
            "name = \"a\"\nversion = \"1\"\n",
            "name = \"a\"\nversion = \"1\"\ncomponent = \"sha256:00\"\n[procedure.b]\n",
            "name = \"a\"\nname = \"b\"\nversion = \"1\"\n[procedure.b]\n",
        ] {
            assert!(Policy::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Policy::parse(b"\xff").is_err());
    }
}
