//! What the guests' SDK does to sshd's configuration and to lists of revoked keys, over plain bytes.

#[path = "../../../guests/sdk/src/sshd_config/block.rs"]
mod block;
#[path = "../../../guests/sdk/src/sshd_config/include.rs"]
mod include;
// Its tests are in a file that lies elsewhere, seen from here.
#[rustfmt::skip]
#[path = "../../../guests/sdk/src/krl.rs"]
pub mod krl;
#[path = "../../../guests/sdk/src/sshd_config/line.rs"]
mod line;

/// A text with our block in it; none where its marks are broken.
#[must_use]
pub fn with(text: &[u8], lines: &[&str]) -> Option<Vec<u8>> {
    block::with(text, lines).ok()
}

/// A text without our block; none where its marks are broken.
#[must_use]
pub fn without(text: &[u8]) -> Option<Vec<u8>> {
    block::without(text).ok()
}

/// Where the block is; none where there is none or its marks are broken.
#[must_use]
pub fn find(text: &[u8]) -> Option<std::ops::Range<usize>> {
    block::find(text).ok().flatten()
}

/// The keyword of a line.
#[must_use]
pub fn keyword(line: &[u8]) -> Option<String> {
    line::keyword(line)
}

/// The first arguments of a keyword's lines.
#[must_use]
pub fn values(text: &[u8], keyword: &str) -> Vec<String> {
    line::values(text, keyword)
}

/// Whether the main file reads a file outside every `Match`.
#[must_use]
pub fn reads_outside_match(main: &[u8], path: &str) -> bool {
    include::reads_outside_match(main, path)
}
