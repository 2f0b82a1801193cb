//! Files whose directories still have to be made.

use super::{FileError, Place, Root, Whereabouts};
use crate::machine::path::AbsolutePath;
use rustix::{
    fs::{AtFlags, Mode, chmodat, fsync, mkdirat, statat, unlinkat},
    io::Errno,
};
use std::{io, sync::Arc};

/// The permission bits of directories that Warded makes.
const MODE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP).union(Mode::ROTH).union(Mode::XOTH);

impl Root {
    /// Like [`Root::place`], but directories that the grant wrote out may be missing. Until they are made, every
    /// operation on the place finds nothing there.
    ///
    /// # Errors
    /// As [`Root::place`].
    pub fn place_to_be(&self, path: &AbsolutePath, literal: usize) -> Result<Option<Place>, FileError> {
        if let Some(place) = self.place(path, literal)? {
            return Ok(Some(place));
        }
        let segments: Vec<&str> = path.segments().collect();
        match segments.split_last() {
            Some((name, directories)) if literal >= directories.len() => self.missing(directories, name),
            Some(_) | None => Ok(None),
        }
    }

    /// Like [`Root::find`], but directories may be missing, as in [`Root::place_to_be`].
    ///
    /// # Errors
    /// As [`Root::place`].
    pub fn find_to_be(&self, at: &Whereabouts, name: &str) -> Result<Option<Place>, FileError> {
        if let Some(place) = self.find(at, name)? {
            return Ok(Some(place));
        }
        let directories: Vec<&str> = at.directory.split('/').filter(|segment| !segment.is_empty()).collect();
        if at.trusted < directories.len() { Ok(None) } else { self.missing(&directories, name) }
    }

    fn missing(&self, directories: &[&str], name: &str) -> Result<Option<Place>, FileError> {
        for length in (0..directories.len()).rev() {
            let (there, missing) = directories.split_at(length);
            let Some(base) = self.directory(there)? else { continue };
            // A dangling link is not a missing directory.
            let is_free = missing.first().is_some_and(|first| {
                statat(&base.handle, *first, AtFlags::SYMLINK_NOFOLLOW).is_err_and(|error| error == Errno::NOENT)
            });
            let missing = missing.iter().map(|segment| (*segment).to_owned()).collect();
            return Ok(is_free.then(|| Place { directory: Arc::new(base), missing, name: name.to_owned() }));
        }
        Ok(None)
    }
}

impl Place {
    /// Whether its directory still has to be made.
    #[must_use]
    pub fn is_to_be(&self) -> bool {
        !self.missing.is_empty()
    }

    /// The directories that have to be made for it, each with the place of its parent, in order.
    pub(crate) fn directories_to_make(&self) -> impl Iterator<Item = (Whereabouts, &str)> {
        self.missing.iter().enumerate().map(|(depth, name)| {
            let above = Self {
                directory: Arc::clone(&self.directory),
                missing: self.missing.iter().take(depth).cloned().collect(),
                name: name.clone(),
            };
            (above.whereabouts(), name.as_str())
        })
    }

    /// Makes a directory (0755) where nothing may exist.
    pub(crate) fn make_directory(&self) -> io::Result<()> {
        mkdirat(self.dir(), self.name(), MODE)?;
        // This mode, whatever the umask.
        chmodat(self.dir(), self.name(), MODE, AtFlags::empty())?;
        Ok(fsync(self.dir())?)
    }

    /// Removes this directory if it is empty. False: it is not.
    pub(crate) fn remove_directory(&self) -> io::Result<bool> {
        match unlinkat(self.dir(), self.name(), AtFlags::REMOVEDIR) {
            Ok(()) => Ok(fsync(self.dir()).map(|()| true)?),
            Err(Errno::NOENT) => Ok(true),
            // A file or a link is not Warded's to remove.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::PathBuf,
    };

    struct Tree {
        _scratch: tempfile::TempDir,
        base: PathBuf,
        root: Root,
    }

    impl Tree {
        fn new() -> Self {
            let scratch = tempfile::tempdir().unwrap();
            let base = scratch.path().canonicalize().unwrap();
            Self { _scratch: scratch, base, root: Root::ambient().unwrap() }
        }

        fn place(&self, name: &str, literal: usize) -> Result<Option<Place>, FileError> {
            self.root.place_to_be(&self.base.join(name).as_path().try_into().unwrap(), literal)
        }
    }

    #[test]
    fn a_place_without_its_directory() {
        let tree = Tree::new();
        let place = tree.place("a/b/file", usize::MAX).unwrap().unwrap();
        assert_eq!(place.resolved(), tree.base.join("a/b/file"));
        assert!(place.is_to_be() && place.snapshot().unwrap().is_none() && place.list().unwrap().is_empty());
        let other = place.sibling("other");
        assert!(place.key().is_beside(&other.key()) && place.key() != other.key());
        assert!(!place.key().is_beside(&tree.place("file", usize::MAX).unwrap().unwrap().key()));
        assert!(!place.key().is_beside(&tree.place("a/file", usize::MAX).unwrap().unwrap().key()));
        let again = tree.root.find_to_be(&place.whereabouts(), "file").unwrap().unwrap();
        assert_eq!(again.key(), place.key());
        for (at, name) in place.directories_to_make() {
            tree.root.find(&at, name).unwrap().unwrap().make_directory().unwrap();
        }
        assert_eq!(fs::metadata(tree.base.join("a/b")).unwrap().permissions().mode() & 0o7777, 0o755);
        let made = tree.root.find_to_be(&place.whereabouts(), "file").unwrap().unwrap();
        assert!(!made.is_to_be() && made.resolved() == place.resolved());
        let above = tree.place("a", usize::MAX).unwrap().unwrap();
        assert!(!above.remove_directory().unwrap());
        assert!(tree.place("a/b", usize::MAX).unwrap().unwrap().remove_directory().unwrap());
        assert!(above.remove_directory().unwrap() && above.remove_directory().unwrap());
    }

    #[test]
    fn what_is_no_missing_directory() {
        let tree = Tree::new();
        symlink("nowhere", tree.base.join("link")).unwrap();
        fs::write(tree.base.join("file"), "").unwrap();
        let depth = tree.base.components().count() - 1;
        for (name, literal, there) in [
            ("a/b/x", usize::MAX, true),
            ("a/b/x", depth + 2, true),
            ("a/b/x", depth + 1, false),
            ("x", depth, true),
            ("link/x", usize::MAX, false),
            ("link/a/x", usize::MAX, false),
            ("file/x", usize::MAX, false),
        ] {
            assert_eq!(tree.place(name, literal).is_ok_and(|place| place.is_some()), there, "{name} {literal}");
        }
    }
}
