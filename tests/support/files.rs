//! The files below a directory, for comparisons.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// A file as it is: type and permission bits, owner, group, contents.
pub(crate) type Found = (u32, u32, u32, Vec<u8>);

/// Every file below a directory, except those that disappear while it is read.
pub(crate) fn tree(directory: &Path) -> BTreeMap<PathBuf, Found> {
    let mut found = with_directories(directory);
    found.retain(|_, (mode, ..)| *mode & 0o170_000 != 0o040_000);
    found
}

/// The same with its directories.
pub(crate) fn with_directories(directory: &Path) -> BTreeMap<PathBuf, Found> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let Ok(metadata) = path.symlink_metadata() else { continue };
        if metadata.is_dir() {
            found.extend(with_directories(&path));
        }
        let contents = if metadata.is_file() { fs::read(&path) } else { Ok(Vec::new()) };
        let Ok(contents) = contents else { continue };
        found.insert(path, (metadata.permissions().mode(), metadata.uid(), metadata.gid(), contents));
    }
    found
}
