//! Which of sshd's keywords may change, and which ones do change in the output of `sshd -T`.

use crate::{
    machine::sshd::{Effective, effective::canonical},
    text,
};

/// The keywords that may change.
#[derive(Clone, Copy, Debug)]
pub enum MayChange<'a> {
    /// These, by the policy.
    Only(&'a [String]),
    /// Any, even `Match`: an operator's undo brings back what was there.
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

/// Keywords that decide where sshd listens; `sshd -T` prints the result as `listenaddress`. No bundled policy grants
/// one. For an operator's own policy, the plan says where sshd would listen.
pub const LISTENING: [&str; 2] = ["port", "addressfamily"];

/// Whether a keyword decides where sshd listens, and sshd would keep listening wherever it does now: such a change
/// shuts nobody out.
#[must_use]
pub fn only_opens(keyword: &str, before: &Effective, after: &Effective) -> bool {
    LISTENING.contains(&keyword) && before.addresses().all(|one| after.addresses().any(|other| other == one))
}

/// The keywords that differ between two effective configurations without being granted, in words.
#[must_use]
pub fn effects(before: &Effective, after: &Effective, granted: MayChange<'_>) -> Vec<String> {
    let shown = |values: &[String]| match values {
        [] => "nothing".to_owned(),
        values => text::neutral(&values.join(", ")),
    };
    // Host keys that appear where there were none are new files, not a change of the configuration: a line that names
    // one shows up among the lines.
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

    const NONE: MayChange<'_> = MayChange::Only(&[]);

    #[test]
    fn a_keyword_is_granted_in_any_spelling() {
        let keywords = ["HostCertificate".to_owned(), "ChallengeResponseAuthentication".to_owned()];
        let only = MayChange::Only(&keywords);
        for (granted, keyword, expected) in [
            (only, "hostcertificate", true),
            (only, "KbdInteractiveAuthentication", true),
            (only, "hostkey", false),
            (NONE, "hostcertificate", false),
            (MayChange::Any, "hostkey", true),
        ] {
            assert_eq!(granted.has(keyword), expected, "{granted:?} {keyword}");
        }
        assert_eq!(only.described(), "granted: HostCertificate, ChallengeResponseAuthentication");
        assert_eq!(NONE.described(), "no sshd keyword is granted");
        assert_eq!(MayChange::Any.described(), "any sshd keyword may change");
    }

    #[test]
    fn effects_need_a_grant() {
        let before = "port 22\nusepam yes\nlistenaddress 0.0.0.0:22\n";
        let scratch = tempfile::NamedTempFile::new().unwrap();
        let first_key = format!("{before}hostkey {}\n", scratch.path().display());
        let another_key = format!("{first_key}hostkey /dev/null\n");
        let moved = before.replace("22", "2222");
        let only = |keywords: &[&str], before: &str, after: &str| {
            let keywords: Vec<String> = keywords.iter().map(|&one| one.to_owned()).collect();
            effects(&Effective::parse(before), &Effective::parse(after), MayChange::Only(&keywords))
        };
        let (changed, kept) = (before.replace("yes", "no") + "hostcertificate /a\n", [""; 0]);
        assert_eq!(only(&["hostcertificate"], before, &changed), ["usepam: yes → no"]);
        assert_eq!(only(&[], before, &changed), ["hostcertificate: nothing → /a", "usepam: yes → no"]);
        assert_eq!(only(&[], &changed, before), ["hostcertificate: /a → nothing", "usepam: no → yes"]);
        assert_eq!(effects(&Effective::parse(before), &Effective::parse(&changed), MayChange::Any), kept);
        // The first host keys are new files; one more comes from a line that names it.
        assert_eq!(only(&[], before, &first_key), kept);
        assert_eq!(only(&[], &first_key, &another_key).len(), 1);
        assert_eq!(only(&[], &first_key, before).len(), 1);
        // Where sshd listens follows from other keywords.
        assert_eq!(only(&["Port"], before, &moved), kept);
        assert_eq!(only(&["Port"], before, &moved.replace("yes", "no")), ["usepam: yes → no"]);
        assert_eq!(only(&[], before, &moved), ["listenaddress: 0.0.0.0:22 → 0.0.0.0:2222", "port: 22 → 2222"]);
        assert_eq!(only(&["UsePAM"], before, &moved).len(), 2);
    }

    #[test]
    fn more_addresses_shut_nobody_out() {
        let listening = |addresses: &[&str]| {
            let lines: Vec<String> = addresses.iter().map(|one| format!("listenaddress {one}\n")).collect();
            Effective::parse(&lines.concat())
        };
        let (one, two) = (listening(&["0.0.0.0:22"]), listening(&["0.0.0.0:22", "0.0.0.0:2222"]));
        for (keyword, before, after, expected) in [
            ("port", &one, &two, true),
            ("port", &one, &one, true),
            ("port", &two, &one, false),
            ("port", &one, &listening(&["0.0.0.0:2222"]), false),
            ("addressfamily", &one, &two, true),
            ("usepam", &one, &two, false),
        ] {
            assert_eq!(only_opens(keyword, before, after), expected, "{keyword} {before:?} {after:?}");
        }
    }
}
