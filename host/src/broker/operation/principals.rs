//! Warded's files of the principals that may log in as a user: they hold what the operator named, and nothing else.

use super::Failure;
use crate::broker::session::{Level, Session};
use sshd_config::principals::{DIRECTORY, Mapping};
use std::path::Path;
use warded_lib::machine::{files::Place, path::AbsolutePath, users};

/// sshd reads such a file as the user who logs in.
const MODE: u32 = 0o644;

/// Refuses any other contents, whatever the grants say: a principal in the file can log in as that user.
///
/// # Errors
/// `foreign-principal`: the file would hold something else.
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
    // If the path is a link, both its own name and its target's name count.
    let named = |path: &Path| path.file_name().and_then(|name| name.to_str()).and_then(|login| mapping.file(login));
    let wanted = named(path.as_path());
    match after {
        _ if wanted != named(&real) => foreign("it leads to the file of another user"),
        None if wanted.is_none() => Ok(()),
        None => foreign("the operator named principals for this user, so it is not removed"),
        Some((_, Some(mode))) if mode != MODE => foreign("its mode must be 0644"),
        Some((contents, _)) if wanted.as_deref() == Some(contents) => {
            let login = place.name().to_owned();
            if !session.is_described()
                && let Some(note) = unknown(
                    &login,
                    &users::all().into_iter().map(|user| user.name).collect::<Vec<_>>(),
                    &users::other_sources(),
                )
            {
                session.tell(Level::Warn, note);
            }
            Ok(())
        }
        Some(_) => foreign("it may hold only the principals that the operator named for this user"),
    }
}

/// A warning about a login name that no user of this machine has. If there are other sources of users, the name may be
/// known there, so there is no warning.
fn unknown(login: &str, users: &[String], others: &[String]) -> Option<String> {
    let is_known = !others.is_empty() || users.iter().any(|user| user == login);
    (!is_known).then(|| {
        format!("This machine has no user {login}: nobody can log in with its principals. Is the name misspelt?")
    })
}

fn is_in_directory(path: &Path) -> bool {
    path.parent().and_then(Path::file_name).is_some_and(|name| name == DIRECTORY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_no_user_has_is_told() {
        let (users, sssd) = (["ann".to_owned()], ["sss".to_owned()]);
        for (login, others, is_told) in [("ann", &[][..], false), ("nosuch", &[], true), ("nosuch", &sssd, false)] {
            assert_eq!(unknown(login, &users, others).is_some(), is_told, "{login} {others:?}");
        }
    }
}
