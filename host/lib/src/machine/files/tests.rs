//! Tests of which paths lead where, and which are refused.

use super::*;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

struct Tree {
    root: Root,
    at: PathBuf,
    _scratch: tempfile::TempDir,
}

impl Tree {
    fn new(base: &str) -> Self {
        let scratch = tempfile::tempdir_in(base).unwrap();
        let at = scratch.path().canonicalize().unwrap();
        for directory in ["a/b", "other"] {
            fs::create_dir_all(at.join(directory)).unwrap();
        }
        for file in ["a/b/file", "other/file", "file"] {
            fs::write(at.join(file), file).unwrap();
        }
        Self { root: Root::ambient().unwrap(), at, _scratch: scratch }
    }

    fn everywhere(test: impl Fn(&Self)) {
        ["/tmp", "/dev/shm"].map(Self::new).iter().for_each(test);
    }

    fn link(&self, target: impl AsRef<Path>, at: &str) {
        symlink(target, self.at.join(at)).unwrap();
    }

    fn path(&self, name: &str) -> AbsolutePath {
        self.at.join(name).to_str().unwrap().parse().unwrap()
    }

    /// The place that a path leads to and the contents there, or why it is refused. The last `wild` segments match
    /// wildcards.
    fn look(&self, name: &str, wild: usize) -> String {
        let path = self.path(name);
        let literal = path.segments().count() - wild;
        let place = match self.root.place(&path, literal) {
            Ok(Some(place)) => place,
            Ok(None) => return "no directory".to_owned(),
            Err(error) => return error.kind.code().to_owned(),
        };
        let resolved = place.resolved().strip_prefix(&self.at).unwrap().to_str().unwrap().to_owned();
        match place.snapshot() {
            Ok(None) => format!("{resolved} absent"),
            Ok(Some(found)) => format!("{resolved}={}", String::from_utf8_lossy(&found.contents)),
            Err(error) => error.kind.code().to_owned(),
        }
    }
}

#[test]
fn literal_paths_follow_links_anywhere() {
    Tree::everywhere(|tree| {
        tree.link("b", "a/relative");
        tree.link(tree.at.join("other"), "a/absolute");
        tree.link("../a/../other/", "other/roundabout");
        tree.link("../file", "other/up");
        tree.link("../../../../../../../../..", "a/top");
        tree.link("loop", "loop");
        tree.link("absent", "dangling");
        tree.link("no/such", "nowhere");
        tree.link("a/b/", "slash");
        tree.link("file/", "file-slash");
        tree.link(".", "dot");
        let top = format!("a/top{}", tree.at.join("file").display());
        for (name, seen) in [
            ("file", "file=file"),
            ("a/b/file", "a/b/file=a/b/file"),
            ("a/b/absent", "a/b/absent absent"),
            ("a/no/file", "no directory"),
            ("file/x", "not-a-file"),
            ("a/b", "not-a-file"),
            ("a/relative/file", "a/b/file=a/b/file"),
            ("a/absolute/file", "other/file=other/file"),
            ("other/roundabout/file", "other/file=other/file"),
            ("other/up", "file=file"),
            (&top, "file=file"),
            ("loop", "untrusted-path"),
            ("loop/x", "untrusted-path"),
            ("dangling", "absent absent"),
            ("dangling/x", "no directory"),
            ("nowhere", "no directory"),
            ("slash/file", "a/b/file=a/b/file"),
            ("slash", "not-a-file"),
            ("file-slash", "not-a-file"),
            ("dot/dot/file", "file=file"),
            ("dot", "not-a-file"),
        ] {
            assert_eq!(tree.look(name, 0), seen, "{name}");
        }
    });
}

