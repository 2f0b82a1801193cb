//! The audit log: what a procedure requested, what the policy allowed, and what Warded did.
//!
//! `log.jsonl` holds JSON Lines. Each record carries the hash of the record before and its own hash, and `head.json`
//! carries the count and the last hash of the records that are known to be on disk. So a changed record, a missing
//! record and a truncated end all show. After a power cut the head on disk may be an older one. Whoever can write both
//! files and compute hashes can still forge the log: against them each run sends the head to the system log.
//!
//! A file that has become large is closed: it ends with a record `rotated` and is renamed to `log.N.jsonl`, and the
//! chain continues in a new `log.jsonl`, whose first record is `continued`. `checkpoint.json` says how far the chain
//! was verified.

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

/// The file with the newest records, in the log's directory.
const LOG: &str = "log.jsonl";
/// How far the chain was verified.
const CHECKPOINT: &str = "checkpoint.json";
/// How far the log is known to be on disk.
const HEAD: &str = "head.json";
