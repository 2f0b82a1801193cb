//! How records form a chain. A line is one JSON object that ends in `,"hash":"sha256:…"}`. The hash covers the line's
//! bytes without that member, so that not one byte can be changed.

use super::record::Event;
use crate::digest::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `,"hash":"` … `"}`
const BEFORE_HASH: &str = ",\"hash\":\"";
const AFTER_HASH: &str = "\"}";

/// The end of a log, which its next record continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of records.
    pub count: u64,
    /// The hash of the last one.
    pub hash: Digest,
}

impl Head {
    /// The head of an empty log.
    #[must_use]
    pub fn empty() -> Self {
        Self { count: 0, hash: Digest::of(b"warded.audit/1") }
    }
}

/// The fields of a line that matter for the chain.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) head: Head,
    pub(super) previous: Digest,
    pub(super) kind: String,
    pub(super) torn: Option<Digest>,
    pub(super) known: Option<u64>,
    /// The detail of the first record of a file, which names the file before it.
    pub(super) continued: Option<String>,
}

/// The fields of a record about the log itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    /// With `recovered`: the digest of the unfinished bytes before this line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) torn: Option<Digest>,
    /// With `missing`: the number of the last record that was known to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) known: Option<u64>,
    /// The number of unsealed records before this one, which are sealed together with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seals: Option<u64>,
}

/// A line of the log without its hash.
#[derive(Serialize)]
struct Body<'a> {
    n: u64,
    time: Timestamp,
    previous: Digest,
    #[serde(flatten)]
    event: &'a Event,
    #[serde(flatten)]
    account: Account,
}

/// The line that continues `head`, with its newline, and the head after it.
pub(super) fn line(head: Head, event: &Event, account: Account) -> Result<(Vec<u8>, Head), serde_json::Error> {
    let count = head.count.saturating_add(1);
    let body = serde_json::to_vec(&Body {
        n: count,
        time: Timestamp::now(),
        previous: head.hash,
        event: &event.neutralised(),
        account,
    })?;
    let hash = Digest::of(&body);
    let mut line = body;
    line.pop();
    line.extend_from_slice(format!("{BEFORE_HASH}{hash}{AFTER_HASH}\n").as_bytes());
    Ok((line, Head { count, hash }))
}

/// Parses a line (without its newline); `None` if it is not a complete record with the right hash.
pub(super) fn link(line: &[u8]) -> Option<Link> {
    #[derive(Deserialize)]
    struct Part {
        n: u64,
        previous: Digest,
        kind: String,
        #[serde(default)]
        detail: Option<String>,
        #[serde(flatten)]
        account: Account,
    }
    let text = std::str::from_utf8(line).ok()?;
    let (body, hash) = text.strip_suffix(AFTER_HASH)?.rsplit_once(BEFORE_HASH)?;
    // Compared as text, since `parse` also accepts capital digits, and the line would not be the one that was written.
    let parsed: Digest = hash.parse().ok().filter(|parsed: &Digest| parsed.to_string() == hash)?;
    let body = format!("{body}}}");
    if Digest::of(body.as_bytes()) != parsed {
        return None;
    }
    let part: Part = serde_json::from_str(&body).ok()?;
    let Account { torn, known, seals: _ } = part.account;
    let continued = part.detail.filter(|_| part.kind == "continued");
    let head = Head { count: part.n, hash: parsed };
    Some(Link { head, previous: part.previous, kind: part.kind, torn, known, continued })
}

impl Link {
    /// Whether this line continues a chain that ends in `head`.
    pub(super) fn follows(&self, head: Head) -> bool {
        self.head.count == head.count.saturating_add(1) && self.previous == head.hash
    }

    /// Whether this record accounts for the `unfinished` bytes before it.
    pub(super) fn covers(&self, unfinished: &[u8]) -> bool {
        self.kind == "recovered" && self.torn == Some(Digest::of(unfinished))
    }
}
