//! The limits on a guest that its runtime enforces. The broker enforces the limits on what a guest asks for.

use crate::broker::limits::exceeded;
use std::time::Duration;
use warded_lib::error::Error;
use wasmtime::ResourceLimiter;

/// Linear memory of all memories of a component together.
pub const MEMORY_BYTES: usize = 64 << 20;
/// Elements of all tables of a component together.
pub const TABLE_ELEMENTS: usize = 100_000;
/// Instances of core modules in one component, including nested ones.
pub const INSTANCES: usize = 64;
/// Tables of all these instances together.
pub const TABLES: usize = 64;
/// Memories of all these instances together.
pub const MEMORIES: usize = 16;
/// Time in guest code, without host calls.
pub const GUEST_TIME: Duration = Duration::from_secs(10);
/// Time in one host call. Exceeding it ends the process: nothing has been changed by then.
pub const HOST_CALL_TIME: Duration = Duration::from_secs(30);
/// Time in all host calls of a run together.
pub const HOST_TIME: Duration = Duration::from_secs(120);
/// Connections that a run may ask sshd about: each takes a process, and its answer is kept.
pub const CONNECTIONS: usize = 100;
/// Bytes that one host call may copy out of a guest.
pub const CALL_BYTES: usize = 4 << 20;
/// Handles that a guest may hold at once.
pub const HANDLES: usize = 1_000;
/// Lines that a guest may print in a run.
pub const LOG_LINES: usize = 1_000;
/// Characters of each text of an error that a guest ends with, or of a trap; the rest is cut.
pub const ERROR_CHARACTERS: usize = 500;
/// Details of such an error that are shown.
pub const ERROR_DETAILS: usize = 20;
/// Queries that a run may make with programs; each is repeated before anything changes.
pub const QUERIES: usize = 32;
/// Programs that a run may queue.
pub const STEPS: usize = 32;
/// Host calls of one run.
pub const CALLS: usize = 10_000;
/// Files that one run may change.
pub const STAGED_FILES: usize = 1_000;
/// Directories that one run may look into: each stays open until the run ends, and a process can usually have 1,024
/// files open.
pub const DIRECTORIES: usize = 256;
/// Bytes that one run may stage in files, including the contents that they replace or remove: both are kept until the
/// run ends.
pub const STAGED_BYTES: usize = 64 << 20;

/// The error for a component that has too many of something to be started; `None` if something else prevents the start.
/// Wasmtime counts these things itself, and reports an excess only as text.
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

/// What the memories and tables of one component use together: wasmtime's own limiter counts each separately.
#[derive(Debug, Default)]
pub(crate) struct ResourceUse {
    memory: usize,
    elements: usize,
}

/// A guest that wants too much is ended: it cannot handle the refusal.
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
