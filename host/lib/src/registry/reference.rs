//! The address of an artifact: `oci://HOST[:PORT]/NAME:TAG` or `oci://HOST[:PORT]/NAME@sha256:HEX`.

use crate::{digest::Digest, text::neutral};
use std::{fmt, str::FromStr};
use url::Url;

/// A reference to an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `HOST[:PORT]`
    pub authority: String,
    /// The repository.
    pub name: String,
    /// Which artifact of the repository.
    pub version: Version,
}

/// Selects an artifact of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// Whatever artifact has this tag at the moment.
    Tag(String),
    /// The artifact with this digest.
    Pinned(Digest),
}

impl Reference {
    /// The same repository's artifact with this digest.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { version: Version::Pinned(digest), ..self.clone() }
    }

    /// The same artifact at a mirror, `HOST[:PORT]`, of its registry.
    ///
    /// # Errors
    /// A text: the mirror is not a host.
    pub fn at_mirror(&self, authority: &str) -> Result<Self, String> {
        let moved = Self { authority: authority.to_owned(), ..self.clone() };
        // If the text contained a slash, the reference would be to another repository.
        let is_same = |read: &Self| *read == moved;
        moved.to_string().parse().ok().filter(is_same).ok_or_else(|| {
            let shown = neutral(&authority.chars().take(120).collect::<String>());
            format!("{shown:?} is no mirror such as HOST or HOST:PORT")
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.authority, self.name)?;
        match &self.version {
            Version::Tag(tag) => write!(f, ":{tag}"),
            Version::Pinned(digest) => write!(f, "@{digest}"),
        }
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            let shown = neutral(&text.chars().take(120).collect::<String>());
            format!(
                "{shown:?} is no reference to an artifact such as oci://HOST/NAME:TAG or oci://HOST/NAME@sha256:HEX: {why}"
            )
        };
        let rest = text.strip_prefix("oci://").ok_or_else(|| wrong("it does not begin with oci://"))?;
        let (authority, rest) = rest.split_once('/').ok_or_else(|| wrong("it names no repository"))?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        let is_host = !authority.is_empty() && authority.bytes().all(is_plain);
        if !is_host || Url::parse(&format!("https://{authority}/")).is_err() {
            return Err(wrong("the part before the first / is no host"));
        }
        let (name, version) = if let Some((name, digest)) = rest.split_once('@') {
            (name, Version::Pinned(digest.parse().map_err(|_| wrong("what follows the @ is no digest"))?))
        } else {
            let (name, tag) = rest.rsplit_once(':').ok_or_else(|| wrong("it has neither a tag nor a digest"))?;
            if !is_tag(tag) {
                return Err(wrong("a tag has letters, digits, and _ . - after the first, at most 128"));
            }
            (name, Version::Tag(tag.to_owned()))
        };
        if name.len() > 255 || !name.split('/').all(is_segment) {
            return Err(wrong("a repository's name has small letters and digits, with single . _ - between them"));
        }
        Ok(Self { authority: authority.to_owned(), name: name.to_owned(), version })
    }
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// Stricter than the specification, which allows `__` and more than one hyphen.
fn is_segment(segment: &str) -> bool {
    segment
        .split(['.', '_', '-'])
        .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_reads_back() {
        let digest = Digest::of(b"x");
        for text in [
            "oci://registry.example.org/policies/opnsense:1.2.0".to_owned(),
            "oci://127.0.0.1:5000/a:latest".to_owned(),
            "oci://[::1]:5000/a_b/c-d.e:_x".to_owned(),
            format!("oci://r/a@{digest}"),
        ] {
            assert_eq!(text.parse::<Reference>().map(|one| one.to_string()), Ok(text));
        }
        let pinned = "oci://r/a:1".parse::<Reference>().unwrap().pinned(digest);
        assert_eq!(pinned.to_string(), format!("oci://r/a@{digest}"));
        assert_eq!(pinned.at_mirror("m:5000").unwrap().to_string(), format!("oci://m:5000/a@{digest}"));
        for mirror in ["", "m/b", "u@m", "m:x", "https://m"] {
            pinned.at_mirror(mirror).unwrap_err();
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_reference() {
        for text in [
            "registry/a:1",
            "https://r/a:1",
            "oci://r",
            "oci:///a:1",
            "oci://user@r/a:1",
            "oci://r:port/a:1",
            "oci://r/a",
            "oci://r/:1",
            "oci://r/../a:1",
            "oci://r/a/../b:1",
            "oci://r/a//b:1",
            "oci://r/A:1",
            "oci://r/a%2fb:1",
            "oci://r/a?b:1",
            "oci://r/a:..",
            "oci://r/a:",
            "oci://r/a:b/c",
            "oci://r/a:\u{1b}[2J",
            "oci://r/\u{430}:1",
            "oci://r/a@sha256:12",
            "oci://r/a:1@sha256:12",
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(crate::text::is_neutral(&error), "{error}");
        }
    }
}
