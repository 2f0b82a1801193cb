//! What a configuration of sshd says, and how two of them differ.

pub mod authorship;
pub mod config_digest;
pub mod files;
pub mod keywords;
pub mod krl;
pub mod revocation;
pub mod structure;
