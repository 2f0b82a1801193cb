//! Live files: where they are, what they hold, and the few ways in which they change. Every access to a file that
//! Warded does not own goes through here. `transaction` decides when files change and how they are rolled back.
#![expect(clippy::disallowed_methods, reason = "the files that change the machine")]

mod change;
mod group;
mod metadata;
mod new_directories;
mod obstacle;
mod snapshot;
mod trusted_read;
mod walk;

#[cfg(test)]
pub(crate) use change::pretend;
pub(crate) use change::{DirectoryLock, Step};
pub use metadata::Metadata;
pub use snapshot::{MAX_BYTES, Snapshot};
pub use trusted_read::{read_ours, refuse_others};

use super::path::AbsolutePath;
use crate::{error::Error, text};
use cap_std::{ambient_authority, fs::Dir};
use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use walk::{LastSegment, walk};

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FileError {
    /// The kind of obstacle.
    pub kind: FileErrorKind,
    /// One sentence for a person.
    pub message: String,
    /// The command or advice that mends it, if known.
    pub next: Option<String>,
}

/// What keeps a file from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileErrorKind {
    /// The target of a link is not a valid path.
    InvalidPath,
    /// Users other than root could redirect the path, or no grant covers the place that it leads to.
    UntrustedPath,
    /// The file, or something on the way to it, is of another type.
    NotAFile,
    /// It is larger than the limit for reading.
    TooLarge,
    /// Its contents are not known before the review.
    Pending,
    /// The system refused, for whatever reason.
    Io,
}

impl FileErrorKind {
    /// The stable code for this kind, which guests and scripts rely on.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidPath => "invalid-path",
            Self::UntrustedPath => "untrusted-path",
            Self::NotAFile => "not-a-file",
            Self::TooLarge => "too-large",
            Self::Pending => "pending",
            Self::Io => "io",
        }
    }
}

impl FileError {
    /// An error about a path.
    #[must_use]
    pub fn new(kind: FileErrorKind, path: impl AsRef<Path>, why: impl fmt::Display) -> Self {
        Self { kind, message: format!("{}: {why}", text::neutral(&path.as_ref().to_string_lossy())), next: None }
    }

    fn with_next(self, next: String) -> Self {
        Self { next: Some(next), ..self }
    }

    fn invalid(path: impl AsRef<Path>, why: impl fmt::Display) -> Self {
        Self::new(FileErrorKind::InvalidPath, path, why)
    }

    fn untrusted(path: impl AsRef<Path>, why: impl fmt::Display) -> Self {
        Self::new(FileErrorKind::UntrustedPath, path, why)
    }

    fn below_a_wildcard(path: impl AsRef<Path>) -> Self {
        Self::untrusted(path, "a link, where the grant has a wildcard")
            .with_next("put what it leads to in the place of the link, or grant the path that it leads to".to_owned())
    }

    fn not_a_file(path: impl AsRef<Path>, why: impl fmt::Display) -> Self {
        Self::new(FileErrorKind::NotAFile, path, why)
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        let FileError { kind, message, next } = error;
        let told = match kind {
            FileErrorKind::UntrustedPath => Self::refused(message),
            FileErrorKind::InvalidPath
            | FileErrorKind::NotAFile
            | FileErrorKind::TooLarge
            | FileErrorKind::Pending
            | FileErrorKind::Io => Self::failed(message),
        };
        next.into_iter().fold(told, Self::next)
    }
}

/// Whether a name is that of a temporary file of a run: `.NAME.warded-RUN-INDEX~`.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with('~') && name.contains(".warded-")
}

/// The file system below `/`, or below a directory that stands for it.
#[derive(Clone, Debug)]
pub struct Root(Arc<Dir>);

impl Root {
    /// Opens `/`. The only function that turns the ambient authority of this process into a value.
    ///
    /// # Errors
    /// When `/` cannot be opened.
    pub fn ambient() -> io::Result<Self> {
        Ok(Self(Arc::new(Dir::open_ambient_dir("/", ambient_authority())?)))
    }

