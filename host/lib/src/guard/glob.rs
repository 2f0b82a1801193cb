//! The patterns of `Include`: the crate `sshd-config` matches them as sshd does.

pub use sshd_config::glob::{is_pattern, matches};
