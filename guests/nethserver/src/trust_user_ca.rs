//! `trust-user-ca`: sshd accepts user certificates of the CA.
//!
//! The CA's keys have a file of their own. sshd reads the keys of user CAs from one file. If it already reads another
//! file, that one is left alone.

use crate::{backup, generated::Generated};
use warded_guest::sshd_config::path_line;
use warded_guest::trusted_keys::FILE_NAME;
use warded_guest::user_ca::{self, KEYWORD};
use warded_guest::{Error, Settings, machine, services, sshd};

pub(crate) fn run(_settings: &Settings) -> Result<(), Error> {
    let keys = user_ca::keys()?;
    let generated = Generated::find()?;
    let path = list()?;
    user_ca::refuse_another(&path, &sshd::effective(KEYWORD, &[])?, "the templates")?;
    user_ca::write(&path, &keys)?;
    let lines = [generated.others(KEYWORD), vec![path_line(KEYWORD, &path)?]].concat();
    let changed = generated.set(&lines)?;
    backup::include(&[path])?;
    // sshd reads the list itself at each login.
    if changed { services::reload("ssh") } else { Ok(()) }
}

/// The file of the CA's user keys.
///
/// # Errors
/// `no-sshd`.
pub(crate) fn list() -> Result<String, Error> {
    let directory = machine::fact("sshd.directory").ok_or_else(|| Error::new("no-sshd", "No sshd was found."))?;
    Ok(format!("{directory}/{FILE_NAME}"))
}
