//! The grammar of sshd's configuration, known_hosts, lists of CA keys, of principals and of revoked keys, as OpenSSH's own
//! source reads them. Every function is pure: it decides over bytes, and opens no file.
//!
//! The guests' SDK edits files with this crate, the host judges those edits with it, and the fuzz targets compare it
//! with a second, simpler reader.

pub mod block;
pub mod glob;
pub mod include;
pub mod known_hosts;
pub mod krl;
pub mod line;
pub mod principals;
pub mod trusted_keys;
