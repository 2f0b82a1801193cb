//! The patterns of `Include`, as glob(3) without flags takes them: `*`, `?`, `[…]`, `\`; none of
//! them matches a slash, or a dot at the start of a name.

/// Whether a text has anything in it that is not literal.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// Whether one segment of a path matches one segment of a pattern.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<_> = pattern.chars().collect();
    let hidden = name.starts_with('.') && pattern.first() != Some(&'.');
    !hidden && matches_from(&pattern, &name.chars().collect::<Vec<_>>())
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
        ['[', rest @ ..] => match class(rest) {
            Some(((negated, ranges), after)) => {
                (ranges.iter().any(|(low, high)| (low..=high).contains(&&character)) != negated, after)
            }
            None => (character == '[', rest),
        },
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == character, rest),
    };
    matched.then_some(rest)
}

type Class<'a> = ((bool, Vec<(char, char)>), &'a [char]);

/// The class after a `[`: whether it is negated, its ranges, and what follows its `]`.
fn class(rest: &[char]) -> Option<Class<'_>> {
    let (negated, rest) = match rest {
        ['!' | '^', rest @ ..] => (true, rest),
        _ => (false, rest),
    };
    // A `]` that comes first stands for itself.
    let end = 1 + rest.iter().skip(1).position(|c| *c == ']')?;
    let mut inner = rest.get(..end)?;
    let mut ranges = Vec::new();
    while let [first, others @ ..] = inner {
        match others {
            ['-', last, others @ ..] => {
                ranges.push((*first, *last));
                inner = others;
            }
            _ => {
                ranges.push((*first, *first));
                inner = others;
            }
        }
    }
    Some(((negated, ranges), rest.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_glob_does() {
        for (pattern, name, expected) in [
            ("*.conf", "50-warded.conf", true),
            ("*.conf", ".hidden.conf", false),
            (".*.conf", ".hidden.conf", true),
            ("*.conf", "smallstep.conf~", false),
            ("*", "", true),
            ("?a", "ba", true),
            ("?a", "a", false),
            ("[0-9]*", "5x", true),
            ("[!0-9]*", "5x", false),
            ("[]a]", "]", true),
            ("[a", "[a", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("ü?", "üß", true),
            ("a*b*c", "aXbYbZc", true),
            ("*a[0-9]*b", "aa1b1", false),
            ("*[!a]", "aab", true),
            ("a\\", "a\\", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn no_pattern_is_slow_or_deep() {
        let name = "a".repeat(255);
        assert!(!matches(&"*a".repeat(100_000), &name));
        assert!(!matches(&["*a".repeat(120), "b".to_owned()].concat(), &name));
        assert!(matches(&"*".repeat(1_000_000), &name));
    }
}
