//! `trust-user-ca`: sshd lets people in by user certificates of the CA.
//!
//! The CA's keys are alone in a file of their own. sshd reads one such file, so where another one counts already, that is
//! not touched.

use crate::{backup, generated::Generated};
use warded_guest::authority::{self, Kind};
use warded_guest::sshd_config::path_line;
use warded_guest::trusted_keys::{self, FILE_NAME};
use warded_guest::{Error, Settings, files, log, machine, services, sshd};

const KEYWORD: &str = "TrustedUserCAKeys";
/// Everybody may know whom sshd trusts.
const MODE: u32 = 0o644;

/// Who gets in from then on.
const MEANING: &str = "From then on sshd lets in as a user whoever has a certificate of this CA with that user's name \
                       as a principal, unless what is told for that user says otherwise.";

pub(crate) fn run(_settings: &Settings) -> Result<(), Error> {
    let keys = keys()?;
    let generated = Generated::find()?;
    let path = list()?;
    refuse_another(&path)?;
    log::info(MEANING);
    let contents = trusted_keys::contents(&keys);
    if files::read(&path)?.is_some_and(|now| now != contents) {
        log::info(&format!("{path} has other keys than the CA: it gets the CA's."));
    }
    files::write(&path, &contents, Some(MODE))?;
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

/// The CA's user keys: several while it exchanges its key.
fn keys() -> Result<Vec<String>, Error> {
    let keys = authority::roots(Kind::User)?;
    match trusted_keys::read(&trusted_keys::contents(&keys)) {
        Ok(read) if !keys.is_empty() && read == keys => Ok(keys),
        Ok(_) => Err(Error::new("no-user-ca", "The CA has no key that signs user certificates.")
            .next("ask the CA's administrator for one; warded ca show tells what the CA signs")),
        Err(fault) => Err(Error::new("not-a-key", format!("What the CA gives as its user keys {fault}."))
            .next("ask the CA's administrator which of its user keys is right: warded ca roots --user shows them")),
    }
}

/// sshd takes the first such line, wherever it stands.
fn refuse_another(path: &str) -> Result<(), Error> {
    let is_another = |value: &String| !value.eq_ignore_ascii_case("none") && value != path;
    match sshd::effective(KEYWORD, &[])?.into_iter().find(is_another) {
        None => Ok(()),
        Some(other) => Err(Error::new(
            "other-user-ca",
            format!("sshd takes the keys of user CAs from {other}, and from one file only: ours would not count."),
        )
        .about("path", &*other)
        .next(format!("put the CA's keys into {other} as well: warded ca roots --user prints them"))
        .next(format!("or take the line `{KEYWORD} {other}` out of the templates, if nobody needs that CA"))),
    }
}
