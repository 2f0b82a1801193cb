//! What a change set means to a person, and to a program: one entry a file, with a diff.

use super::{ChangeSet, staged::After};
use crate::text::{neutral, neutral_lines};
use serde::Serialize;
use similar::TextDiff;
use std::time::Duration;

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It comes into being.
    Add,
    /// It changes.
    Change,
    /// It goes.
    Remove,
}

/// One file of a change set.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// What happens.
    pub action: Action,
    /// To which file.
    pub path: String,
    /// What it is, in a few words; empty for plain text.
    pub what: String,
    /// The lines that go and come, with `-`, `+` or a blank before each; empty where the contents
    /// are no text, or not known yet.
    pub diff: Vec<String>,
    /// Permission bits, in octal, where they are new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The grant that allows it.
    pub grant: String,
}

/// A change set, to look at.
#[derive(Clone, Debug, Serialize)]
pub struct Review {
    /// The files.
    pub files: Vec<Entry>,
    /// The services that are reloaded, in order.
    pub reloads: Vec<String>,
}

impl Review {
    /// The review of a change set.
    #[must_use]
    pub fn of(changes: &ChangeSet) -> Self {
        let reloads = changes.reloads().iter().map(ToString::to_string).collect();
        Self { files: changes.staged().iter().map(|staged| entry(changes, staged)).collect(), reloads }
    }
}

fn entry(changes: &ChangeSet, staged: &super::Staged) -> Entry {
    let action = match (&staged.before, &staged.after) {
        (_, After::Removed) => Action::Remove,
        (None, _) => Action::Add,
        (Some(_), _) => Action::Change,
    };
    let before = staged.before.as_ref().map(|before| before.contents.as_slice()).unwrap_or_default();
    let (what, diff) = match &staged.after {
        After::Removed if staged.path.name().ends_with("-cert.pub") => ("certificate".to_owned(), Vec::new()),
        After::Removed => (String::new(), lines(before, b"")),
        After::Bytes { contents, .. } => (String::new(), lines(before, contents)),
        After::PrivateKey { .. } => ("private key, made here".to_owned(), Vec::new()),
        After::Certificate { request } => {
            let names = changes.request_of(*request).map_or_else(String::new, |request| {
                let how = if request.current.is_some() { "renewed" } else { "new" };
                format!("{how} {} certificate · {}", request.kind, request.principals)
            });
            (names, Vec::new())
        }
    };
    let mode = staged.after.mode(staged.before.as_ref());
    let new_mode =
        !matches!(staged.after, After::Removed) && staged.before.as_ref().is_none_or(|before| before.mode != mode);
    Entry {
        action,
        path: neutral(staged.path.as_str()),
        what,
        diff,
        mode: new_mode.then(|| format!("{mode:04o}")),
        grant: staged.grant.clone(),
    }
}

/// More lines than a person reads, and than can be compared in no time.
const LINES: usize = 20_000;
/// How long the smallest difference is looked for; then a larger one does.
const PATIENCE: Duration = Duration::from_secs(1);

/// The changed lines with up to two lines of context, as `diff -U2` has them, without headers.
#[must_use]
pub fn lines(before: &[u8], after: &[u8]) -> Vec<String> {
    let (Ok(before), Ok(after)) = (std::str::from_utf8(before), std::str::from_utf8(after)) else { return Vec::new() };
    let many = |text: &str| text.lines().count() > LINES;
    if many(before) || many(after) {
        let (before, after) = (before.lines().count(), after.lines().count());
        return vec![format!("… too many lines to compare: {before} before, {after} after")];
    }
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(before, after);
    let mut out = Vec::new();
    for (index, group) in diff.grouped_ops(2).iter().enumerate() {
        if index > 0 {
            out.push("…".to_owned());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            out.push(format!("{}{}", change.tag(), neutral_lines(change.value())));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_what_goes_and_comes() {
        assert_eq!(lines(b"", b"a\nb\n"), ["+a", "+b"]);
        assert_eq!(lines(b"a\nb\nc\nd\ne\nf\n", b"a\nb\nc\nX\ne\nf\n"), [" b", " c", "-d", "+X", " e", " f"]);
        assert_eq!(lines(b"\xff", b"a"), Vec::<String>::new());
        assert_eq!(lines(b"", b"\x1b[2J\n"), ["+\\u{1b}[2J"]);
    }
}
