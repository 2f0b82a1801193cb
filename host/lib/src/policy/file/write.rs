//! A grant to write files: a path pattern, or a table with further restrictions.

use crate::policy::pattern::Pattern;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{fmt, str::FromStr};

/// One entry of `files.write`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteGrant {
    pub path: Pattern,
    /// The characters that may not occur in the files' contents or names. If there are any, the contents have to end
    /// with a newline.
    pub forbid: String,
    /// Whether missing parent directories are created.
    pub parents: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    path: Pattern,
    #[serde(default)]
    forbid: String,
    #[serde(default)]
    parents: bool,
}

impl WriteGrant {
    /// Whether it allows nothing beyond the other grant.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.path.is_within(&other.path)
            && other.forbid.chars().all(|character| self.forbid.contains(character))
            && (!self.parents || other.parents)
    }

    fn of(Table { path, forbid, parents }: Table) -> Result<Self, String> {
        if !forbid.is_ascii() {
            return Err("`forbid` lists ASCII characters".to_owned());
        }
        if parents && !path.has_plain_directory() {
            return Err(format!("`parents` needs the directories of {path} to be written out"));
        }
        Ok(Self { path, forbid, parents })
    }
}

impl From<Pattern> for WriteGrant {
    fn from(path: Pattern) -> Self {
        Self { path, forbid: String::new(), parents: false }
    }
}

/// Formats the grant as in a policy file.
impl fmt::Display for WriteGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, forbid, parents } = self;
        if forbid.is_empty() && !parents {
            return fmt::Display::fmt(path, f);
        }
        write!(f, "{{ path = {}", toml::Value::String(path.to_string()))?;
        if !forbid.is_empty() {
            write!(f, ", forbid = {}", toml::Value::String(forbid.clone()))?;
        }
        if *parents {
            f.write_str(", parents = true")?;
        }
        f.write_str(" }")
    }
}

/// Parses what [`fmt::Display`] writes.
impl FromStr for WriteGrant {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<toml::Value>() {
            Ok(table @ toml::Value::Table(_)) => {
                table.try_into().map_err(|error: toml::de::Error| error.message().to_owned()).and_then(Self::of)
            }
            // A valid pattern begins with a slash or a place, and so never parses as TOML: `Pattern` rejects every
            // other text.
            Ok(_) | Err(_) => text.parse::<Pattern>().map(Self::from),
        }
    }
}

impl<'de> Deserialize<'de> for WriteGrant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WriteGrantVisitor)
    }
}

struct WriteGrantVisitor;

impl<'de> Visitor<'de> for WriteGrantVisitor {
    type Value = WriteGrant;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path pattern, or a table with `path`, `forbid` and `parents`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<WriteGrant, E> {
        text.parse::<Pattern>().map(WriteGrant::from).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WriteGrant, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        WriteGrant::of(table).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<WriteGrant, String> {
        #[derive(Deserialize)]
        struct Holder {
            write: Vec<WriteGrant>,
        }
        let holder: Result<Holder, _> = toml::from_str(&format!("write = [{text}]"));
        holder.map(|mut holder| holder.write.remove(0)).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_grant_prints_as_it_was_written() {
        for (text, shown) in [
            ("'/etc/x'", "/etc/x"),
            ("{ path = '{sshd}/x' }", "{sshd}/x"),
            (
                r#"{ path = '/a/x', forbid = "{}\\", parents = true }"#,
                r#"{ path = "/a/x", forbid = '{}\', parents = true }"#,
            ),
            ("{ path = '/a/*', parents = true }", r#"{ path = "/a/*", parents = true }"#),
        ] {
            let grant = parse(text).unwrap();
            assert_eq!(grant.to_string(), shown);
            assert_eq!(shown.parse::<WriteGrant>().unwrap(), grant, "{shown}");
        }
    }

    #[test]
    fn what_is_no_grant() {
        for (text, why) in [
            ("{ forbid = 'x' }", "missing field `path`"),
            ("{ path = '/a/../b' }", "`..`"),
            ("{ path = '/a/x', forbids = 'x' }", "unknown field `forbids`"),
            ("{ path = '/a/x', forbid = 'ü' }", "ASCII"),
            ("{ path = '/a/*/x', parents = true }", "written out"),
            ("7", "a path pattern, or a table"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn which_grants_are_narrower() {
        for (narrow, wide, within) in [
            ("'/a/x'", "'/a/*'", true),
            ("{ path = '/a/x', forbid = '{' }", "'/a/x'", true),
            ("'/a/x'", "{ path = '/a/x', forbid = '{' }", false),
            ("{ path = '/a/x', forbid = '{}' }", "{ path = '/a/x', forbid = '{' }", true),
            ("{ path = '/a/x', forbid = '{' }", "{ path = '/a/x', forbid = '{}' }", false),
            ("{ path = '/a/x', parents = true }", "'/a/x'", false),
            ("'/a/x'", "{ path = '/a/x', parents = true }", true),
        ] {
            assert_eq!(parse(narrow).unwrap().is_within(&parse(wide).unwrap()), within, "{narrow} {wide}");
        }
    }
}
