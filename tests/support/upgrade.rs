//! Replaces a machine's OpenSSH by that of another Debian release, as a package manager does.

use super::peer::tree;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// Replaces OpenSSH and the libraries that it needs below `root` by those of this release. Each file is replaced
/// atomically; running programs keep the old ones. `None` if there is no tree of this release and the test is skipped.
pub(crate) fn openssh(suite: &str, root: &Path) -> Option<()> {
    let tree = tree(suite)?;
    let libraries = below(&tree.join("usr/lib"), |name| name.ends_with("-linux-gnu")).pop().unwrap();
    let openssh = |name: &str| name.starts_with("ssh");
    let mut files = below(&libraries, |name| name.contains(".so"));
    files.extend(below(&tree.join("usr/lib/openssh"), openssh));
    files.extend(below(&tree.join("usr/bin"), openssh));
    files.extend(below(&tree.join("usr/sbin"), openssh));
    let new: Vec<_> = files.iter().map(|file| copied(file, &root.join(file.strip_prefix(&tree).unwrap()))).collect();
    assert!(new.len() > 20, "{new:?}");
    for (new, file) in new {
        fs::rename(new, file).unwrap();
    }
    Some(())
}

fn below(directory: &Path, is_one: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let named = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    named.filter(|path| is_one(path.file_name().unwrap().to_str().unwrap())).collect()
}

/// Copies a file or a link next to its destination; returns the path of the copy and the destination.
fn copied(from: &Path, to: &Path) -> (PathBuf, PathBuf) {
    let mut new = to.as_os_str().to_owned();
    new.push(".new");
    match fs::read_link(from) {
        Ok(target) => symlink(target, &new).unwrap(),
        Err(_) => drop(fs::copy(from, &new).unwrap()),
    }
    (new.into(), to.to_owned())
}