    /// Opens a directory that stands for `/`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn at(directory: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Dir::open_ambient_dir(directory, ambient_authority())?)))
    }

    /// Finds the directory that contains `path`. None if the directory, or one on the way to it, does not exist.
    ///
    /// The first `literal` segments were written out in the grant. Links among them are followed anywhere, provided
    /// that every directory and link on the way belongs to root or to us and nobody else can write it. In a sticky
    /// directory such as `/tmp`, it is enough that the entry used belongs to root or to us. If the whole path is
    /// literal, a link in the last place is followed under the same rule, and the place is that of its target: an edit
    /// goes there, and the link stays. Below the literal segments no link is followed at all, so that the granted path
    /// is the path of the file.
    ///
    /// # Errors
    /// `untrusted-path`, `not-a-file` (something on the way is not a directory), `invalid-path` (the target of a link
    /// is not a valid path), `io`.
    pub fn place(&self, path: &AbsolutePath, literal: usize) -> Result<Option<Place>, FileError> {
        let segments: Vec<&str> = path.segments().collect();
        if literal >= segments.len() {
            let Some(found) = walk(&self.0, segments, LastSegment::File)? else { return Ok(None) };
            return Ok(Some(Place { directory: Arc::new(found.directory), missing: Vec::new(), name: found.name }));
        }
        let (trusted, rest) = segments.split_at(literal);
        let Some((name, between)) = rest.split_last() else { return Ok(None) };
        let Some(base) = self.directory(trusted)? else { return Ok(None) };
        let Some(directory) = base.below(between)? else { return Ok(None) };
        let place = Place { directory: Arc::new(directory), missing: Vec::new(), name: (*name).to_owned() };
        place.refuse_link()?;
        Ok(Some(place))
    }

    /// Finds a place again, from what [`Place::whereabouts`] recorded.
    ///
    /// # Errors
    /// As [`Root::place`].
    pub fn find(&self, at: &Whereabouts, name: &str) -> Result<Option<Place>, FileError> {
        let segments: Vec<&str> = at.directory.split('/').filter(|segment| !segment.is_empty()).collect();
        let (trusted, rest) = segments.split_at(at.trusted.min(segments.len()));
        let Some(base) = self.directory(trusted)? else { return Ok(None) };
        let Some(directory) = base.below(rest)? else { return Ok(None) };
        Ok(Some(Place { directory: Arc::new(directory), missing: Vec::new(), name: name.to_owned() }))
    }

    /// The place of the file `name` in the directory `path`; none if the directory does not exist. The whole path
    /// counts as literal.
    ///
    /// # Errors
    /// As [`Root::place`].
    pub fn within(&self, path: &Path, name: &str) -> Result<Option<Place>, FileError> {
        let text = path.to_str().filter(|text| text.starts_with('/'));
        let directory = text.ok_or_else(|| FileError::invalid(path, "not an absolute path in UTF-8"))?.to_owned();
        self.find(&Whereabouts { directory, trusted: usize::MAX }, name)
    }

    /// Checks that only root and we can have changed a program or the path to it.
    ///
    /// # Errors
    /// As [`Root::place`]; `untrusted-path` also if the file itself belongs to another user, or others can write it.
    pub fn program(&self, path: &Path) -> Result<(), FileError> {
        let text = AbsolutePath::try_from(path).map_err(|why| FileError::invalid(path, why))?;
        match self.place(&text, usize::MAX)? {
            Some(place) => walk::refuse_foreign(place.dir(), place.name(), path),
            None => Err(FileError::not_a_file(path, "there is no such file")),
        }
    }

    fn directory(&self, segments: &[&str]) -> Result<Option<Directory>, FileError> {
        Ok(walk(&self.0, segments.to_vec(), LastSegment::Directory)?.map(|found| found.directory))
    }
}

/// An open directory, with its path after all links were resolved.
#[derive(Debug)]
struct Directory {
    handle: Dir,
    path: PathBuf,
    /// How many segments of the path only root and we can change.
    trusted: usize,
    device: u64,
    inode: u64,
}

impl Directory {
    /// A directory below this one. No link is followed, wherever it leads: otherwise a user who may make links there
    /// could choose the file that the granted path stands for.
    fn below(self, segments: &[&str]) -> Result<Option<Self>, FileError> {
        if segments.is_empty() {
            return Ok(Some(self));
        }
        let mut path = self.path.clone();
        let mut opened = None;
        for segment in segments {
            path.push(segment);
            let at = opened.as_ref().map_or_else(|| self.handle.as_fd(), OwnedFd::as_fd);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(at, *segment, flags, Mode::empty()) {
                Ok(next) => opened = Some(next),
                Err(Errno::NOENT) => return Ok(None),
                // With these flags, the kernel also reports NOTDIR for a link.
                Err(Errno::NOTDIR) if walk::is_link(at, segment) => return Err(FileError::below_a_wildcard(&path)),
                Err(Errno::NOTDIR) => {
                    return Err(FileError::not_a_file(&path, "something on the way is not a directory"));
                }
                Err(error) => return Err(FileError::io(&path, error)),
            }
        }
        match opened {
            Some(opened) => Self::open(&opened, path, self.trusted).map(Some),
            None => Ok(Some(self)),
        }
    }

