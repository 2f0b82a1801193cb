//! Follows a path that its author wrote out, link by link, as long as only root and we could have made the links. Not
//! for paths of which a guest may choose a part: those stay below a directory.

use super::{Directory, FileError, group::who_else_can_write};
use crate::{
    machine::ownership::{chmod_unwritable, chown, elsewhere, is_ours},
    text::{self, shell_word},
};
use cap_std::fs::Dir;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat},
    io::Errno,
};
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

/// The number of links that Linux follows.
const MAX_LINKS: u8 = 40;
const STICKY: u32 = 0o1000;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// What the last segment of a path names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LastSegment {
    /// A file, which need not exist; a link is followed.
    File,
    Directory,
}

/// Where a walk ended.
pub(super) struct WalkEnd {
    pub(super) directory: Directory,
    /// Empty after [`LastSegment::Directory`].
    pub(super) name: String,
}

struct Step {
    handle: OwnedFd,
    found: Stat,
    name: String,
}

struct Walk {
    /// The directories from `/` down to here; `..` leads back to the previous one.
    steps: Vec<Step>,
    pending: VecDeque<String>,
    links: u8,
    owners: Owners,
}

/// The users whose directories, links and files are accepted.
#[derive(Clone, Copy)]
pub(super) enum Owners {
    /// Root and we.
    Ours,
    /// Root, we, and this user.
    And(u32),
}

impl Owners {
    pub(super) fn has(self, found: &Stat) -> bool {
        is_ours(found.st_uid) || matches!(self, Self::And(user) if user == found.st_uid)
    }
}

/// Walks down from `/`; none if a directory on the way does not exist.
pub(super) fn walk(slash: &Dir, segments: Vec<&str>, last: LastSegment) -> Result<Option<WalkEnd>, FileError> {
    walk_of(slash, segments, last, Owners::Ours)
}

/// The same with a choice of accepted owners.
pub(super) fn walk_of(
    slash: &Dir,
    segments: Vec<&str>,
    last: LastSegment,
    owners: Owners,
) -> Result<Option<WalkEnd>, FileError> {
    let handle = openat(slash, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| FileError::io("/", error))?;
    let pending = segments.into_iter().map(str::to_owned).collect();
    let mut walk = Walk { steps: Vec::new(), pending, links: 0, owners };
    walk.enter(handle, String::new())?;
    while let Some(segment) = walk.pending.pop_front() {
        match segment.as_str() {
            "." | "" => continue,
            ".." => {
                walk.up();
                continue;
            }
            _ => {}
        }
        let is_file = last == LastSegment::File && walk.pending.is_empty();
        let shown = walk.path().join(&segment);
        let here = walk.here()?;
        let found = match statat(&here.handle, segment.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) if is_file => return walk.end(segment).map(Some),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(FileError::io(&shown, error)),
        };
        if here.found.st_mode & STICKY != 0 && here.found.st_mode & WRITABLE_BY_OTHERS != 0 && !owners.has(&found) {
            let next = elsewhere();
            let why = "it belongs to another user, in a directory that everybody can write";
            return Err(FileError::untrusted(&shown, why).with_next(next));
        }
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Symlink => walk.follow(&segment, &found)?,
            FileType::Directory if !is_file => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let handle = openat(&here.handle, segment.as_str(), flags, Mode::empty())
                    .map_err(|error| FileError::io(&shown, error))?;
                walk.enter(handle, segment)?;
            }
            FileType::RegularFile
            | FileType::Directory
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => {
                // The caller decides what type the file may have; only a directory would let the walk continue.
                return if is_file {
                    walk.end(segment).map(Some)
                } else {
                    Err(FileError::not_a_file(&shown, "not a directory"))
                };
            }
        }
    }
    match last {
        LastSegment::File => Err(FileError::not_a_file(walk.path(), "a directory")),
        LastSegment::Directory => walk.end(String::new()).map(Some),
    }
}

impl Walk {
    fn path(&self) -> PathBuf {
        let mut path = PathBuf::from("/");
        path.extend(self.steps.iter().map(|step| step.name.as_str()).filter(|name| !name.is_empty()));
        path
    }

