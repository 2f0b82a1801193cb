//! The memory of this process holds keys for a moment. It is never written to a core file, and no other process of the
//! same user may read it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core dumps of this process, and limits core files of the programs that it starts to size 0. If the kernel
/// refuses, nothing better can be done.
pub fn forbid() {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap_or_default();
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).unwrap_or_default();
}