#[test]
fn below_a_wildcard_no_link_is_followed() {
    Tree::everywhere(|tree| {
        tree.link("b", "a/relative");
        tree.link(tree.at.join("a/b"), "a/absolute");
        tree.link("../other", "a/out");
        tree.link("../a/b", "a/out-and-in");
        tree.link("file", "a/b/link");
        tree.link("loop", "a/loop");
        tree.link("b", "a/deep");
        for (name, wild, seen) in [
            ("a/b/file", 2, "a/b/file=a/b/file"),
            ("a/b/file", 1, "a/b/file=a/b/file"),
            ("a/b/absent", 2, "a/b/absent absent"),
            ("a/no/file", 2, "no directory"),
            ("a/relative/file", 2, "untrusted-path"),
            ("a/relative/file", 1, "a/b/file=a/b/file"),
            ("a/relative/no/file", 3, "untrusted-path"),
            ("a/absolute/file", 2, "untrusted-path"),
            ("a/out/file", 2, "untrusted-path"),
            ("a/out-and-in/file", 2, "untrusted-path"),
            ("a/loop/file", 2, "untrusted-path"),
            ("a/deep/file", 3, "untrusted-path"),
            ("a/b/file/x", 3, "not-a-file"),
            ("a/b/link", 1, "untrusted-path"),
            ("a/b/link", 2, "untrusted-path"),
            ("a/b/link", 0, "a/b/file=a/b/file"),
            ("a/out/file", 1, "other/file=other/file"),
            ("a/b", 1, "not-a-file"),
        ] {
            assert_eq!(tree.look(name, wild), seen, "{name} {wild}");
        }
    });
}

#[test]
fn nobody_else_may_have_a_hand_in_it() {
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    Tree::everywhere(|tree| {
        for (mode, seen) in [
            (0o777, "untrusted-path"),
            (0o757, "untrusted-path"),
            (0o1777, "a/b/file=a/b/file"),
            (0o755, "a/b/file=a/b/file"),
        ] {
            set(&tree.at.join("a"), mode);
            assert_eq!(tree.look("a/b/file", 0), seen, "{mode:o}");
            assert_eq!(tree.look("a/b/file", 1), seen, "{mode:o}");
        }
        if !rustix::process::geteuid().is_root() {
            return;
        }
        // root's own group adds no other user; an administrators' group does.
        for (group, seen) in [(0, "a/b/file=a/b/file"), (65534, "untrusted-path")] {
            chown(tree.at.join("a"), None, Some(group)).unwrap();
            set(&tree.at.join("a"), 0o775);
            assert_eq!(tree.look("a/b/file", 0), seen, "group {group}");
        }
        chown(tree.at.join("a"), None, Some(0)).unwrap();
        set(&tree.at.join("a"), 0o755);
        // In a sticky directory only entries that we own count: directory, link or file.
        set(&tree.at.join("a"), 0o1777);
        tree.link("b", "a/link");
        fs::write(tree.at.join("a/file"), "a/file").unwrap();
        for (name, path) in [("a/b", "a/b/file"), ("a/link", "a/link/file"), ("a/file", "a/file")] {
            assert!(tree.look(path, 0).ends_with("file"), "{path}");
            std::os::unix::fs::lchown(tree.at.join(name), Some(1234), None).unwrap();
            assert_eq!(tree.look(path, 0), "untrusted-path", "{path}");
            std::os::unix::fs::lchown(tree.at.join(name), Some(0), None).unwrap();
        }
        // Another user's link or directory is refused anywhere.
        set(&tree.at.join("a"), 0o755);
        std::os::unix::fs::lchown(tree.at.join("a/link"), Some(1234), None).unwrap();
        assert_eq!(tree.look("a/link/file", 0), "untrusted-path");
        chown(tree.at.join("a/b"), Some(1234), None).unwrap();
        assert_eq!(tree.look("a/b/file", 0), "untrusted-path");
        assert_eq!(tree.look("a/b/file", 1), "untrusted-path");
        // Below a wildcard other users may own directories; so no link is followed.
        assert_eq!(tree.look("a/b/file", 2), "a/b/file=a/b/file");
        tree.link("../other", "a/b/link");
        assert_eq!(tree.look("a/b/link/file", 3), "untrusted-path");
    });
}

