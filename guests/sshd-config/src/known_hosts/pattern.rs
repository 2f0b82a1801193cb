//! Lists of host name patterns, as ssh matches them (OpenSSH's match.c).

use super::looked_up::Pattern;
use std::{collections::BTreeSet, fmt, str::FromStr};

/// The patterns that an operator may give: separated by commas, each in a form in which ssh looks names up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

/// Which kind of example to give for a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A name that the list matches.
    Inside,
    /// A name that it does not match.
    Outside,
}

/// A pattern that is not limited to one domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wide {
    /// The pattern.
    pub pattern: String,
    /// A host that it also matches.
    pub covers: String,
}

/// From this length on, ssh ignores a pattern (`match_pattern_list` in match.c).
const LONGEST: usize = 1023;
/// A name that nobody has (RFC 6761).
const NOBODY: &str = "warded-example.invalid";

impl FromStr for Patterns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"*?!.,-_:[]%".contains(&byte);
        if text.is_empty() || text.len() > 1024 || !text.bytes().all(is_plain) {
            return Err(format!(
                "{text:?} is not a list of host name patterns: letters, digits, `.`, `-`, `*` and `?`, \
                 with commas between patterns and `!` before one to exclude (names in other scripts as punycode)"
            ));
        }
        let list = Self(text.to_ascii_lowercase().split(',').map(Pattern::parse).collect::<Result<_, _>>()?);
        list.refuse_idle()?;
        if list.example(Wanted::Inside).is_none() {
            return Err(format!("{text:?} matches no name"));
        }
        Ok(list)
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pattern) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            fmt::Display::fmt(pattern, f)?;
        }
        Ok(())
    }
}

impl Patterns {
    /// The patterns that are not limited to one domain: a person with the CA's key could impersonate hosts of others.
    pub fn wide(&self) -> impl Iterator<Item = Wide> {
        let wide = self.kept().filter(|one| one.is_wide());
        wide.map(|one| Wide { pattern: one.text(), covers: one.covered() })
    }

    /// A name that the list matches or does not match, in the form in which ssh looks it up: `[NAME]:PORT` for another
    /// port than 22.
    #[must_use]
    pub fn example(&self, wanted: Wanted) -> Option<String> {
        let list = self.to_string();
        let holds = |name: &String| matches(list.as_bytes(), name);
        match wanted {
            Wanted::Inside => self.kept().flat_map(Pattern::examples).find(holds),
            Wanted::Outside => Some(NOBODY.to_owned()).filter(|name| !holds(name)),
        }
    }

    fn kept(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter().filter(|one| !one.is_left_out)
    }

    /// Refuses a `!` that excludes nothing, or whose names another pattern includes again.
    fn refuse_idle(&self) -> Result<(), String> {
        let left_out = || self.0.iter().filter(|one| one.is_left_out);
        for one in left_out() {
            if !self.kept().any(|kept| both_match(kept.text().as_bytes(), one.text().as_bytes())) {
                return Err(format!("{one} excludes nothing that the other patterns match"));
            }
            for kept in self.kept() {
                let again = one.let_in_again(kept);
                let open = again
                    .filter(|wanted| !left_out().any(|other| one_matches(other.text().as_bytes(), wanted.as_bytes())));
                if let Some(open) = open {
                    return Err(format!("{kept} includes again what {one} excludes: exclude {open} as well"));
                }
            }
        }
        Ok(())
    }
}

/// Whether a list matches a name. What a hashed name matches cannot be seen here, so it matches nothing.
#[must_use]
pub fn matches(list: &[u8], name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut holds = false;
    for pattern in list.split(|byte| *byte == b',') {
        let (negated, pattern) = pattern.strip_prefix(b"!").map_or((false, pattern), |rest| (true, rest));
        if one_matches(&pattern.to_ascii_lowercase(), name.as_bytes()) {
            if negated {
                return false;
            }
            holds = true;
        }
    }
    holds
}

/// Whether there may be a name that both lists match, with a port or without. Exclusions are ignored, and a hashed name
/// is taken to match any.
#[must_use]
pub fn overlap(left: &[u8], right: &[u8]) -> bool {
    if left.starts_with(b"|") || right.starts_with(b"|") {
        return true;
    }
    wanted(left).any(|left| {
        wanted(right).any(|right| {
            // ssh looks up a name with a port also without the port.
            both_match(left, right) || both_match(without_port(left), right) || both_match(left, without_port(right))
        })
    })
}

/// The patterns of a list with which ssh compares a name; it ignores longer ones.
fn wanted(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').filter(|one| !one.starts_with(b"!") && one.len() < LONGEST)
}

fn without_port(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().rposition(|byte| *byte == b']');
    match (pattern.strip_prefix(b"["), end) {
        (Some(rest), Some(end)) => rest.get(..end.saturating_sub(1)).unwrap_or(pattern),
        _ => pattern,
    }
}

/// Whether some name matches both patterns.
pub(super) fn both_match(left: &[u8], right: &[u8]) -> bool {
    let (left, right) = (left.to_ascii_lowercase(), right.to_ascii_lowercase());
    let mut pending = vec![(left.as_slice(), right.as_slice())];
    let mut seen = BTreeSet::new();
    while let Some((left, right)) = pending.pop() {
        if !seen.insert((left.len(), right.len())) {
            continue;
        }
        match (left, right) {
            ([], []) => return true,
            ([b'*', rest @ ..], other) => {
                pending.push((rest, other));
                pending.extend(other.split_first().map(|(_, behind)| (left, behind)));
            }
            (other, [b'*', rest @ ..]) => {
                pending.push((other, rest));
                pending.extend(other.split_first().map(|(_, behind)| (behind, right)));
            }
            ([one, left @ ..], [other, right @ ..]) if one == other || *one == b'?' || *other == b'?' => {
                pending.push((left, right));
            }
            _ => {}
        }
    }
    false
}

/// `*` stands for any characters, `?` for one; this is iterative, so that no pattern makes it slow.
pub(super) fn one_matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name, mut star) = (0, 0, None);
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, in_name));
            }
            Some(byte) if *byte == b'?' || Some(byte) == name.get(in_name) => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((after, from)) = star else { return false };
                star = Some((after, from + 1));
                (at, in_name) = (after, from + 1);
            }
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}
