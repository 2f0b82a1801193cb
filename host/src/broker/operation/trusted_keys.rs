//! Warded's list of the keys that sshd trusts to sign users' certificates: it holds the CA's keys, and nothing else.

use super::{Failure, known_hosts::line_of};
use crate::broker::session::Session;
use sshd_config::trusted_keys::{FILE_NAME, contents as list_of};
use warded_lib::{
    ca::Kind,
    machine::{files::Place, ownership::chown, path::AbsolutePath},
};

/// Refuses any other contents, whatever the grants say: the owner of a key in this file can log in as anybody.
///
/// # Errors
/// `foreign-key`: the file would hold something else. `untrusted-path`: another user owns the file. Also the errors of
/// the CA, which is asked for its keys.
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
    Err(Failure::new("foreign-key", format!("{path}: it must hold the CA's user keys, all of them, and nothing else"))
        .about("path", path))
}

/// Refuses an unchanged file that another user owns: Warded keeps a file's owner, and sshd does not check it. If the
/// keys change, the guard checks the owner.
fn refuse_owner(session: &mut Session, path: &AbsolutePath, place: &Place, after: &[u8]) -> Result<(), Failure> {
    let there = session.changes.look(place)?.filter(|there| there.contents.as_slice() == after);
    let Some(owner) = there.map(|there| there.uid) else { return Ok(()) };
    if owner == 0 || owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let why = format!("{path} belongs to another user (uid {owner}), who can put keys into it");
    Err(Failure::new("untrusted-path", why).about("next", chown(path.as_path())))
}
