//! The audit log: what was asked for, what was allowed, what was done.
//!
//! JSON Lines in `log.jsonl`; each record carries the hash of the one before and of itself, and
//! `head.json` carries the count and the last hash of what is known to be on disk, so that a
//! change anywhere, a missing record, and a cut end all show. After a power cut the head may be an
//! earlier one. It binds everybody but those who
//! can write both files and compute hashes: for them each run sends the head to the system log.
//!
//! A file that has become large is closed: it ends with a record `rotated` and becomes `log.N.jsonl`, and the chain goes
//! on with `continued` in a new `log.jsonl`. `checkpoint.json` says how far the chain was checked.

mod backwards;
mod chain;
mod checkpoint;
mod end;
mod files;
mod lock;
mod log;
mod read;
mod record;
mod syslog;
mod verify;

pub use chain::Head;
pub use log::Log;
pub use read::{Records, UnreadableLine, newest, read};
pub use record::{Event, Kind, Record};
pub use syslog::{Ending, Urgency};
pub use verify::{ChainBreak, VerifiedLog, verify, verify_all};

/// The records, in the log's directory.
const LOG: &str = "log.jsonl";
/// How far the chain was checked.
const CHECKPOINT: &str = "checkpoint.json";
/// How far the log is known to be on disk.
const HEAD: &str = "head.json";
