//! Whether sshd's configuration is still the one that the run read: a reload puts into effect whatever is there by
//! then, whichever program wrote it.

use crate::{
    digest::Digest,
    error::Result,
    machine::sshd::tree::{Overlay, StagedFiles, Tree},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The files of a configuration, each with the digest of its contents.
pub type Digests = BTreeMap<PathBuf, Digest>;

/// The digests of a configuration that was read.
#[must_use]
pub fn digests(tree: &Tree) -> Digests {
    tree.files.iter().map(|file| (file.path.clone(), Digest::of(&file.contents))).collect()
}

/// The digests of the configuration as it is on disk now.
///
/// # Errors
/// As [`Tree::read`].
pub fn now(config: &Path) -> Result<Digests> {
    Ok(digests(&Tree::read(config, Overlay(&StagedFiles::new()))?))
}

/// The files of the configuration as it is on disk now, with their contents.
///
/// # Errors
/// As [`Tree::read`].
pub fn contents(config: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let tree = Tree::read(config, Overlay(&StagedFiles::new()))?;
    Ok(tree.files.into_iter().map(|file| (file.path, file.contents)).collect())
}

/// The first file that differs between the two, or that only one of them has.
#[must_use]
pub fn difference<'a>(one: &'a Digests, other: &'a Digests) -> Option<&'a Path> {
    one.keys().chain(other.keys()).find(|path| one.get(*path) != other.get(*path)).map(PathBuf::as_path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_change_an_addition_and_a_removal_are_seen() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path().canonicalize().unwrap();
        let main = at.join("main.conf");
        fs::write(&main, format!("Include {}/*.d\n", at.display())).unwrap();
        fs::write(at.join("a.d"), "LoginGraceTime 1\n").unwrap();
        let before = now(&main).unwrap();
        let read = contents(&main).unwrap();
        let paths: Vec<&Path> = read.iter().map(|(path, _)| path.as_path()).collect();
        assert_eq!(paths, [&main, &at.join("a.d")]);
        assert_eq!(read[1].1, b"LoginGraceTime 1\n");
        assert_eq!(difference(&before, &now(&main).unwrap()), None);
        fs::write(at.join("unrelated"), "").unwrap();
        assert_eq!(difference(&before, &now(&main).unwrap()), None);
        for (name, contents) in [("a.d", Some("LoginGraceTime 2\n")), ("b.d", Some("")), ("a.d", None)] {
            let path = at.join(name);
            let kept = fs::read(&path).ok();
            match contents {
                Some(contents) => fs::write(&path, contents).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let after = now(&main).unwrap();
            assert_eq!(difference(&before, &after), Some(path.as_path()), "{name} {contents:?}");
            assert_eq!(difference(&after, &before), Some(path.as_path()), "{name} {contents:?}");
            match kept {
                Some(kept) => fs::write(&path, kept).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
        }
        assert!(now(&at.join("none")).is_err() && contents(&at.join("none")).is_err());
    }
}
