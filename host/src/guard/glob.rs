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

fn matches_from(pattern: &[char], name: &[char]) -> bool {
    match pattern {
        [] => name.is_empty(),
        ['*', rest @ ..] => (0..=name.len()).any(|skip| matches_from(rest, name.get(skip..).unwrap_or_default())),
        ['\\', literal, rest @ ..] => {
            name.split_first().is_some_and(|(c, name)| c == literal && matches_from(rest, name))
        }
        ['[', rest @ ..] if class(rest).is_some() => {
            let Some(((negated, ranges), after)) = class(rest) else { return false };
            name.split_first().is_some_and(|(c, name)| {
                ranges.iter().any(|(low, high)| low <= c && c <= high) != negated && matches_from(after, name)
            })
        }
        ['?', rest @ ..] => name.split_first().is_some_and(|(_, name)| matches_from(rest, name)),
        [literal, rest @ ..] => name.split_first().is_some_and(|(c, name)| c == literal && matches_from(rest, name)),
    }
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
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
