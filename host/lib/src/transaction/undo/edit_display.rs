//! How to show a file that was edited since the run.

use crate::{
    machine::{
        files::Snapshot,
        keys::{holds_private_key, is_certificate},
    },
    text,
    transaction::{
        journal::Entry,
        series::{JointChange, Part},
    },
};

/// A command with which a person makes the file what it was before.
pub(super) fn remedy(joint: &JointChange<'_>) -> String {
    let Part { run, index, entry } = joint.oldest;
    match entry.before {
        None => format!("rm {}", text::shell_word(entry.path.as_str())),
        Some(_) => run.how_to_restore(index, entry.path.as_str()),
    }
}

/// None also for a private key: no copy of the new one is kept, and no key is shown.
fn text(bytes: Option<&[u8]>) -> Option<&str> {
    bytes.filter(|bytes| !holds_private_key(bytes)).and_then(|bytes| std::str::from_utf8(bytes).ok())
}

pub(super) fn difference(entry: &Entry, left: Option<&[u8]>, now: Option<&Snapshot>) -> String {
    let now = now.map(|now| now.contents.as_slice());
    match (&entry.after, now, text(left), text(now)) {
        (_, None, ..) => format!("{}: somebody removed it", entry.path),
        (None, Some(_), ..) => format!("{}: somebody made it again", entry.path),
        // Nobody reads a certificate.
        (_, Some(now), ..) if is_certificate(now) => format!("{}: another certificate is there", entry.path),
        (_, _, Some(left), Some(now)) => {
            let name = text::neutral(entry.path.as_str());
            let (as_left, as_now) = (format!("{name} (as the run left it)"), format!("{name} (now)"));
            text::neutral_lines(&text::diff::unified(left, now, [&as_left, &as_now]))
        }
        _ => format!("{}: somebody changed it (not shown: it is not text, or a private key)", entry.path),
    }
}
