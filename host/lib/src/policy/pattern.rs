//! Path patterns: `/etc/ssh/ssh_host_*_key`, `{sshd}/sshd_config.d/50-warded.conf`.
//!
//! `*` stands for any characters within one segment. A pattern may begin with a place, whose path the operator or the
//! host determines, but never the guest.

use crate::machine::path::AbsolutePath;
use serde::Deserialize;
use std::{fmt, str::FromStr};

/// A place, whose path the operator or the host determines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceName {
    /// `{sshd}`: the directory of sshd's main configuration file.
    Sshd,
    /// `{sshd-config}`: that file itself.
    SshdConfig,
    /// `{home}`: the home directory of the user who runs the procedure.
    Home,
}

/// The paths of the places on this machine.
#[derive(Clone, Debug)]
pub struct Places {
    /// sshd's main configuration file.
    pub sshd_config: AbsolutePath,
    /// The user's home directory, if there is one.
    pub home: Option<AbsolutePath>,
}

impl Places {
    fn of(&self, name: PlaceName) -> Option<AbsolutePath> {
        match name {
            PlaceName::Sshd => self.sshd_config.parent(),
            PlaceName::SshdConfig => Some(self.sshd_config.clone()),
            PlaceName::Home => self.home.clone(),
        }
    }
}

/// A pattern for absolute paths.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern {
    place: Option<PlaceName>,
    segments: Vec<String>,
}

impl Pattern {
    /// Whether the pattern covers a path. If so, returns how many of the path's first segments are literal in the
    /// pattern (the segments of a place count as literal). Only in these segments may the host follow links.
    #[must_use]
    pub fn covers(&self, path: &AbsolutePath, places: &Places) -> Option<usize> {
        let base = match self.place {
            Some(place) => Some(places.of(place)?),
            None => None,
        };
        let base = base.as_ref().map_or_else(Vec::new, |base| base.segments().collect());
        let path: Vec<&str> = path.segments().collect();
        let rest = path.strip_prefix(base.as_slice())?;
        let same_length = rest.len() == self.segments.len();
        let all = rest.iter().zip(&self.segments).all(|(segment, pattern)| segment_matches(pattern, segment));
        if !same_length || !all {
            return None;
        }
        let literal = self.segments.iter().take_while(|pattern| !pattern.contains('*')).count();
        Some(base.len() + literal)
    }

