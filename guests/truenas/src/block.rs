//! Where Warded's block stands: in the stored text, and in the file that the middleware generates from it.
//!
//! In the generated file, the stored text and a line ending stand between two parts of the appliance's. Up to 25.04.0,
//! lines of the appliance's follow the stored text, `Match` blocks among them; from 25.04.1 on the stored text comes
//! last, after these blocks. So Warded's block never stands in an open `Match`, and moves nobody's line into another
//! `Match`.
//!
//! The template looks for words in the stored text, comments included, and leaves its own line out if it finds one such
//! as `Ciphers`. Warded's block has no such word.

use warded_guest::block::{BrokenBlock, Marks};
use warded_guest::sshd_config::{Directive, directives};

const COMMENT: &str =
    concat!("# Managed by Warded (policy ", env!("CARGO_PKG_NAME"), "). `warded apply remove` takes it out.");
/// Tells a later run to remove the line ending before Warded's block together with the block.
const LINE_END: &str = "# The end of the line before this block is Warded's.";
const MATCH_ALL: &str = "Match all";
/// The template's comment before the stored text in releases in which that comes last.
const COMES_LAST: &[u8] = b"MUST COME LAST";
/// The line before the stored text in other releases.
const ANCHOR: &[u8] = b"PubkeyAuthentication yes\n";

/// Why there is no place for Warded's block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Warded's marks in the stored text are not a pair.
    BrokenBlock,
    /// The generated file does not contain the stored text exactly once.
    Stale,
    /// Every place is in a `Match` block, or would move somebody else's lines into another one.
    NoPlace,
}

impl From<BrokenBlock> for Fault {
    fn from(_: BrokenBlock) -> Self {
        Self::BrokenBlock
    }
}

/// Both texts, present or future.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Texts {
    /// The stored text.
    pub(crate) options: String,
    /// The generated file.
    pub(crate) live: Vec<u8>,
}

/// The stored text in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts<'a> {
    before: &'a str,
    block: Option<&'a str>,
    after: &'a str,
}

impl Parts<'_> {
    /// The administrator's own text.
    fn foreign(&self) -> String {
        let added = self.block.is_some_and(|block| has_line(block, LINE_END)) && self.after.is_empty();
        let before = if added { self.before.strip_suffix('\n').unwrap_or(self.before) } else { self.before };
        format!("{before}{}", self.after)
    }
}

/// What is around the stored text in the generated file.
struct Around<'a> {
    before: &'a [u8],
    /// With the line end that the template puts after the stored text.
    after: &'a [u8],
}

impl Texts {
    /// The lines of Warded's block, without its marks and comments; empty if there is no block.
    pub(crate) fn lines(&self) -> Result<Vec<String>, Fault> {
        let block = parts(&self.options)?.block.unwrap_or_default();
        let is_ours = |line: &&str| Directive::parse(line.as_bytes()).is_some_and(|found| found.keyword != "match");
        Ok(block.lines().filter(is_ours).map(|line| line.trim().to_owned()).collect())
    }

    /// The administrator's own text.
    pub(crate) fn foreign(&self) -> Result<String, Fault> {
        Ok(parts(&self.options)?.foreign())
    }

    /// Whether a later release, which puts the stored text after `Match` blocks, would put Warded's lines into one.
    pub(crate) fn is_for_an_earlier_layout(&self) -> Result<bool, Fault> {
        Ok(parts(&self.options)?.block.is_some_and(|block| !has_line(block, MATCH_ALL)))
    }

    /// Both texts with a block of these lines, or without a block if there are no lines.
    pub(crate) fn with(&self, lines: &[String]) -> Result<Self, Fault> {
        let parts = parts(&self.options)?;
        let around = self.around()?;
        let options = if lines.is_empty() { parts.foreign() } else { placed(&parts, &around, lines)? };
        let live = [around.before, options.as_bytes(), around.after].concat();
        Ok(Self { options, live })
    }

