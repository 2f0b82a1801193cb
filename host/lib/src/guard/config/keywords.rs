//! Which of sshd's keywords may change, and which do in what `sshd -T` makes of a configuration.

use crate::{
    machine::sshd::{Effective, effective::canonical},
    text,
};

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

    /// What is granted, for a message.
    #[must_use]
    pub fn described(self) -> String {
        match self {
            MayChange::Any => "any sshd keyword may change".to_owned(),
            MayChange::Only([]) => "no sshd keyword is granted".to_owned(),
            MayChange::Only(keywords) => format!("granted: {}", keywords.join(", ")),
        }
    }
}

/// Keywords that decide where sshd listens, which `sshd -T` tells of as `listenaddress`. No bundled policy grants one; for
/// an operator's own, the plan says where sshd would listen.
pub const LISTENING: [&str; 2] = ["port", "addressfamily"];

/// Whether a keyword decides where sshd listens, and it would go on listening wherever it does: that shuts nobody out.
#[must_use]
pub fn only_opens(keyword: &str, before: &Effective, after: &Effective) -> bool {
    LISTENING.contains(&keyword) && before.addresses().all(|one| after.addresses().any(|other| other == one))
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
    let moves = |keyword: &str| keyword == "listenaddress" && LISTENING.iter().any(|one| granted.has(one));
    let is_effect =
        |keyword: &str, before: &[String]| !granted.has(keyword) && !first_keys(keyword, before) && !moves(keyword);
    let differences = before.differences(after).into_iter();
    let differences = differences.filter(|one| is_effect(&one.keyword, &one.before));
    differences.map(|one| format!("{}: {} → {}", one.keyword, shown(&one.before), shown(&one.after))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
