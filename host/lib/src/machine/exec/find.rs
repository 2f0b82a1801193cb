//! Where the programs of a system are.

use super::{LIBEXEC, PATH};
use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// The program of this name in the system's own directories.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    find_below(Path::new("/"), program)
}

/// The same with another directory as `/`.
#[must_use]
pub fn find_below(root: &Path, program: &str) -> Option<PathBuf> {
    if program.is_empty() || program.contains('/') {
        return None;
    }
    let directories = PATH.split(':').chain([LIBEXEC]).map(|directory| root.join(directory.trim_start_matches('/')));
    directories.map(|directory| directory.join(program)).find(|path| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}
