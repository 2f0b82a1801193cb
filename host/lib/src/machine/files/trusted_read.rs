//! Files that control what we do: they are read only if no other user could have written them or redirected us to
//! others.

use super::{
    FileError, FileErrorKind, Root,
    walk::{LastSegment, Owners, refuse_foreign, refuse_foreign_file, refuse_writable, walk, walk_of},
};
use crate::{error::Error, text::neutral};
use rustix::fs::{Mode, OFlags, fstat, openat};
use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, absolute},
};

/// The contents of such a file; none if nothing is at `path`.
///
/// The file is opened once, step by step from `/`. Each directory, each link and the file itself must belong to root or
/// to us, and nobody else may be able to write them (see [`Root::place`] for the rule). The checks apply to the opened
/// file, and that is what is read.
///
/// # Errors
/// Refused: another user could have written it, or it is larger than `limit` bytes. If it cannot be read, the error
/// that `unreadable` makes.
pub fn read_ours(
    path: &Path,
    limit: u64,
    unreadable: impl FnOnce(&dyn Display) -> Error,
) -> Result<Option<Vec<u8>>, Error> {
    let shown = neutral(&path.display().to_string());
    read(path, limit).map_err(|error| match error.kind {
        FileErrorKind::UntrustedPath => {
            let next = error.next.clone().map(|next| format!("read the file, and if it is as you left it: {next}"));
            let refused = Error::refused(format!("{shown} could have been written by another user")).cause(error);
            next.into_iter().fold(refused, Error::next)
        }
        FileErrorKind::TooLarge => Error::refused(format!("{shown} is too large to be read"))
            .cause(error)
            .next("put the right file in its place, or take it away"),
        FileErrorKind::InvalidPath | FileErrorKind::NotAFile | FileErrorKind::Pending | FileErrorKind::Io => {
            unreadable(&error)
        }
    })
}

/// Checks that no other user can have changed a file that the operator named on the command line. The file and the path
/// to it must belong to root, to us, or to the user who became root by sudo(8). An input that is open already (`-`,
/// `/dev/stdin`, `/dev/fd/…`) has no path to check; a missing file is left for its reader to report.
///
/// # Errors
/// `untrusted-path`: another user can have changed it.
pub fn refuse_others(path: &Path) -> Result<(), FileError> {
    let is_open =
        ["/dev/fd/", "/dev/stdin", "/proc/self/fd/"].iter().any(|open| path.to_string_lossy().starts_with(open));
    if path == Path::new("-") || is_open || fs::metadata(path).is_err() {
        return Ok(());
    }
    let path = absolute(path).map_err(|error| FileError::io(path, error))?;
    let segments = path.to_str().ok_or_else(|| FileError::invalid(&path, "not UTF-8"))?.split('/').collect();
    let root = Root::ambient().map_err(|error| FileError::io("/", error))?;
    let owners = became_root().map_or(Owners::Ours, Owners::And);
    let Some(found) = walk_of(&root.0, segments, LastSegment::File, owners)? else { return Ok(()) };
    let at = found.directory.path.join(&found.name);
    refuse_writable(&found.directory.handle, &found.name, &at, owners)
}

/// The user who became root by sudo(8).
fn became_root() -> Option<u32> {
    std::env::var("SUDO_UID").ok().filter(|_| rustix::process::geteuid().is_root())?.parse().ok()
}

fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    // If the file does not exist, nothing is read; so it does not matter who could have put it there.
    if fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let path = absolute(path).map_err(|error| FileError::io(path, error))?;
    let segments = path.to_str().ok_or_else(|| FileError::invalid(&path, "not UTF-8"))?.split('/').collect();
    let root = Root::ambient().map_err(|error| FileError::io("/", error))?;
    let Some(found) = walk(&root.0, segments, LastSegment::File)? else { return Ok(None) };
    let (directory, at) = (&found.directory.handle, found.directory.path.join(&found.name));
    let failed = |error: io::Error| FileError::io(&at, error);
    // Checked before opening, since opening can have effects on a device.
    refuse_foreign(directory, &found.name, &at)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file =
        File::from(openat(directory, found.name.as_str(), flags, Mode::empty()).map_err(|error| failed(error.into()))?);
    let opened = fstat(&file).map_err(|error| failed(error.into()))?;
    refuse_foreign_file(&opened, &at)?;
    let too_large = || FileError::new(FileErrorKind::TooLarge, &at, format_args!("more than {} MiB", limit >> 20));
    if u64::try_from(opened.st_size).is_ok_and(|size| size > limit) {
        return Err(too_large());
    }
    let mut contents = Vec::new();
    file.take(limit + 1).read_to_end(&mut contents).map_err(failed)?;
    if u64::try_from(contents.len()).is_ok_and(|length| length > limit) {
        return Err(too_large());
    }
    Ok(Some(contents))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Exit, Label};
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    const MIB: u64 = 1 << 20;

    fn look(path: &Path) -> String {
        match read_ours(path, MIB, |why| Error::failed(why.to_string())) {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(contents)) => format!("{} bytes", contents.len()),
            Err(error) if error.exit() == Exit::Refused => error.notes_of(Label::Cause).next().unwrap().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_file_that_the_operator_names_is_nobody_elses() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path().canonicalize().unwrap();
        let (way, file, link) = (at.join("way"), at.join("way/file"), at.join("link"));
        fs::create_dir(&way).unwrap();
        fs::write(&file, "secret").unwrap();
        symlink(&file, &link).unwrap();
        let said = |path: &Path| refuse_others(path).map_or_else(|error| error.to_string(), |()| "good".to_owned());
        for (path, mode, seen) in [
            (&file, 0o600, "good"),
            (&file, 0o622, "others can write it"),
            (&file, 0o602, "others can write it"),
            (&file, 0o600, "good"),
            (&way, 0o777, "others can write this directory"),
            (&way, 0o1777, "good"),
            (&way, 0o755, "good"),
        ] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            for named in [&file, &link] {
                assert!(said(named).contains(seen), "{mode:o}: {}", said(named));
            }
        }
        if rustix::process::geteuid().is_root() {
            for (path, seen) in
                [(&file, "it belongs to another user"), (&way, "this directory belongs to another user")]
            {
                chown(path, Some(65534), None).unwrap();
                assert!(said(&link).contains(seen), "{}", said(&link));
                let next = refuse_others(&link).unwrap_err().next.unwrap();
                // A directory may be another user's home, so no `chown` is suggested.
                assert_eq!(next.contains("chown"), *path == file, "{next}");
                chown(path, Some(0), None).unwrap();
            }
            lchown(&link, Some(65534), None).unwrap();
            assert!(said(&link).contains("this link belongs to another user"), "{}", said(&link));
        }
        for open in ["-", "/dev/stdin", "/dev/fd/0", "/no/such/file"] {
            assert_eq!(said(Path::new(open)), "good", "{open}");
        }
    }

    #[test]
    fn what_somebody_else_could_have_written_is_not_read() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path().canonicalize().unwrap();
        let (way, inner, file) = (at.join("way"), at.join("way/inner"), at.join("way/inner/file"));
        fs::create_dir_all(&inner).unwrap();
        fs::write(&file, "ours").unwrap();
        fs::create_dir(at.join("linked")).unwrap();
        symlink("../way/inner/file", at.join("linked/file")).unwrap();
        symlink("way/../way/inner", at.join("link")).unwrap();
        let paths = [file.clone(), at.join("link/file"), at.join("linked/file"), at.join("linked/../way/inner/./file")];
        let all = |seen: &str| {
            for path in &paths {
                let found = look(path);
                assert!(found.contains(seen), "{}: {seen}: {found}", path.display());
            }
        };
        all("4 bytes");
        for (path, mode, seen) in [
            (&file, 0o666, "others can write it"),
            (&file, 0o602, "others can write it"),
            (&inner, 0o757, "others can write this directory"),
            (&way, 0o757, "others can write this directory"),
            (&way, 0o1777, "4 bytes"),
        ] {
            let before = fs::metadata(path).unwrap().permissions();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            all(seen);
            fs::set_permissions(path, before).unwrap();
        }
        if !rustix::process::geteuid().is_root() {
            return;
        }
        for (path, mode, seen) in [
            (&file, 0o660, "the group nogroup can write it"),
            (&inner, 0o770, "the group nogroup can write this directory"),
        ] {
            let before = fs::metadata(path).unwrap().permissions();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            // root's own group adds no other user.
            all("4 bytes");
            chown(path, None, Some(65534)).unwrap();
            all(seen);
            chown(path, None, Some(0)).unwrap();
            fs::set_permissions(path, before).unwrap();
        }
        for (path, seen) in [
            (&file, "it belongs to another user"),
            (&inner, "this directory belongs to another user"),
            (&way, "this directory belongs to another user"),
        ] {
            chown(path, Some(65534), None).unwrap();
            all(seen);
            chown(path, Some(0), None).unwrap();
        }
        lchown(at.join("link"), Some(65534), None).unwrap();
        assert!(look(&at.join("link/file")).contains("this link belongs to another user"));
        lchown(at.join("link"), Some(0), None).unwrap();
        // In a sticky directory the owner of the entry that is used counts.
        fs::set_permissions(&way, fs::Permissions::from_mode(0o1777)).unwrap();
        chown(&inner, Some(65534), None).unwrap();
        all("it belongs to another user, in a directory that everybody can write");
    }

    #[test]
    fn what_is_no_file_or_too_large_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path().canonicalize().unwrap();
        fs::write(at.join("file"), "x").unwrap();
        File::create(at.join("full")).unwrap().set_len(MIB).unwrap();
        File::create(at.join("large")).unwrap().set_len(MIB + 1).unwrap();
        symlink("absent", at.join("dangling")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at.join("fifo"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        for (name, seen) in [
            ("absent", "nothing"),
            ("no/such", "nothing"),
            ("dangling", "nothing"),
            ("full", "1048576 bytes"),
            ("large", "large: more than 1 MiB"),
            ("fifo", "not a regular file"),
            (".", "not a regular file"),
            ("file/", "not a directory"),
            ("file/x", "not a directory"),
        ] {
            let found = look(&at.join(name));
            assert!(found.contains(seen), "{name}: {seen}: {found}");
        }
    }
}
