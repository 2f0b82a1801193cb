//! The bounds on a guest that its runtime keeps; those on what it asks for are the broker's.

use crate::broker::limits::exceeded;
use std::time::Duration;
use warded_lib::error::Error;
use wasmtime::ResourceLimiter;

/// Linear memory, all memories of a component together.
pub const MEMORY_BYTES: usize = 64 << 20;
/// Elements of all its tables together.
pub const TABLE_ELEMENTS: usize = 100_000;
/// Instances of core modules in one component, those within it counted.
pub const INSTANCES: usize = 64;
/// Tables of all of them together.
pub const TABLES: usize = 64;
/// Memories of all of them together.
pub const MEMORIES: usize = 16;
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
/// Characters of each text of an error that a guest ends with, or of a trap; the rest is cut.
pub const ERROR_CHARACTERS: usize = 500;
/// Details of such an error that are shown.
pub const ERROR_DETAILS: usize = 20;
/// Queries that a run may ask by programs; each is asked again before anything changes.
pub const QUERIES: usize = 32;
/// Programs that a run may queue.
pub const STEPS: usize = 32;
/// Calls of one run.
pub const CALLS: usize = 10_000;
/// Files that one run may change.
pub const STAGED_FILES: usize = 1_000;
/// Directories that one run may look into: each is kept open until it ends, and a process can usually
/// have 1,024 files open.
pub const DIRECTORIES: usize = 256;
/// Bytes that one run may stage in files, with those that they replace or remove: both are kept
/// until the run ends.
pub const STAGED_BYTES: usize = 64 << 20;

/// A component that has too many of something for it to be started; none where it is something else
/// that keeps it from that. Wasmtime counts these by itself, and reports it in words only.
pub(crate) fn too_many(error: &wasmtime::Error) -> Option<Error> {
    let text = error.root_cause().to_string();
    let (what, _) = text.strip_prefix("resource limit exceeded: ")?.split_once(" count too high at ")?;
    let what = match what {
        "instance" => format!("{INSTANCES} instances of core modules"),
        "table" => format!("{TABLES} tables"),
        "memory" => format!("{MEMORIES} memories"),
        _ => return None,
    };
    Some(exceeded("the procedure", &format!("it wanted more than {what}")))
}

/// What the memories and tables of one component take together: wasmtime's own limiter counts each
/// by itself.
#[derive(Debug, Default)]
pub(crate) struct ResourceUse {
    memory: usize,
    elements: usize,
}

/// A guest that wants too much is ended: there is nothing for it to handle.
impl ResourceLimiter for ResourceUse {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.memory = self.memory.saturating_add(desired.saturating_sub(current));
        if self.memory > MEMORY_BYTES {
            let most = MEMORY_BYTES >> 20;
            return Err(exceeded("the procedure", &format!("it wanted more than {most} MiB of memory")).into());
        }
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.elements = self.elements.saturating_add(desired.saturating_sub(current));
        if self.elements > TABLE_ELEMENTS {
            let what = format!("it wanted tables of more than {TABLE_ELEMENTS} elements");
            return Err(exceeded("the procedure", &what).into());
        }
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}
