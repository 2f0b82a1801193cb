//! A known_hosts file of ssh: only the lines may change that trust the CA for what the operator named.

use super::Failure;
use crate::broker::session::Session;
use sshd_config::known_hosts::{Trust, is_file_name};
use warded_lib::{
    ca::Kind,
    guard::{client::known_hosts::line_of as text_of, known_hosts::is_known_hosts},
    machine::{files::Place, path::AbsolutePath},
};

/// Refuses any other change, whatever the grants say.
///
/// # Errors
/// `foreign-line`: something else would change. Also the errors of the CA, which is asked for its keys.
pub(super) fn only_our_lines(
    session: &mut Session,
    path: &AbsolutePath,
    place: &Place,
    after: Option<&[u8]>,
) -> Result<(), Failure> {
    if !is_known_hosts(path.as_path()) && !is_file_name(place.name()) {
        return Ok(());
    }
    let before = session.changes.look(place)?.map(|snapshot| snapshot.contents.to_vec()).unwrap_or_default();
    if after == Some(before.as_slice()) {
        return Ok(());
    }
    let foreign = |why: String| Failure::new("foreign-line", format!("{path}: {why}")).about("path", path);
    let Some(after) = after else { return Err(foreign("it is not removed".to_owned())) };
    let keys = session.roots(Kind::Host)?.iter().map(line_of).collect::<Result<Vec<_>, _>>()?;
    let authority = session.authority.name().unwrap_or_default();
    let patterns = session.circumstances.trusted.clone();
    Trust { patterns: &patterns, keys: &keys, authority: &authority }.refuse_others(&before, after).map_err(foreign)
}

/// A public key as one line, without a comment.
pub(super) fn line_of(key: &ssh_key::PublicKey) -> Result<String, Failure> {
    text_of(key.key_data()).map_err(|error| Failure::because("io", &error))
}
