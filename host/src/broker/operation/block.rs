//! Warded's marked block in sshd's main configuration file: nothing else of that file may change.

pub use sshd_config::block::{BEGIN, END};

/// The lines outside the block; none where the marks are not one pair at most.
#[must_use]
pub fn outside(contents: &[u8]) -> Option<Vec<&[u8]>> {
    sshd_config::block::outside(contents).ok()
}
