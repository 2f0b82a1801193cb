//! The manifest of a component, which its publisher signs.

use serde::{Deserialize, Serialize};
use warded_lib::{
    digest::Digest,
    error::{Error, Result},
    policy::file::Policy,
    text::neutral,
};

/// The largest manifest or signature that is read, in bytes.
pub const MAX_BYTES: u64 = 64 << 10;

/// What is signed. It is more than the component, so that the signature cannot be used for another name or version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Who publishes the component: a principal in the matching line of `allowed_signers`.
    pub publisher: String,
    pub name: String,
    pub version: String,
    /// The digest of the component.
    pub component: Digest,
    /// The digest of the request that the component carries.
    pub request: Digest,
}

impl Manifest {
    /// The manifest of a component.
    ///
    /// # Errors
    /// The publisher's name cannot be a name on a single line of `allowed_signers`.
    pub fn of(publisher: &str, component: &[u8], request: &str, policy: &Policy) -> Result<Self> {
        // A pattern, or a list of patterns, could match more than one publisher; other scripts have letters that look
        // like Latin ones.
        let is_plain = publisher.bytes().all(|byte| byte.is_ascii_graphic());
        if publisher.is_empty() || publisher.contains(['*', '?', '!', ',', '"']) || !is_plain {
            return Err(Error::usage(format!("{:?} cannot be a publisher's name", neutral(publisher)))
                .next("take a name as in the first column of allowed_signers, such as ops@example.org"));
        }
        Ok(Self {
            publisher: publisher.to_owned(),
            name: policy.name.to_string(),
            version: policy.version.clone(),
            component: Digest::of(component),
            request: Digest::of(request.as_bytes()),
        })
    }

    /// Reads a manifest, and compares it with its component.
    ///
    /// # Errors
    /// It is not a manifest, or is the manifest of another component.
    pub fn read(bytes: &[u8], component: &[u8], request: &str, policy: &Policy) -> Result<Self> {
        let wrong = |why: String| Error::refused("the manifest is not one of this component").cause(why);
        let text = str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        let manifest: Self = toml::from_str(text).map_err(|error| wrong(neutral(error.message())))?;
        let expected = Self::of(&manifest.publisher, component, request, policy)
            .map_err(|error| wrong(error.message().to_owned()).next("have its publisher sign it under another name"))?;
        for (field, says, is) in [
            ("name", &manifest.name, &expected.name),
            ("version", &manifest.version, &expected.version),
            ("component", &manifest.component.to_string(), &expected.component.to_string()),
            ("request", &manifest.request.to_string(), &expected.request.to_string()),
        ] {
            if says != is {
                return Err(wrong(format!("{field} is {is}, and the manifest says {}", neutral(says)))
                    .next("have its publisher sign this component"));
            }
        }
        Ok(manifest)
    }

    /// The manifest as it is signed.
    ///
    /// # Errors
    /// Never: every field is a text.
    pub fn to_text(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::failed("cannot write the manifest").cause(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "name = 'x'\nversion = '1.2.0'\n[procedure.p]\nsummary = 's'\n";

    #[test]
    fn a_manifest_is_of_one_component() {
        let policy = Policy::parse(REQUEST, "p.toml").unwrap();
        let manifest = Manifest::of("ops@example.org", b"component", REQUEST, &policy).unwrap();
        let text = manifest.to_text().unwrap();
        let read = |text: &str, component: &[u8], request: &str| {
            let policy = Policy::parse(request, "p.toml").unwrap();
            Manifest::read(text.as_bytes(), component, request, &policy)
        };
        assert_eq!(read(&text, b"component", REQUEST).unwrap(), manifest);
        let other = REQUEST.replace("'s'", "'t'");
        let newer = REQUEST.replace("1.2.0", "1.3.0");
        let renamed = REQUEST.replace("'x'", "'y'");
        for (text, component, request, why) in [
            (text.as_str(), &b"another"[..], REQUEST, "component is "),
            (&text, b"component", &other, "request is "),
            (&text, b"component", &newer, "version is 1.3.0, and the manifest says 1.2.0"),
            (&text, b"component", &renamed, "name is y, and the manifest says x"),
            ("", b"component", REQUEST, "missing field"),
            (&format!("{text}more = 1\n"), b"component", REQUEST, "unknown field"),
        ] {
            let error = read(text, component, request).unwrap_err();
            assert!(error.to_string().contains(why), "{why}: {error}");
        }
        for publisher in ["", "*", "*@example.org", "a,b", "!a", "a b", "a\u{1b}", "\u{43e}ps@example.org"] {
            Manifest::of(publisher, b"component", REQUEST, &policy).unwrap_err();
        }
    }
}