#[test]
fn only_regular_files_with_one_name() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    Tree::everywhere(|tree| {
        fs::hard_link(tree.at.join("file"), tree.at.join("second")).unwrap();
        mknodat(CWD, tree.at.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(tree.at.join("socket")).unwrap();
        fs::write(tree.at.join("large"), vec![b'x'; usize::try_from(MAX_BYTES).unwrap() + 1]).unwrap();
        fs::write(tree.at.join("full"), vec![b'x'; usize::try_from(MAX_BYTES).unwrap()]).unwrap();
        for name in ["file", "second", "fifo", "socket"] {
            assert_eq!(tree.look(name, 0), "not-a-file", "{name}");
        }
        assert_eq!(tree.look("large", 0), "too-large");
        assert!(tree.look("full", 0).starts_with("full=x"));
    });
    let tree = Tree::new("/tmp");
    let null = tree.root.place(&"/dev/null".parse().unwrap(), 2).unwrap().unwrap();
    assert_eq!(null.snapshot().unwrap_err().kind, FileErrorKind::NotAFile);
    // A magic link of /proc is followed by its text, not as the kernel would follow it.
    let through = tree.root.place(&format!("/proc/self/root{}/file", tree.at.display()).parse().unwrap(), 99);
    assert_eq!(through.unwrap().unwrap().resolved(), tree.at.join("file"));
}

#[test]
fn a_directory_that_is_swapped_stays_the_one_that_was_opened() {
    Tree::everywhere(|tree| {
        let place = tree.root.place(&tree.path("a/b/file"), 99).unwrap().unwrap();
        fs::rename(tree.at.join("a/b"), tree.at.join("a/moved")).unwrap();
        tree.link("../other", "a/b");
        assert_eq!(place.snapshot().unwrap().unwrap().contents.as_slice(), b"a/b/file");
        let again = tree.root.find(&place.whereabouts(), place.name()).unwrap().unwrap();
        assert_ne!(again.key(), place.key());
    });
}

#[test]
fn odd_names_in_links_are_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let tree = Tree::new("/tmp");
    for (index, name) in [b"\xff".as_slice(), b"new\nline", b"\x1b[2J", "\u{202e}".as_bytes()].into_iter().enumerate() {
        let target = std::ffi::OsStr::from_bytes(name);
        fs::create_dir(tree.at.join(target)).unwrap();
        tree.link(target, &format!("odd{index}"));
        assert_eq!(tree.look(&format!("odd{index}/x"), 0), "invalid-path");
        assert_eq!(tree.look(&format!("odd{index}/x"), 2), "untrusted-path");
    }
    let error = tree.root.place(&tree.path("odd2/x"), 99).unwrap_err();
    assert!(!error.message.contains('\x1b'));
}

#[test]
fn names_are_listed_in_order() {
    let tree = Tree::new("/dev/shm");
    fs::write(tree.at.join("a/z"), "").unwrap();
    let place = tree.root.place(&tree.path("a/x"), 99).unwrap().unwrap();
    assert_eq!(place.list().unwrap(), ["b", "z"]);
    assert_eq!(place.sibling("z").key().inode, place.key().inode);
    assert!(place.key() != place.sibling("z").key() && place.sibling("z").snapshot().unwrap().is_some());
}

#[test]
fn places_share_a_directory_only_where_it_is_the_same() {
    let tree = Tree::new("/dev/shm");
    tree.link("b", "a/link");
    let place = |name: &str, wild: usize| {
        let path = tree.path(name);
        tree.root.place(&path, path.segments().count() - wild).unwrap().unwrap()
    };
    let file = place("a/b/file", 0);
    for (name, wild, shares) in [
        ("a/b/other", 0, true),
        ("a/link/other", 0, true),
        ("a/b/other", 1, true),
        // Found again by another path: only a part of the path is trusted.
        ("a/b/other", 2, false),
        ("a/other", 0, false),
        ("other/file", 0, false),
    ] {
        let other = place(name, wild);
        let shared = other.by_way_of(&file);
        assert_eq!(shared.is_some(), shares, "{name} {wild}");
        if let Some(shared) = shared {
            assert!(Arc::ptr_eq(&shared.directory, &file.directory), "{name} {wild}");
            assert_eq!((shared.key(), shared.whereabouts()), (other.key(), other.whereabouts()));
        }
    }
}

#[test]
fn every_kind_of_failure_is_told_as_what_it_is() {
    let refused = Error::from(FileError::untrusted("/x\n", "why"));
    assert_eq!((refused.exit(), refused.message()), (crate::error::Exit::Refused, "/x\\n: why"));
    assert_eq!(Error::from(FileError::io("/x", io::Error::other("no"))).exit(), crate::error::Exit::Failed);
}