    fn around(&self) -> Result<Around<'_>, Fault> {
        let (live, text) = (self.live.as_slice(), self.options.as_bytes());
        // An empty stored text would match before every line ending.
        let is_place = |before: &[u8]| {
            if says_last(live.split(|byte| *byte == b'\n')) { comes_last(before) } else { before.ends_with(ANCHOR) }
        };
        let starts =
            std::iter::once(0).chain(live.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1));
        let around = |at| {
            let (before, rest) = live.split_at_checked(at)?;
            let after = rest.strip_prefix(text)?;
            after.starts_with(b"\n").then_some(Around { before, after })
        };
        let mut found: Vec<_> = starts.filter_map(around).collect();
        // The appliance's own lines may say the same as the stored text.
        if text.is_empty() || found.len() > 1 {
            found.retain(|around| is_place(around.before));
        }
        let one = found.pop().filter(|_| found.is_empty());
        one.ok_or(Fault::Stale)
    }
}

/// The stored text with a block of these lines.
fn placed(parts: &Parts<'_>, around: &Around<'_>, lines: &[String]) -> Result<String, Fault> {
    let is_last = comes_last(around.before);
    if let Some(block) = parts.block {
        let has_match_all = has_line(block, MATCH_ALL);
        let is_open = leaves_open(&[around.before, parts.before.as_bytes()].concat());
        if has_match_all || !(is_open || is_last) {
            let block = rendered(lines, has_match_all, has_line(block, LINE_END));
            let end = if parts.block.is_some_and(|block| block.ends_with('\n')) { "\n" } else { "" };
            return Ok(format!("{}{block}{end}{}", parts.before, parts.after));
        }
    }
    let text = parts.foreign();
    let is_open = leaves_open(&[around.before, text.as_bytes()].concat());
    let is_followed = directives(around.after).next().is_some();
    // Where the stored text comes last, the appliance may put a `Match` before it at any time: for a user who may log
    // in by password.
    let match_all = !is_followed && (is_open || is_last);
    if is_open && !match_all {
        if leaves_open(around.before) {
            return Err(Fault::NoPlace);
        }
        return Ok(format!("{}\n{text}", rendered(lines, false, false)));
    }
    Ok(if text.is_empty() || text.ends_with('\n') {
        format!("{text}{}\n", rendered(lines, match_all, false))
    } else {
        format!("{text}\n{}", rendered(lines, match_all, true))
    })
}

/// The block, without a line end after it.
fn rendered(lines: &[String], match_all: bool, line_end: bool) -> String {
    let marks = Marks::default();
    let mut all = vec![marks.begin(), COMMENT];
    all.extend(line_end.then_some(LINE_END));
    all.extend(match_all.then_some(MATCH_ALL));
    all.extend(lines.iter().map(String::as_str));
    all.push(marks.end());
    all.join("\n")
}

fn parts(options: &str) -> Result<Parts<'_>, Fault> {
    let Some(range) = Marks::default().find(options.as_bytes())? else {
        return Ok(Parts { before: options, block: None, after: "" });
    };
    let part = |range: std::ops::Range<usize>| options.get(range).unwrap_or_default();
    let (before, after) = (part(0..range.start), part(range.end..options.len()));
    Ok(Parts { before, block: Some(part(range)), after })
}

fn has_line(block: &str, wanted: &str) -> bool {
    block.lines().any(|line| line.trim() == wanted)
}

/// Whether what follows a text would stand in a `Match` block.
fn leaves_open(text: &[u8]) -> bool {
    directives(text)
        .filter(|(_, found)| found.keyword == "match")
        .last()
        .is_some_and(|(_, found)| found.is_conditional())
}

fn says_last<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> bool {
    lines
        .into_iter()
        .any(|line| line.starts_with(b"#") && line.windows(COMES_LAST.len()).any(|words| words == COMES_LAST))
}

/// Whether a text ends in the comment after which the stored text comes last.
fn comes_last(text: &[u8]) -> bool {
    says_last(text.rsplit(|byte| *byte == b'\n').skip(1).take_while(|line| line.starts_with(b"#")))
}

#[cfg(test)]
mod tests;
