//! The file by which sshd trusts a CA for user certificates. It contains the CA's keys and nothing else: if a single
//! line is not a key, sshd accepts no certificate at all.

use crate::authority::{self, Kind};
use crate::trusted_keys::{self, Fault};
use crate::{Error, files, host_certificates::is_same_path, log};

/// The keyword of the line that names the file.
pub const KEYWORD: &str = "TrustedUserCAKeys";
/// Who can log in from then on.
const MEANING: &str = "From then on, whoever has a certificate of this CA with a user's name as a principal can log \
                       in as that user, unless a line about that user says otherwise.";
/// Every user may read which CAs sshd trusts.
const MODE: u32 = 0o644;

/// The CA's user keys: several while the CA replaces its key.
///
/// # Errors
/// `no-user-ca`, `not-a-key`, and those of `authority`.
pub fn keys() -> Result<Vec<String>, Error> {
    let keys = authority::roots(Kind::User)?;
    match trusted_keys::read(&trusted_keys::contents(&keys)) {
        Ok(read) if !keys.is_empty() && read == keys => Ok(keys),
        Ok(_) => Err(Error::new("no-user-ca", "The CA has no key that signs user certificates.")
            .next("ask the CA's administrator for one; warded ca show lists what the CA signs")),
        Err(fault) => Err(Error::new("not-a-key", format!("The list of user keys that the CA gave {fault}."))
            .next("ask the CA's administrator which of its user keys is right: warded ca roots --user shows them")),
    }
}

/// Checks that sshd reads the keys from no other file than Warded's: sshd uses the first such line. `named` are the
/// files in all these lines, `place` says where a person finds the lines.
///
/// # Errors
/// `other-user-ca`.
pub fn refuse_another(path: &str, named: &[String], place: &str) -> Result<(), Error> {
    let is_another = |value: &&String| !is_same_path(value, path) && !value.eq_ignore_ascii_case("none");
    match named.iter().find(is_another) {
        None => Ok(()),
        Some(other) => Err(Error::new(
            "other-user-ca",
            format!("sshd reads the keys of user CAs from one file only, {other}: it would ignore Warded's file."),
        )
        .about("path", other)
        .next(format!("to have sshd trust both, append what `warded ca roots --user` prints to {other}"))
        .next(format!("to have it trust this CA instead, take the line `{KEYWORD} {other}` out of {place}"))),
    }
}

/// Stages the file, and says what it means if no principals are mapped to logins. Returns whether the machine will
/// differ.
///
/// # Errors
/// As [`write_keys`].
pub fn write(path: &str, keys: &[String]) -> Result<bool, Error> {
    say_what_differs(path, keys)?;
    log::info(MEANING);
    files::write(path, &trusted_keys::contents(keys), Some(MODE))
}

/// Stages the file. Returns whether the machine will differ.
///
/// # Errors
/// `damaged-user-ca` if the file is not as Warded wrote it, and those of `files`.
pub fn write_keys(path: &str, keys: &[String]) -> Result<bool, Error> {
    say_what_differs(path, keys)?;
    files::write(path, &trusted_keys::contents(keys), Some(MODE))
}

fn say_what_differs(path: &str, keys: &[String]) -> Result<(), Error> {
    if let Some(now) = files::read(path)? {
        let known = trusted_keys::read(&now).map_err(|fault| damaged(path, fault))?;
        say_what_changes(path, &known, keys);
    }
    Ok(())
}

fn say_what_changes(path: &str, known: &[String], keys: &[String]) {
    let count = |of: &[String], others: &[String]| of.iter().filter(|key| !others.contains(key)).count();
    let (new, gone) = (count(keys, known), count(known, keys));
    if new > 0 {
        log::info(&format!("The CA has {new} user key(s) that {path} does not have yet."));
    }
    if gone > 0 {
        log::warn(&format!(
            "{path} has {gone} key(s) that the CA has dropped. Warded removes them, and sshd then refuses the \
             certificates that they signed."
        ));
    }
}

fn damaged(path: &str, fault: Fault) -> Error {
    Error::new("damaged-user-ca", format!("{path} {fault}: it is not as Warded wrote it.")).about("path", path).about(
        "next",
        format!("see what the file is meant to contain, and move it away: mv {path} {path}.old; then run this again"),
    )
}
