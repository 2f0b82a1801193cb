use super::*;
use std::{fs, path::PathBuf, process::Command};

const NAMES: &[&str] = &[
    "a",
    "ab",
    "aXbYbZc",
    "5x",
    "50-a.conf",
    "a.conf~",
    ".a",
    "^x",
    "!x",
    "]",
    "[a",
    "[:x",
    ":",
    "-",
    "b]",
    "a*",
    "a\\",
    "\u{fc}b",
    "\u{df}",
    "a b",
    "A",
];

/// Patterns, and which of the names match.
const PATTERNS: &[(&str, &[&str])] = &[
    ("*.conf", &["50-a.conf"]),
    (".*a", &[".a"]),
    ("\\.a", &[".a"]),
    ("[.]a", &[]),
    ("?a", &["[a"]),
    ("??", &["ab", "5x", "^x", "!x", "[a", "b]", "a*", "a\\", "\u{df}"]),
    ("a*b*c", &["aXbYbZc"]),
    ("a\\*", &["a*"]),
    ("[0-9]*", &["5x", "50-a.conf"]),
    ("[^a]*", &["a", "ab", "aXbYbZc", "a.conf~", "^x", "a*", "a\\", "a b"]),
    ("[!0-z]", &["-"]),
    ("[]a]", &["a", "]"]),
    ("[!]a]", &[":", "-", "A"]),
    ("[\\]]", &["]"]),
    ("[a\\-z]", &["a", "-"]),
    ("[a-]", &["a", "-"]),
    ("[a", &["[a"]),
    ("[!", &[]),
    ("b]", &["b]"]),
    ("[[:digit:]]*", &["5x", "50-a.conf"]),
    ("[^[:digit:]x]?", &["5x", "^x"]),
    ("[[:upper:][:lower:]]", &["a", "A"]),
    ("[![:alpha:]-]", &["]", ":"]),
    ("[[:x]", &[":"]),
    ("[[:nope:]]", &[]),
    ("[[:di\\git:]]*", &[]),
    ("[[]:x", &["[:x"]),
    ("\u{fc}*", &["\u{fc}b"]),
    ("*[!a-z]b", &["a b", "\u{fc}b"]),
    ("a\\\\", &["a\\"]),
];

#[test]
fn patterns_match_as_sshd_has_it() {
    let directory = Directory::new();
    for (pattern, expected) in PATTERNS {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        let mut ours: Vec<_> = NAMES.iter().copied().filter(|name| matches(pattern, name)).collect();
        ours.sort_unstable();
        assert_eq!(ours, expected, "{pattern}");
        assert_eq!(directory.included(pattern), expected, "sshd, {pattern}");
    }
}

/// The ASCII characters of each class, in ranges, as POSIX has the C locale.
#[test]
fn classes_have_the_characters_of_the_c_locale() {
    for (class, ranges) in [
        ("alnum", &["09", "AZ", "az"][..]),
        ("alpha", &["AZ", "az"]),
        ("blank", &["\t\t", "  "]),
        ("cntrl", &["\0\x1f", "\x7f\x7f"]),
        ("digit", &["09"]),
        ("graph", &["!~"]),
        ("lower", &["az"]),
        ("print", &[" ~"]),
        ("punct", &["!/", ":@", "[`", "{~"]),
        ("space", &["\t\r", "  "]),
        ("upper", &["AZ"]),
        ("xdigit", &["09", "AF", "af"]),
    ] {
        let has = character_class(class.as_bytes()).unwrap();
        for byte in 0..=u8::MAX {
            let expected = ranges.iter().any(|range| (range.as_bytes()[0]..=range.as_bytes()[1]).contains(&byte));
            assert_eq!(has(&byte), expected, "{class} {byte:#x}");
        }
    }
}

#[test]
fn what_is_literal_is_no_pattern() {
    for (text, expected) in
        [("", false), ("a.conf", false), ("a]b", false), ("*", true), ("a?", true), ("[a", true), ("a\\b", true)]
    {
        assert_eq!(is_pattern(text), expected, "{text}");
    }
}

#[test]
fn no_pattern_is_slow_or_deep() {
    let name = "a".repeat(255);
    assert!(!matches(&"*a".repeat(100_000), &name));
    assert!(!matches(&["*a".repeat(120), "b".to_owned()].concat(), &name));
    assert!(matches(&"*".repeat(1_000_000), &name));
}

/// A directory with an empty file of each name.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let directory = Self(std::env::temp_dir().join(format!("warded-glob-{}", std::process::id())));
        drop(fs::remove_dir_all(&directory.0));
        fs::create_dir_all(directory.0.join("d")).unwrap();
        for name in NAMES {
            fs::write(directory.0.join("d").join(name), "").unwrap();
        }
        directory
    }

    /// The names that this machine's sshd reads for a pattern, sorted. sshd says so before it looks
    /// for host keys, of which it has none here.
    fn included(&self, pattern: &str) -> Vec<&'static str> {
        let config = self.0.join("config");
        let below = self.0.join("d");
        fs::write(&config, format!("Include \"{}/{}\"\n", below.display(), pattern.replace('\\', "\\\\"))).unwrap();
        let sshd = Command::new("/usr/sbin/sshd").args(["-T", "-ddd", "-f"]).arg(&config).output().unwrap();
        let words = String::from_utf8_lossy(&sshd.stderr);
        assert!(words.contains("new include"), "{words}");
        let mut names: Vec<_> = NAMES
            .iter()
            .copied()
            .filter(|name| {
                let path = format!("load_server_config: filename {}/{}", below.display(), shown(name));
                words.lines().any(|line| line.trim_end().ends_with(&path))
            })
            .collect();
        names.sort_unstable();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A name as sshd logs it.
fn shown(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'\\' => "\\\\".to_owned(),
        byte if byte.is_ascii() => char::from(byte).to_string(),
        byte => format!("\\{byte:03o}"),
    };
    name.bytes().map(byte).collect()
}
