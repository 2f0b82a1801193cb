//! Warded's files of the principals that log in as a user: they hold what the operator named, and nothing else.

use super::Failure;
use crate::broker::session::Session;
use sshd_config::principals::{DIRECTORY, Mapping};
use std::path::Path;
use warded_lib::machine::{files::Place, path::AbsolutePath};

/// sshd reads such a file as the user who logs in.
const MODE: u32 = 0o644;

/// Refuses any other contents, whatever the grants say: who could put a principal there could log in as that user.
///
/// # Errors
/// `foreign-principal`: there would be something else.
pub(super) fn only_the_named(
    session: &mut Session,
    path: &AbsolutePath,
    place: &Place,
    after: Option<(&[u8], Option<u32>)>,
) -> Result<(), Failure> {
    let real = place.resolved();
    if !is_in_directory(path.as_path()) && !is_in_directory(&real) {
        return Ok(());
    }
    let before = session.changes.look(place)?;
    let is_same = before.as_ref().map(|before| (before.contents.as_slice(), before.mode))
        == after.map(|(contents, mode)| (contents, mode.unwrap_or(MODE)));
    if is_same {
        return Ok(());
    }
    let foreign = |why: &str| Err(Failure::new("foreign-principal", format!("{path}: {why}")).about("path", path));
    if session.circumstances.mapped.is_empty() {
        return foreign("the operator named no principals, so it stays as it is");
    }
    let mapping = Mapping::parse(session.circumstances.mapped.iter().map(String::as_str))
        .map_err(|why| Failure::new("foreign-principal", format!("{path}: {why}")).about("path", path))?;
    // Both names count, where a link leads from one to the other.
    let named = |path: &Path| path.file_name().and_then(|name| name.to_str()).and_then(|login| mapping.file(login));
    let wanted = named(path.as_path());
    match after {
        _ if wanted != named(&real) => foreign("it leads to the file of another user"),
        None if wanted.is_none() => Ok(()),
        None => foreign("the operator named principals for this user, so it is not removed"),
        Some((_, Some(mode))) if mode != MODE => foreign("it has the mode 0644"),
        Some((contents, _)) if wanted.as_deref() == Some(contents) => Ok(()),
        Some(_) => foreign("it holds the principals that the operator named for this user, and nothing else"),
    }
}

fn is_in_directory(path: &Path) -> bool {
    path.parent().and_then(Path::file_name).is_some_and(|name| name == DIRECTORY)
}
