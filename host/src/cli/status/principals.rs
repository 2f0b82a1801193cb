//! Whether sshd reads Warded's files of principals, and whether they are what the operator named.

use crate::{cli::outlook::Problem, context::Context};
use sshd_config::principals::{DIRECTORY, directory_of};
use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};
use warded_lib::{
    digest::Digest,
    error::Result,
    machine::{
        ownership::{chmod_unwritable, chown, is_ours},
        sshd::Effective,
    },
    text::{neutral, shell_word},
    transaction,
};

const APPLY: &str =
    "name the principals of all logins again: warded apply trust-user-ca --set principals=LOGIN=PRINCIPAL[,...]";

/// What is wrong with the files that sshd's configuration names, if these are Warded's.
///
/// # Errors
/// The journals cannot be read.
pub(super) fn look(context: &Context, effective: &Effective) -> Result<Vec<Problem>> {
    let named = effective.values("authorizedprincipalsfile").first().and_then(|value| directory_of(value));
    let own = named.map(PathBuf::from).filter(|path| path.file_name().is_some_and(|name| name == DIRECTORY));
    let Some(directory) = own else { return Ok(Vec::new()) };
    let is_strict = effective.values("strictmodes").first().is_none_or(|strict| strict != "no");
    let Ok(directory) = directory.canonicalize() else {
        let seen = format!("{} is gone: nobody logs in by a certificate", shown(&directory));
        return Ok(vec![Problem::with(seen, APPLY)]);
    };
    // A fault of a directory above affects every file in it.
    if let Some((why, next)) = directory.ancestors().find_map(|path| fault(path, is_strict)) {
        return Ok(vec![Problem::with(format!("sshd takes no principals from {}: {why}", shown(&directory)), next)]);
    }
    let left = transaction::files_left(&context.state)?;
    let left: Vec<(PathBuf, Option<Digest>)> =
        left.into_iter().filter(|(path, _)| path.parent() == Some(directory.as_path())).collect();
    let mut there: Vec<PathBuf> =
        fs::read_dir(&directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    there.sort();
    let gone = left.iter().filter(|(path, digest)| digest.is_some() && !there.contains(path));
    let gone = gone.map(|(path, _)| {
        Problem::with(format!("{} is gone: no certificate logs in as {}", shown(path), login(path)), APPLY)
    });
    Ok(there.iter().filter_map(|path| one(path, &left, is_strict)).chain(gone).collect())
}

/// What is wrong with one file.
fn one(path: &Path, left: &[(PathBuf, Option<Digest>)], is_strict: bool) -> Option<Problem> {
    let file = shown(path);
    if let Some((why, next)) = fault(path, is_strict) {
        return Some(Problem::with(format!("sshd takes no principals from {file}, or not only yours: {why}"), next));
    }
    let mapped = left.iter().find(|(one, _)| one == path).and_then(|(_, digest)| *digest);
    match (mapped, fs::read(path)) {
        // Without records, it is not known what the operator named.
        (None, _) if left.is_empty() => None,
        (None, _) => Some(Problem::with(
            format!("{file} was not named to Warded: certificates for the principals in it log in as {}", login(path)),
            format!("rm {}; or {APPLY}", shell_word(&path.to_string_lossy())),
        )),
        (Some(digest), Ok(now)) if Digest::of(&now) == digest => None,
        (Some(_), _) => Some(Problem::with(
            format!("somebody changed who logs in as {} by a certificate: {file}", login(path)),
            APPLY,
        )),
    }
}

/// Why sshd does not read a file, or skips everything below a directory (`safe_path` in OpenSSH's misc.c), or why its
/// contents may be another user's; and what to do. sshd reads the file as the user who logs in.
fn fault(path: &Path, is_strict: bool) -> Option<(String, String)> {
    let found = fs::symlink_metadata(path).ok()?;
    let (shown, word) = (shown(path), shell_word(&path.to_string_lossy()));
    let needed = if found.is_dir() { 0o001 } else { 0o004 };
    if !found.is_dir() && !found.is_file() {
        return Some((format!("{shown} is no regular file"), format!("rm {word}; {APPLY}")));
    }
    if !is_ours(found.uid()) {
        let next = if found.is_dir() { format!("let {shown} belong to root") } else { chown(path) };
        return Some((format!("{shown} belongs to another user"), next));
    }
    if found.mode() & needed == 0 {
        let option = if found.is_dir() { "o+x" } else { "o+r" };
        return Some((format!("the users who log in cannot read {shown}"), format!("chmod {option} {word}")));
    }
    let is_changeable = found.mode() & 0o022 != 0 && (is_strict || !is_sticky(&found));
    is_changeable.then(|| (format!("others can write {shown}"), chmod_unwritable(path, found.mode())))
}

fn is_sticky(found: &Metadata) -> bool {
    found.mode() & 0o1000 != 0
}

fn login(path: &Path) -> String {
    neutral(&path.file_name().unwrap_or_default().to_string_lossy())
}

fn shown(path: &Path) -> String {
    neutral(&path.to_string_lossy())
}
