//! The files that `Include` lines name.

use crate::{glob, line};
use std::borrow::Cow;

/// The directory in which sshd looks for a relative path of `Include`, wherever the main file is (`SSHDIR` in OpenSSH's
/// pathnames.h).
pub const DIRECTORY: &str = "/etc/ssh";

/// The pattern of absolute paths that an argument of `Include` stands for. None for an argument that sshd refuses
/// because it is empty, and for one that begins with `~`: sshd does not expand `~`, but takes the path relative to its
/// working directory.
#[must_use]
pub fn pattern(argument: &str) -> Option<Cow<'_, str>> {
    match argument.chars().next()? {
        '~' => None,
        '/' => Some(argument.into()),
        _ => Some(format!("{DIRECTORY}/{argument}").into()),
    }
}

/// Whether an `Include` before the first `Match` covers the path. An `Include` in a `Match` block
/// reads its files for some connections only, so it does not count.
#[must_use]
pub fn reads_outside_match(main: &[u8], path: &str) -> bool {
    line::directives(main)
        .map(|(_, directive)| directive)
        .take_while(|directive| directive.keyword != "match")
        .filter(|directive| directive.keyword == "include")
        .flat_map(|directive| directive.arguments)
        .any(|argument| leads_to(&argument.text, path))
}

/// Whether an argument of `Include` names the file at this path.
#[must_use]
pub fn leads_to(argument: &str, path: &str) -> bool {
    pattern(argument).is_some_and(|pattern| covers(&pattern, path))
}

/// Whether a pattern of absolute paths matches a path, as glob(3) does it.
fn covers(pattern: &str, path: &str) -> bool {
    let mut patterns = segments(pattern);
    let mut names = segments(path);
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if glob::matches(pattern, name) => {}
            _ => return false,
        }
    }
}

/// The segments of a path; doubled slashes and `.` change nothing.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !matches!(*segment, "" | "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOCK: &str = "/etc/ssh/sshd_config.d/50-warded.conf";
    const PRIVATE: &str = "/home/a/ssh/sshd_config.d/50-warded.conf";

    #[test]
    fn only_an_include_that_is_in_force_and_covers_the_drop_in_counts() {
        let cases = [
            ("Include /etc/ssh/sshd_config.d/*.conf\n", STOCK, true),
            ("include=\"/etc/ssh/sshd_config.d/*.conf\"\r\n", STOCK, true),
            ("Port 22\n\tINCLUDE /x/*.conf /etc/ssh/sshd_config.d/*.conf # y\n", STOCK, true),
            ("Include sshd_config.d/*.conf\n", STOCK, true),
            ("Include sshd_config.d/*.conf\n", PRIVATE, false),
            ("Include /home/a/ssh/sshd_config.d/*.conf", PRIVATE, true),
            ("Include /etc/ssh/sshd_config.d/*.conf\n", PRIVATE, false),
            ("Include /etc/ssh//./sshd_config.d/*", STOCK, true),
            ("Include /etc/ssh/*/*.conf", STOCK, true),
            ("Include /etc/ssh/sshd_config.d/50-warded.conf", STOCK, true),
            ("Include /etc/ssh/sshd_config.d/[0-9]?-*.conf", STOCK, true),
            ("Include /etc/ssh/sshd_config.d/[!a-z]*", STOCK, true),
            ("Include /etc/ssh/sshd_config.d/[a-z]*", STOCK, false),
            ("Include /etc/ssh/sshd_config.d/50-\\warded.conf", STOCK, true),
            ("Include /etc/ssh/sshd_config.d/*.cfg", STOCK, false),
            ("Include /etc/ssh/sshd_config.d", STOCK, false),
            ("Include /etc/ssh/*.conf", STOCK, false),
            ("Include ~/sshd_config.d/*.conf", STOCK, false),
            ("Include ~/x", "/etc/ssh/~/x", false),
            ("Include \"\"", "/etc/ssh", false),
            ("#Include /etc/ssh/sshd_config.d/*.conf\n", STOCK, false),
            ("Match all\nInclude /etc/ssh/sshd_config.d/*.conf\n", STOCK, false),
            ("\"\"Match all\nInclude /etc/ssh/sshd_config.d/*.conf\n", STOCK, false),
            ("Include # /etc/ssh/sshd_config.d/*.conf\n", STOCK, false),
            ("", STOCK, false),
        ];
        for (main, path, expected) in cases {
            assert_eq!(reads_outside_match(main.as_bytes(), path), expected, "{main:?} {path}");
        }
    }

    #[test]
    fn no_pattern_is_slow_or_deep() {
        let name = format!("/etc/ssh/{}", "a".repeat(255));
        assert!(!covers(&format!("/etc/ssh/{}b", "*a".repeat(120)), &name));
        assert!(!covers(&format!("/etc/ssh/{}", "*a".repeat(100_000)), &name));
        assert!(covers(&format!("/etc/ssh/{}", "*".repeat(1_000_000)), &name));
    }
}
