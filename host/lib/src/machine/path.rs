//! An absolute path as text: guests, policies and operators name files with it. Nothing here accesses a file system;
//! `files.rs` does.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Linux's PATH_MAX, without the final NUL.
const MAX_BYTES: usize = 4095;
/// Linux's NAME_MAX.
const MAX_SEGMENT: usize = 255;

/// An absolute path in normal form: no `.`, no `..`, no empty segment, no final slash, no character that a terminal
/// would not show as it is, and nothing too long. `/` itself is not one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsolutePath(String);

impl AbsolutePath {
    /// A path as the operator or sshd spells it: empty segments, `.` and a final slash are dropped, as the kernel
    /// ignores them. Not for paths that guests and policies name.
    ///
    /// # Errors
    /// The result is no such path, for example because it has `..`.
    pub fn spelled(path: &Path) -> Result<Self, String> {
        Self::try_from(path.components().collect::<PathBuf>().as_path())
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments: `/a/b` is `a`, `b`.
    #[must_use]
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.get(1..).unwrap_or_default().split('/')
    }

    /// The last segment.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The path without its last segment; none for `/a`.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self.0.rsplit_once('/') {
            None | Some(("", _)) => None,
            Some((parent, _)) => Some(Self(parent.to_owned())),
        }
    }

    /// This path with one more segment.
    ///
    /// # Errors
    /// When the result would not be such a path.
    pub fn join(&self, segment: &str) -> Result<Self, String> {
        format!("{}/{segment}", self.0).parse()
    }

    /// Whether this is `directory` or lies below it.
    #[must_use]
    pub fn is_within(&self, directory: &Self) -> bool {
        self.0.strip_prefix(&directory.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The same as a [`Path`].
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl FromStr for AbsolutePath {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| Err(format!("{}: {why}", crate::text::neutral(&text.chars().take(200).collect::<String>())));
        if text.len() > MAX_BYTES {
            return wrong("longer than a path can be");
        }
        if !crate::text::is_neutral(text) {
            return wrong("it has a character that controls a terminal, or hides or reorders text");
        }
        let Some(rest) = text.strip_prefix('/') else { return wrong("not an absolute path") };
        for segment in rest.split('/') {
            match segment {
                "" => return wrong("an empty segment, or a slash at the end"),
                "." | ".." => return wrong("`.` and `..` are not allowed"),
                _ if segment.len() > MAX_SEGMENT => return wrong("a segment is longer than a file name can be"),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<&Path> for AbsolutePath {
    type Error = String;
    fn try_from(path: &Path) -> Result<Self, String> {
        path.to_str().ok_or_else(|| format!("{}: not UTF-8", path.display()))?.parse()
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for AbsolutePath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for AbsolutePath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::HIDDEN_SAMPLES;

    #[test]
    fn only_one_form_of_a_path_is_taken() {
        for good in ["/a", "/etc/ssh/sshd_config", "/a b/ü", "/...", "/a/.hidden"] {
            assert_eq!(good.parse::<AbsolutePath>().unwrap().as_str(), good);
        }
        let long = format!("/{}", "a".repeat(256));
        let deep = "/a".repeat(2048);
        for bad in [
            "", "/", "a", "a/b", "/a/", "//a", "/a//b", "/a/./b", "/..", "/a/../b", "/a\0", "/a\nb", "/a\u{9b}", &long,
            &deep,
        ] {
            assert!(bad.parse::<AbsolutePath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn other_spellings_of_a_path_are_taken_where_they_may_be() {
        for (spelled, path) in [("//a", "/a"), ("/a//b/", "/a/b"), ("/./a/./b/.", "/a/b"), ("/a/...", "/a/...")] {
            assert_eq!(AbsolutePath::spelled(Path::new(spelled)).unwrap().as_str(), path);
        }
        for bad in ["", "a/b", "./a", "/", "//.", "/a/../b", "/a//..", "/a\n"] {
            assert!(AbsolutePath::spelled(Path::new(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_a_terminal_would_not_show_is_in_no_path() {
        for hidden in ['\0', '\t'].into_iter().chain(HIDDEN_SAMPLES) {
            for text in [format!("/{hidden}"), format!("/a{hidden}/b"), format!("/a/b{hidden}")] {
                let why = text.parse::<AbsolutePath>().unwrap_err();
                assert!(why.contains("hides") && crate::text::is_neutral(&why), "{why:?}");
            }
        }
    }

    #[test]
    fn parents_and_containment() {
        let path: AbsolutePath = "/etc/ssh/x".parse().unwrap();
        assert_eq!(path.parent().unwrap().as_str(), "/etc/ssh");
        assert!(path.is_within(&"/etc/ssh".parse().unwrap()));
        assert!(!path.is_within(&"/etc/ss".parse().unwrap()));
        assert_eq!(path.name(), "x");
    }
}
