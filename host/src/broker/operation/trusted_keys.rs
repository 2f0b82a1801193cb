//! Warded's list of the keys by which sshd trusts users' certificates: it holds the CA's keys, and nothing else.

use super::{Failure, known_hosts::line_of};
use crate::broker::session::Session;
use sshd_config::trusted_keys::{FILE_NAME, contents as list_of};
use warded_lib::{
    ca::Kind,
    machine::{files::Place, path::AbsolutePath},
};

/// Refuses any other contents, whatever the grants say: who could put a key there could log in as anybody.
///
/// # Errors
/// `foreign-key`: there would be something else. The errors of the CA, which is asked for its keys.
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
        return Ok(());
    }
    Err(Failure::new("foreign-key", format!("{path}: it holds the CA's user keys, all of them, and nothing else"))
        .about("path", path))
}