    /// Opens for reading a directory that is so far only a path handle, so that it can be listed and synced.
    fn open(at: impl rustix::fd::AsFd, path: PathBuf, trusted: usize) -> Result<Self, FileError> {
        if !path.to_str().is_some_and(text::is_neutral) {
            return Err(FileError::invalid(&path, "not UTF-8, or it has a character that hides text"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(at, ".", flags, Mode::empty()).map_err(|error| FileError::io(&path, error))?;
        let found = rustix::fs::fstat(&opened).map_err(|error| FileError::io(&path, error))?;
        let handle = Dir::from_std_file(fs::File::from(opened));
        Ok(Self { handle, path, trusted, device: found.st_dev, inode: found.st_ino })
    }
}

/// Where a file is, or would be: an open directory and a name in it.
#[derive(Clone, Debug)]
pub struct Place {
    directory: Arc<Directory>,
    /// Directories below `directory` that still have to be made.
    missing: Vec<String>,
    name: String,
}

/// The identity of a file, whatever path led to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceKey {
    /// The file system of the directory.
    pub device: u64,
    /// The inode of the directory.
    pub inode: u64,
    /// The name in the directory, preceded by the names of directories that still have to be made.
    pub name: String,
}

impl PlaceKey {
    /// Whether both are names in the same directory.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        let directory = |key: &Self| key.name.rsplit_once('/').map(|(directory, _)| directory.to_owned());
        (self.device, self.inode) == (other.device, other.inode) && directory(self) == directory(other)
    }
}

/// How to find a directory again in another process.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Whereabouts {
    /// Its path, without links.
    pub directory: String,
    /// How many segments of the path only root and we could change.
    pub trusted: usize,
}

impl Place {
    /// The path, with all links resolved.
    #[must_use]
    pub fn resolved(&self) -> PathBuf {
        self.directory.path.join(self.below())
    }

    /// The identity of the file, whatever path led to it.
    #[must_use]
    pub fn key(&self) -> PlaceKey {
        PlaceKey { device: self.directory.device, inode: self.directory.inode, name: self.below() }
    }

    /// The name in its directory.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path from [`Place::dir`] to the file: its name, preceded by directories that still have to be made.
    fn below(&self) -> String {
        self.missing.iter().map(String::as_str).chain([self.name.as_str()]).collect::<Vec<_>>().join("/")
    }

    /// The directory, or its nearest existing ancestor if it still has to be made.
    #[must_use]
    pub fn dir(&self) -> &Dir {
        &self.directory.handle
    }

    /// How to find the directory again in another process.
    #[must_use]
    pub fn whereabouts(&self) -> Whereabouts {
        let mut path = self.directory.path.clone();
        path.extend(&self.missing);
        let directory = path.to_string_lossy().into_owned();
        Whereabouts { directory, trusted: self.directory.trusted.saturating_add(self.missing.len()) }
    }

    /// Checks that only root and we can change the file.
    ///
    /// # Errors
    /// `untrusted-path`, `not-a-file`, `io`.
    pub fn refuse_foreign(&self) -> Result<(), FileError> {
        walk::refuse_foreign(self.dir(), &self.below(), &self.resolved())
    }

    /// The place of another name in the same directory.
    #[must_use]
    pub fn sibling(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// The same place through the open directory of `other`, if both are the same directory: two places that are kept
    /// then share one descriptor.
    #[must_use]
    pub fn by_way_of(&self, other: &Self) -> Option<Self> {
        let (ours, theirs) = (&self.directory, &other.directory);
        let is_same = (ours.device, ours.inode, ours.trusted) == (theirs.device, theirs.inode, theirs.trusted)
            && ours.path == theirs.path;
        is_same.then(|| Self { directory: Arc::clone(&other.directory), ..self.clone() })
    }

    /// The names in the directory, sorted; names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// `io`: the directory cannot be read.
    pub fn list(&self) -> Result<Vec<String>, FileError> {
        let failed = |error| FileError::io(&self.directory.path, error);
        let mut names = Vec::new();
        if self.is_to_be() {
            return Ok(names);
        }
        for entry in self.directory.handle.entries().map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }
}

#[cfg(test)]
mod tests;
