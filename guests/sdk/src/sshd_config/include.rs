//! Whether the main file has sshd read a drop-in outside every `Match`.

use super::line;

/// Where sshd looks for what a relative `Include` names, wherever the main file lies
/// (`SSHDIR` in OpenSSH's pathnames.h).
const SYSTEM_DIRECTORY: &str = "/etc/ssh";

/// Whether an `Include` before the first `Match` covers the path. An `Include` in a `Match` block
/// reads its files for some connections only, so it does not count.
pub(super) fn reads_outside_match(main: &[u8], path: &str) -> bool {
    line::lines(main)
        .take_while(|line| line::keyword(line).as_deref() != Some("match"))
        .filter_map(|line| line::arguments(line, "include"))
        .flatten()
        .any(|pattern| covers(&pattern, path))
}

/// Whether an `Include` pattern matches a path, as glob(3) does it.
fn covers(pattern: &str, path: &str) -> bool {
    let absolute = if pattern.starts_with('/') { pattern.to_owned() } else { format!("{SYSTEM_DIRECTORY}/{pattern}") };
    let mut patterns = segments(&absolute);
    let mut names = segments(path);
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if segment_matches(pattern, name) => {}
            _ => return false,
        }
    }
}

/// The segments of a path; doubled slashes and `.` change nothing.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !matches!(*segment, "" | "."))
}

/// A wildcard does not match a leading dot.
fn segment_matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    if name.first() == Some(&'.') && pattern.first() != Some(&'.') {
        return false;
    }
    matches_from(&pattern, &name)
}

/// Where something does not match, only the last `*` can take more: whatever an earlier one took
/// instead, the last one can take as well. So no pattern makes this slow.
fn matches_from(pattern: &[char], name: &[char]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    let mut last_star: Option<(&[char], &[char])> = None;
    loop {
        if let ['*', after @ ..] = pattern {
            last_star = Some((after, name));
            pattern = after;
            continue;
        }
        let Some((first, rest)) = name.split_first() else { return pattern.is_empty() };
        if let Some(after) = match_one(pattern, *first) {
            (pattern, name) = (after, rest);
            continue;
        }
        let Some((after, [_, shorter @ ..])) = last_star else { return false };
        last_star = Some((after, shorter));
        (pattern, name) = (after, shorter);
    }
}

/// What is left of a pattern whose first element, which is no `*`, matches this character.
fn match_one(pattern: &[char], character: char) -> Option<&[char]> {
    let (matched, rest) = match pattern {
        [] => return None,
        ['?', rest @ ..] => (true, rest),
        ['[', rest @ ..] => class(rest, character).unwrap_or((character == '[', rest)),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == character, rest),
    };
    matched.then_some(rest)
}

/// Whether a character is in the class that follows `[`, and what follows its `]`; none where
/// there is no `]`, so that the bracket is itself.
fn class(pattern: &[char], character: char) -> Option<(bool, &[char])> {
    let (negated, body) = match pattern.split_first() {
        Some(('!' | '^', body)) => (true, body),
        _ => (false, pattern),
    };
    // A `]` that comes first is a member.
    let end = body.iter().skip(1).position(|&member| member == ']')? + 1;
    let (mut members, rest) = body.split_at_checked(end)?;
    let mut found = false;
    while let Some((&low, after)) = members.split_first() {
        members = after;
        match after {
            ['-', high, after @ ..] => {
                found |= (low..=*high).contains(&character);
                members = after;
            }
            _ => found |= low == character,
        }
    }
    Some((found != negated, rest.get(1..)?))
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
            ("#Include /etc/ssh/sshd_config.d/*.conf\n", STOCK, false),
            ("Match all\nInclude /etc/ssh/sshd_config.d/*.conf\n", STOCK, false),
            ("Include # /etc/ssh/sshd_config.d/*.conf\n", STOCK, false),
            ("", STOCK, false),
        ];
        for (main, path, expected) in cases {
            assert_eq!(reads_outside_match(main.as_bytes(), path), expected, "{main:?} {path}");
        }
    }

    #[test]
    fn wildcards_match_as_in_a_shell() {
        let cases = [
            ("*", "a", true),
            ("*", ".a", false),
            (".*", ".a", true),
            ("a*c*", "abcd", true),
            ("a*c", "abd", false),
            ("[]a]", "]", true),
            ("[a", "[a", true),
            ("[a-", "[a-", true),
            ("[a-]", "-", true),
            ("", "", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(segment_matches(pattern, name), expected, "{pattern} {name}");
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