    fn here(&self) -> Result<&Step, FileError> {
        self.steps.last().ok_or_else(|| FileError::untrusted("/", "not open"))
    }

    fn up(&mut self) {
        if self.steps.len() > 1 {
            self.steps.pop();
        }
    }

    /// Enters a directory, if only root and we can change its entries.
    fn enter(&mut self, handle: OwnedFd, name: String) -> Result<(), FileError> {
        let path = self.path().join(&name);
        let found = fstat(&handle).map_err(|error| FileError::io(&path, error))?;
        if !self.owners.has(&found) {
            let next = elsewhere();
            return Err(FileError::untrusted(path, "this directory belongs to another user").with_next(next));
        }
        if found.st_mode & STICKY == 0
            && let Some(who) = who_else_can_write(found.st_mode, found.st_uid, found.st_gid)
        {
            return Err(writable(&path, &who, "this directory", found.st_mode));
        }
        self.steps.push(Step { handle, found, name });
        Ok(())
    }

    fn follow(&mut self, segment: &str, found: &Stat) -> Result<(), FileError> {
        let shown = self.path().join(segment);
        if !self.owners.has(found) {
            let next = elsewhere();
            return Err(FileError::untrusted(shown, "this link belongs to another user").with_next(next));
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            let next = format!("see where they lead: namei -l {}", shell_word(&shown.to_string_lossy()));
            return Err(FileError::untrusted(shown, "too many links").with_next(next));
        }
        let target = readlinkat(&self.here()?.handle, segment, Vec::new()).map_err(|e| FileError::io(&shown, e))?;
        let target = target.into_string().map_err(|_| FileError::invalid(&shown, "the link's target is not UTF-8"))?;
        if !text::is_neutral(&target) {
            return Err(FileError::invalid(shown, "the link's target has a character that hides text"));
        }
        if target.starts_with('/') {
            self.steps.truncate(1);
        }
        // A final slash says that the target is a directory, as `.` does.
        let end = target.ends_with('/').then(|| ".".to_owned());
        let segments = target.split('/').filter(|part| !part.is_empty()).map(str::to_owned).chain(end);
        for (index, part) in segments.enumerate() {
            self.pending.insert(index, part);
        }
        Ok(())
    }

    fn end(&self, name: String) -> Result<WalkEnd, FileError> {
        let trusted = self.steps.len().saturating_sub(1);
        let directory = Directory::open(&self.here()?.handle, self.path(), trusted)?;
        Ok(WalkEnd { directory, name })
    }
}

/// Checks that only root and we can change a file.
pub(super) fn refuse_foreign(directory: &Dir, name: &str, shown: &Path) -> Result<(), FileError> {
    let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| FileError::io(shown, error))?;
    refuse_foreign_file(&found, shown)
}

/// The same for a file whose status is known.
pub(super) fn refuse_foreign_file(found: &Stat, shown: &Path) -> Result<(), FileError> {
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(FileError::not_a_file(shown, "not a regular file"));
    }
    if !is_ours(found.st_uid) {
        return Err(FileError::untrusted(shown, "it belongs to another user").with_next(chown(shown)));
    }
    if let Some(who) = who_else_can_write(found.st_mode, found.st_uid, found.st_gid) {
        return Err(writable(shown, &who, "it", found.st_mode));
    }
    Ok(())
}

/// Checks that only these users can change what is there, a file or a pipe.
pub(super) fn refuse_writable(directory: &Dir, name: &str, shown: &Path, owners: Owners) -> Result<(), FileError> {
    let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| FileError::io(shown, error))?;
    if !owners.has(&found) {
        return Err(FileError::untrusted(shown, "it belongs to another user").with_next(chown(shown)));
    }
    if let Some(who) = who_else_can_write(found.st_mode, found.st_uid, found.st_gid) {
        return Err(writable(shown, &who, "it", found.st_mode));
    }
    Ok(())
}

/// The refusal, with the command that takes the write permission from others.
fn writable(path: &Path, who: &str, what: &str, mode: u32) -> FileError {
    FileError::untrusted(path, format_args!("{who} can write {what}")).with_next(chmod_unwritable(path, mode))
}

/// Whether this name is a link.
pub(super) fn is_link(directory: impl AsFd, name: &str) -> bool {
    statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink)
}
