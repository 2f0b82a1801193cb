//! What this process has in memory — keys, for a moment — is never written to a core file, and no
//! other process of the same user may read it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Sees to it, for this process and for the size of the core files of those that it starts. Where the
/// kernel does not let us there is nothing better to do.
pub fn forbid() {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap_or_default();
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).unwrap_or_default();
}