    /// Whether the pattern covers nothing beyond the other. Patterns that begin with different places count as
    /// different, and a segment with a wildcard is only within an equal one.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let within =
            |(own, others): (&String, &String)| own == others || (!own.contains('*') && segment_matches(others, own));
        self.place == other.place
            && self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(within)
    }

    /// Whether both patterns may cover the same path. If that is not certain, for example because only one begins with
    /// a place, returns true.
    #[must_use]
    pub fn may_overlap(&self, other: &Self) -> bool {
        let both = |(own, others): (&String, &String)| match (own.contains('*'), others.contains('*')) {
            (false, false) => own == others,
            (true, false) => segment_matches(own, others),
            (false, true) => segment_matches(others, own),
            (true, true) => true,
        };
        if self.place == other.place {
            return self.segments.len() == other.segments.len() && self.segments.iter().zip(&other.segments).all(both);
        }
        // If the places differ, only the last segments can be compared. `{sshd-config}` has no further segment, and is
        // one file.
        let is_file = |one: &Self| one.place == Some(PlaceName::SshdConfig);
        match (is_file(self), is_file(other)) {
            (true, false) => other.may_be_sshd_config(),
            (false, true) => self.may_be_sshd_config(),
            _ => self.segments.last().zip(other.segments.last()).is_none_or(both),
        }
    }

    /// Whether it may name sshd's main file. That file is called sshd_config, unless an operator's option gives it
    /// another name.
    fn may_be_sshd_config(&self) -> bool {
        let in_directory = self.place != Some(PlaceName::Sshd) || self.segments.len() == 1;
        in_directory
            && self.segments.last().is_some_and(|last| segment_matches(last, "sshd_config") || last.contains('*'))
    }

    /// The last segment, if it contains no wildcard.
    #[must_use]
    pub fn last(&self) -> Option<&str> {
        self.segments.last().map(String::as_str).filter(|segment| !segment.contains('*'))
    }

    /// Whether the pattern's directory contains no wildcard.
    #[must_use]
    pub fn has_plain_directory(&self) -> bool {
        self.segments.split_last().is_none_or(|(_, directories)| !directories.iter().any(|one| one.contains('*')))
    }

    /// Whether the pattern may name an entry of this directory. Patterns that begin with a place are ignored.
    #[must_use]
    pub fn reaches_into(&self, directory: &AbsolutePath) -> bool {
        let Some((_, directories)) = self.segments.split_last().filter(|_| self.place.is_none()) else { return false };
        let within: Vec<&str> = directory.segments().collect();
        within.len() == directories.len()
            && within.iter().zip(directories).all(|(segment, pattern)| segment_matches(pattern, segment))
    }

    /// The pattern's directory, if it contains no wildcard.
    #[must_use]
    pub fn directory(&self, places: &Places) -> Option<AbsolutePath> {
        let (_, directories) = self.segments.split_last()?;
        if directories.iter().any(|segment| segment.contains('*')) {
            return None;
        }
        let base = match self.place {
            Some(place) => places.of(place)?.as_str().to_owned(),
            None => String::new(),
        };
        format!("{base}/{}", directories.join("/")).trim_end_matches('/').parse().ok()
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any characters. Iterative, so that no pattern is slow: at
/// worst it is quadratic in the length of a file name.
fn segment_matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl FromStr for Pattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (place, rest) = if let Some(inner) = text.strip_prefix('{') {
            let (name, rest) = inner.split_once('}').ok_or("a place is written {name}")?;
            let place = match name {
                "sshd" => PlaceName::Sshd,
                "sshd-config" => PlaceName::SshdConfig,
                "home" => PlaceName::Home,
                _ => return Err(format!("unknown place {{{name}}} (one of: {{sshd}}, {{sshd-config}}, {{home}})")),
            };
            (Some(place), rest)
        } else {
            (None, text)
        };
        if place == Some(PlaceName::SshdConfig) {
            return if rest.is_empty() {
                Ok(Self { place, segments: Vec::new() })
            } else {
                Err("{sshd-config} is a file: nothing can follow it".to_owned())
            };
        }
        if rest.contains(['{', '}', '?', '[', ']', '\\']) {
            return Err(format!("{text:?}: only `*` is special in a pattern, and a place can only come first"));
        }
        let path: AbsolutePath = rest.parse().map_err(|why| format!("not a path pattern: {why}"))?;
        let segments: Vec<String> = path.segments().map(str::to_owned).collect();
        if segments.iter().any(|segment| segment.contains("**")) {
            return Err(format!("{text:?}: `**` is not a pattern; `*` stays within one segment"));
        }
        if place.is_none() && segments.first().is_some_and(|first| first.contains('*')) {
            return Err(format!("{text:?}: the first directory has to be written out"));
        }
        Ok(Self { place, segments })
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(PlaceName::Sshd) => f.write_str("{sshd}")?,
            Some(PlaceName::SshdConfig) => f.write_str("{sshd-config}")?,
            Some(PlaceName::Home) => f.write_str("{home}")?,
            None => {}
        }
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places { sshd_config: "/etc/ssh/sshd_config".parse().unwrap(), home: Some("/root".parse().unwrap()) }
    }

    #[test]
    fn what_a_pattern_covers() {
        for (pattern, path, literal) in [
            ("/etc/x", "/etc/x", Some(2)),
            ("/etc/x", "/etc/x/y", None),
            ("/etc/*.conf", "/etc/a.conf", Some(1)),
            ("/etc/*.conf", "/etc/a/b.conf", None),
            ("/etc/*/b", "/etc/a/b", Some(1)),
            ("{sshd}/ssh_host_*_key", "/etc/ssh/ssh_host_rsa_key", Some(2)),
            ("{sshd}/ssh_host_*_key", "/etc/ssh/ssh_host_rsa_key.pub", None),
            ("{sshd}/ssh_host_*_key", "/etc/sshx/ssh_host_rsa_key", None),
            ("{sshd-config}", "/etc/ssh/sshd_config", Some(3)),
            ("{sshd-config}", "/etc/ssh/ssh_config", None),
            ("{home}/.ssh/known_hosts", "/root/.ssh/known_hosts", Some(3)),
            ("/a/x*y*z", "/a/xyz", Some(1)),
            ("/a/x*y*z", "/a/x-y-y-z", Some(1)),
            ("/a/x*y*z", "/a/xz", None),
            ("/a/*ab", "/a/aab", Some(1)),
            ("/a/a*a", "/a/a", None),
            ("/a/x*yy*yz", "/a/xyyz", None),
            ("/a/x*yy*yz", "/a/x-yy-yz", Some(1)),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            assert_eq!(pattern.covers(&path.parse().unwrap(), &places()), literal, "{pattern} {path}");
        }
    }

    #[test]
    fn which_patterns_are_narrower() {
        for (narrow, wide, within) in [
            ("/etc/x", "/etc/x", true),
            ("/etc/x", "/etc/*", true),
            ("/etc/*", "/etc/*", true),
            ("/etc/*", "/etc/x", false),
            ("/etc/a*", "/etc/*", false),
            ("{sshd}/ssh_host_rsa_key", "{sshd}/ssh_host_*_key", true),
            ("/etc/ssh/ssh_host_rsa_key", "{sshd}/ssh_host_*_key", false),
            ("/etc/x/y", "/etc/*", false),
            ("{home}/x", "{sshd}/x", false),
        ] {
            let parse = |text: &str| text.parse::<Pattern>().unwrap();
            assert_eq!(parse(narrow).is_within(&parse(wide)), within, "{narrow} {wide}");
        }
    }

    #[test]
    fn which_patterns_may_cover_the_same_path() {
        for (one, other, expected) in [
            ("/a/b", "/a/b", true),
            ("/a/b", "/a/c", false),
            ("/a/b", "/a/b/c", false),
            ("/a/*", "/a/c", true),
            ("/a/*.conf", "/a/c", false),
            ("/a/x*", "/a/*y", true),
            ("{sshd}/x", "{sshd}/x", true),
            ("{sshd}/x", "{sshd}/y", false),
            ("{sshd}/x", "/etc/ssh/x", true),
            ("{sshd}/x", "/etc/ssh/y", false),
            ("{sshd-config}", "/etc/ssh/y", false),
            ("{sshd-config}", "/etc/ssh/sshd_config", true),
            ("{sshd-config}", "{sshd}/sshd_config", true),
            ("{sshd-config}", "{sshd}/d/sshd_config", false),
            ("{sshd-config}", "{sshd}/*", true),
            ("{sshd-config}", "/etc/e-smith/templates-custom/etc/ssh/sshd_config/80Certificates", false),
            ("{sshd-config}", "{sshd-config}", true),
        ] {
            let parse = |text: &str| text.parse::<Pattern>().unwrap();
            assert_eq!(parse(one).may_overlap(&parse(other)), expected, "{one} {other}");
            assert_eq!(parse(other).may_overlap(&parse(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn what_is_written_out_of_a_pattern() {
        for (pattern, last, has_plain_directory, directory) in [
            ("/etc/ssh/x", Some("x"), true, Some("/etc/ssh")),
            ("/etc/ssh/*", None, true, Some("/etc/ssh")),
            ("/etc/*/x", Some("x"), false, None),
            ("{sshd}/a/x*", None, true, Some("/etc/ssh/a")),
            ("{home}/x", Some("x"), true, Some("/root")),
            ("{sshd}/*/x", Some("x"), false, None),
            ("{sshd-config}", None, true, None),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            let found = pattern.directory(&places());
            assert_eq!(found.as_ref().map(AbsolutePath::as_str), directory, "{pattern}");
            assert_eq!((pattern.last(), pattern.has_plain_directory()), (last, has_plain_directory), "{pattern}");
        }
        let homeless = Places { home: None, ..places() };
        assert_eq!("{home}/x".parse::<Pattern>().unwrap().directory(&homeless), None);
    }

    #[test]
    fn what_a_pattern_reaches_into() {
        for (pattern, directory, reaches) in [
            ("/etc/cron.d/x", "/etc/cron.d", true),
            ("/etc/*/x", "/etc/cron.d", true),
            ("/etc/cron.d/x/y", "/etc/cron.d", false),
            ("/etc/x", "/etc/cron.d", false),
            ("/etc/a*/x", "/etc/cron.d", false),
            ("{sshd}/cron.d/x", "/cron.d", false),
            ("{sshd-config}", "/etc", false),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            assert_eq!(parsed.reaches_into(&directory.parse().unwrap()), reaches, "{pattern} {directory}");
        }
    }

    #[test]
    fn what_is_not_a_pattern() {
        for bad in [
            "",
            "etc",
            "/etc/../x",
            "/etc/**",
            "/*",
            "/*/x",
            "{root}/x",
            "{sshd",
            "{sshd-config}/x",
            "/a/{home}",
            "/a/[b]",
            "/a/b/",
            "{sshd}",
        ] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_prints_as_it_was_written() {
        for text in ["/etc/*.conf", "{sshd}/a", "{sshd-config}", "{home}/.ssh/x"] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
    }
}
