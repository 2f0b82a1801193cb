//! Every bound on a guest, in one place.

use std::time::Duration;
use wasmtime::{StoreLimits, StoreLimitsBuilder};

/// Linear memory.
pub const MEMORY_BYTES: usize = 64 << 20;
/// Elements of each table.
pub const TABLE_ELEMENTS: usize = 100_000;
/// Time in guest code, host calls not counted.
pub const GUEST_TIME: Duration = Duration::from_secs(10);
/// Time in one host call. What exceeds it ends the process: nothing has been changed by then.
pub const HOST_CALL_TIME: Duration = Duration::from_secs(30);
/// Time in all host calls of a run together.
pub const HOST_TIME: Duration = Duration::from_secs(120);
/// Connections for which a run may ask sshd: each is a process, and its answer is remembered.
pub const CONNECTIONS: usize = 100;
/// Bytes that one host call may copy out of a guest.
pub const CALL_BYTES: usize = 4 << 20;
/// Handles that a guest may hold at once.
pub const HANDLES: usize = 1_000;
/// Lines that a guest may say in a run.
pub const LOG_LINES: usize = 1_000;
/// Calls of one run. Each is on record, so this bounds the record too.
pub const CALLS: usize = 10_000;
/// Files that one run may change.
pub const STAGED_FILES: usize = 1_000;
/// Bytes that one run may stage in files.
pub const STAGED_BYTES: usize = 64 << 20;

/// The bounds that wasmtime keeps.
pub(crate) fn store() -> StoreLimits {
    StoreLimitsBuilder::new()
        .memory_size(MEMORY_BYTES)
        .table_elements(TABLE_ELEMENTS)
        .instances(64)
        .memories(16)
        .tables(64)
        .trap_on_grow_failure(true)
        .build()
}
