//! The audit log: what was asked for, what was allowed, what was done.
//!
//! JSON Lines in `log.jsonl`; each record carries the hash of the one before and of itself, and
//! `head.json` carries the count and the last hash of what is known to be on disk, so that a
//! change anywhere, a missing record, and a cut end all show. After a power cut the head may be an
//! earlier one. It binds everybody but those who
//! can write both files and compute hashes: for them each run tells the head to the system log.

mod chain;
mod end;
mod lock;
mod log;
mod record;
mod syslog;
mod verify;

pub use chain::Head;
pub use log::Log;
pub use record::{Event, Kind, Record};
pub use syslog::Ending;
pub use verify::{Broken, Unreadable, Verified, read, verify};

/// The records, in the log's directory.
const LOG: &str = "log.jsonl";
/// How far the log is known to be on disk.
const HEAD: &str = "head.json";
