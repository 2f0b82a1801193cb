//! Which of sshd's keywords a change touches: in its lines, and in what `sshd -T` makes of them.
//! Both are looked at: a line inside a `Match` shows in `sshd -T` only for those whom it matches.

use super::includes::directives;
use crate::{
    machine::sshd::{Effective, effective::canonical},
    text,
};
use similar::{Algorithm, DiffTag, capture_diff_slices};
use sshd_config::line::Directive;

/// The keywords that may change.
#[derive(Clone, Copy, Debug)]
pub enum MayChange<'a> {
    /// These, by the policy.
    Only(&'a [String]),
    /// Any, `Match` too: an operator's undo brings back what was there.
    Any,
}

impl MayChange<'_> {
    /// Whether a keyword is among them, in any spelling.
    #[must_use]
    pub fn has(self, keyword: &str) -> bool {
        match self {
            Self::Only(granted) => granted.iter().any(|granted| canonical(granted) == canonical(keyword)),
            Self::Any => true,
        }
    }

    fn covers(self, directive: &Directive) -> bool {
        match self {
            Self::Any => true,
            Self::Only(_) => directive.is_match_all() || (directive.keyword != "match" && self.has(&directive.keyword)),
        }
    }
}

/// A change that is not granted: the line of the new file if it has one, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotGranted {
    /// The number of the line, in the new text for a line that is added, in the old for one that goes.
    pub line: usize,
    /// The line, or what is wrong with it.
    pub what: String,
}

/// The lines between two texts of a configuration file that come or go without a grant for their
/// keyword. `Match all` is free; any other `Match` is never granted: what stands below it could not
/// be seen for everybody.
#[must_use]
pub fn not_granted(old: &[u8], new: &[u8], granted: MayChange<'_>) -> Vec<NotGranted> {
    if let MayChange::Only(_) = granted
        && let Some(index) = new.split(|byte| *byte == b'\n').position(|line| line.contains(&0))
    {
        // sshd would stop reading the line there, and take the next one for the rest of it.
        return vec![NotGranted { line: index + 1, what: "has a NUL byte".to_owned() }];
    }
    let (old, new): (Vec<_>, Vec<_>) = (directives(old).collect(), directives(new).collect());
    let words = |lines: &[(usize, Directive)]| lines.iter().map(|(_, one)| one.normal()).collect::<Vec<_>>();
    let mut found = Vec::new();
    for operation in capture_diff_slices(Algorithm::Myers, &words(&old), &words(&new)) {
        let (tag, before, after) = operation.as_tag_tuple();
        if tag == DiffTag::Equal {
            continue;
        }
        for (verb, lines) in [("removes", old.get(before)), ("has", new.get(after))] {
            for (line, directive) in lines.unwrap_or_default() {
                if !granted.covers(directive) {
                    let what = format!("{verb} `{}`", text::neutral(&directive.normal()));
                    found.push(NotGranted { line: *line, what });
                }
            }
        }
    }
    found
}

/// The keywords that differ between two effective configurations without a grant, in words.
#[must_use]
pub fn effects(before: &Effective, after: &Effective, granted: MayChange<'_>) -> Vec<String> {
    let shown = |values: &[String]| match values {
        [] => "nothing".to_owned(),
        values => text::neutral(&values.join(", ")),
    };
    // Host keys that come to be where there was none are files, not configuration: a line that names
    // one is seen among the lines.
    let first_keys = |keyword: &str, values: &[String]| keyword == "hostkey" && values.is_empty();
    let differences = before.differences(after).into_iter();
    let differences = differences.filter(|one| !granted.has(&one.keyword) && !first_keys(&one.keyword, &one.before));
    differences.map(|one| format!("{}: {} → {}", one.keyword, shown(&one.before), shown(&one.after))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_need_a_grant() {
        let keywords = ["HostCertificate".to_owned(), "ChallengeResponseAuthentication".to_owned()];
        let old = "Port 22\n# note\nMatch User bob\n  ForceCommand x\n";
        for (new, expected) in [
            (old, vec![]),
            ("Port 22\n# other note\n\n\nMatch  User bob\nForceCommand \"x\"\n", vec![]),
            ("HostCertificate /a\nPort 22\nMatch User bob\n  ForceCommand x\n", vec![]),
            ("Match all\nhostcertificate /a\nPort 22\nMatch User bob\n  ForceCommand x\n", vec![]),
            ("KbdInteractiveAuthentication no\nPort 22\nMatch User bob\n  ForceCommand x\n", vec![]),
            ("DenyUsers *\nPort 22\nMatch User bob\n  ForceCommand x\n", vec![(1, "has `denyusers \"*\"`")]),
            (
                "Port 22\nMatch User bob\n  ForceCommand x\nMatch User root\n HostCertificate /a\n",
                vec![(4, "has `match \"User\" \"root\"`")],
            ),
            ("Port 22\n#\0\nMatch User bob\n  ForceCommand x\n", vec![(2, "has a NUL byte")]),
            ("Match User bob\n  ForceCommand x\n", vec![(1, "removes `port \"22\"`")]),
            ("Port 22\nForceCommand x\n", vec![(3, "removes `match \"User\" \"bob\"`")]),
            (
                "Port 23\nMatch User bob\n  ForceCommand x\n",
                vec![(1, "removes `port \"22\"`"), (1, "has `port \"23\"`")],
            ),
        ] {
            let found = not_granted(old.as_bytes(), new.as_bytes(), MayChange::Only(&keywords));
            let found: Vec<_> = found.iter().map(|one| (one.line, one.what.as_str())).collect();
            assert_eq!(found, expected, "{new}");
        }
    }

    #[test]
    fn effects_need_a_grant() {
        let before = Effective::parse("port 22\nusepam yes\n");
        let after = Effective::parse("port 22\nusepam no\nhostcertificate /a\n");
        let keywords = ["hostcertificate".to_owned()];
        assert_eq!(effects(&before, &after, MayChange::Only(&keywords)), ["usepam: yes → no"]);
        assert_eq!(
            effects(&before, &after, MayChange::Only(&[])),
            ["hostcertificate: nothing → /a", "usepam: yes → no"]
        );
    }
}
