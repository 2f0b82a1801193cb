//! What an sshd configuration says, and how two configurations differ.

pub mod authorship;
pub mod config_digest;
pub mod files;
pub mod keywords;
pub mod krl;
pub mod revocation;
pub mod structure;
