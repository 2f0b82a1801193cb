//! What a file carries besides contents and permission bits: its owner, SELinux label, access control list and other
//! extended attributes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::{
    fd::AsFd,
    fs::{Gid, Uid, XattrFlags, fchown, fgetxattr, flistxattr, fremovexattr, fsetxattr, fstat},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io};

/// Digests of the contents, which the kernel maintains itself: they would be wrong for other contents.
const OF_CONTENTS: [&str; 2] = ["security.ima", "security.evm"];
const SELINUX: &str = "security.selinux";
/// Linux's XATTR_LIST_MAX and XATTR_SIZE_MAX.
const MAX_BYTES: usize = 64 << 10;

/// Owner and extended attributes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The user it belongs to.
    pub uid: u32,
    /// The group it belongs to.
    pub gid: u32,
    /// Extended attributes by name, in Base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
}

impl Metadata {
    pub(super) fn of(file: impl AsFd) -> io::Result<Self> {
        let found = fstat(&file)?;
        let mut attributes = BTreeMap::new();
        for name in names(&file)? {
            if OF_CONTENTS.contains(&name.as_str()) {
                continue;
            }
            if let Some(value) = value(&file, &name)? {
                attributes.insert(name, STANDARD.encode(value));
            }
        }
        Ok(Self { uid: found.st_uid, gid: found.st_gid, attributes })
    }

    /// Gives a new file this owner and exactly these attributes. The mode has to be set afterwards, since a change of
    /// owner clears bits of it.
    pub(super) fn apply(&self, file: impl AsFd) -> io::Result<()> {
        let found = fstat(&file)?;
        if (found.st_uid, found.st_gid) != (self.uid, self.gid) {
            fchown(&file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        }
        for name in names(&file)? {
            // A label that the kernel set is either replaced below or right; it cannot be removed.
            if !self.attributes.contains_key(&name) && !name.starts_with("security.") {
                fremovexattr(&file, name.as_str())?;
            }
        }
        for (name, encoded) in &self.attributes {
            let wanted = STANDARD.decode(encoded).map_err(io::Error::other)?;
            if value(&file, name)?.as_ref() != Some(&wanted) {
                fsetxattr(&file, name.as_str(), &wanted, XattrFlags::empty())
                    .map_err(|error| io::Error::other(format!("the attribute {name} cannot be kept: {error}")))?;
            }
        }
        Ok(())
    }
}

/// Gives a file that was made in another directory the SELinux type that its final directory would have given it.
/// Without SELinux this does nothing.
pub(super) fn take_label(file: impl AsFd, directory: impl AsFd) -> io::Result<()> {
    match value(directory, SELINUX)? {
        Some(label) => Ok(fsetxattr(file, SELINUX, &label, XattrFlags::empty())?),
        None => Ok(()),
    }
}

fn names(file: impl AsFd) -> io::Result<Vec<String>> {
    let mut list = vec![0; MAX_BYTES];
    let length = match flistxattr(file, &mut list[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    list.truncate(length);
    Ok(list
        .split(|byte| *byte == 0)
        .filter_map(|name| String::from_utf8(name.to_vec()).ok())
        .filter(|name| !name.is_empty())
        .collect())
}

/// The value of an attribute; none if the attribute does not exist, or its file system has no attributes.
fn value(file: impl AsFd, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; MAX_BYTES];
    match fgetxattr(file, name, &mut buffer[..]) {
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
