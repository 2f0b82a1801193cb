//! Files with everything that belongs to them: mode, owner, extended attributes, contents.

use rustix::{
    fs::{FileType, XattrFlags, lgetxattr, llistxattr, setxattr},
    io::Errno,
};
use std::{
    collections::BTreeMap,
    fmt, fs,
    os::unix::{
        ffi::OsStringExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, chown},
    },
    path::{Path, PathBuf},
};

/// A file or a symbolic link.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct FileAttributes {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) attributes: BTreeMap<String, Vec<u8>>,
    /// The contents; for a link, its target.
    pub(crate) bytes: Vec<u8>,
}

impl FileAttributes {
    /// Whether it is a symbolic link.
    pub(crate) fn is_link(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Symlink
    }
}

impl fmt::Debug for FileAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, owner: (user, group), attributes, bytes } = self;
        let text = String::from_utf8_lossy(bytes);
        write!(f, "{mode:o} {user}:{group} {:?} {text:?}", attributes.keys())
    }
}

/// A file as it is.
pub(crate) fn whole(path: &Path) -> FileAttributes {
    let metadata = path.symlink_metadata().unwrap();
    let attributes = names(path).into_iter().map(|name| (name.clone(), value(path, &name))).collect();
    let bytes = if metadata.is_symlink() {
        fs::read_link(path).unwrap().into_os_string().into_vec()
    } else {
        fs::read(path).unwrap()
    };
    FileAttributes { mode: metadata.permissions().mode(), owner: (metadata.uid(), metadata.gid()), attributes, bytes }
}

/// Every file below a directory.
pub(crate) fn wholes(directory: &Path) -> BTreeMap<PathBuf, FileAttributes> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(wholes(&path));
        } else {
            found.insert(path.clone(), whole(&path));
        }
    }
    found
}

/// Gives a file a mode, a group and attributes that no new file would have, among them a label like SELinux's.
pub(crate) fn adorn(path: &Path, mode: u32, group: u32) {
    chown(path, None, Some(group)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (name, value) in [("security.selinux", "system_u:object_r:etc_t:s0\0"), ("trusted.note", "somebody's")] {
        setxattr(path, name, value.as_bytes(), XattrFlags::empty()).unwrap();
    }
}

fn names(path: &Path) -> Vec<String> {
    let mut list = vec![0; 64 << 10];
    let length = match llistxattr(path, &mut list[..]) {
        Err(Errno::NOTSUP) => 0,
        other => other.unwrap(),
    };
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
}

fn value(path: &Path, name: &str) -> Vec<u8> {
    let mut value = vec![0; 64 << 10];
    let length = lgetxattr(path, name, &mut value[..]).unwrap();
    value.truncate(length);
    value
}
