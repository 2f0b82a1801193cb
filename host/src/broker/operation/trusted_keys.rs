//! Warded's list of the keys by which sshd trusts users' certificates: it holds the CA's keys, and nothing else.

use super::{Failure, known_hosts::line_of};
use crate::broker::session::Session;
use sshd_config::trusted_keys::{FILE_NAME, contents as list_of};
use warded_lib::{
    ca::Kind,
    machine::{files::Place, ownership::chown, path::AbsolutePath},
};

/// Refuses any other contents, whatever the grants say: who could put a key there could log in as anybody.
///
/// # Errors
/// `foreign-key`: there would be something else. `untrusted-path`: another user owns the file. The errors of the CA, which is asked for its keys.
pub(super) fn only_the_authoritys(
    session: &mut Session,
    path: &AbsolutePath,
    place: &Place,
    after: &[u8],
) -> Result<(), Failure> {
    if path.as_path().file_name().and_then(|name| name.to_str()) != Some(FILE_NAME) && place.name() != FILE_NAME {
        return Ok(());
    }
    let keys = session.roots(Kind::User)?.iter().map(line_of).collect::<Result<Vec<_>, _>>()?;
    if after == list_of(&keys) {
        return refuse_owner(session, path, place, after);
    }
    Err(Failure::new("foreign-key", format!("{path}: it holds the CA's user keys, all of them, and nothing else"))
        .about("path", path))
}

/// A file keeps its owner, and sshd does not ask who that is. Where the keys change, the guard looks at it.
fn refuse_owner(session: &mut Session, path: &AbsolutePath, place: &Place, after: &[u8]) -> Result<(), Failure> {
    let there = session.changes.look(place)?.filter(|there| there.contents.as_slice() == after);
    let Some(owner) = there.map(|there| there.uid) else { return Ok(()) };
    if owner == 0 || owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let why = format!("{path} belongs to another user (uid {owner}), who can put keys into it");
    Err(Failure::new("untrusted-path", why).about("next", chown(path.as_path())))
}
