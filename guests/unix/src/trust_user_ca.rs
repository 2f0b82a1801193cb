//! `trust-user-ca`: sshd lets people in by user certificates of the CA.
//!
//! The CA's keys are alone in a file of their own: one line in such a file that is no key, and sshd takes no certificate
//! at all. sshd reads one such file, so where another one counts already, that is not touched.

use warded_guest::authority::{self, Kind};
use warded_guest::sshd_config::{self, OwnLines};
use warded_guest::trusted_keys::{self, FILE_NAME, Fault};
use warded_guest::{Error, Settings, files, log, machine, services, sshd};

/// The comment above our lines.
const COMMENT: &str = "# Managed by Warded (policy unix, trust-user-ca). `warded undo` takes it out.";
const PROCEDURE: &str = "trust-user-ca";
const KEYWORD: &str = "TrustedUserCAKeys";
/// Everybody may know whom sshd trusts.
const MODE: u32 = 0o644;

/// Who gets in from then on.
const MEANING: &str = "From then on sshd lets in as a user whoever has a certificate of this CA with that user's name \
                       as a principal, unless what is told for that user says otherwise.";

pub(crate) fn run(_settings: &Settings) -> Result<(), Error> {
    let keys = keys()?;
    let own = OwnLines::of(PROCEDURE)?;
    let path = format!("{}/{FILE_NAME}", own.directory());
    if let Some(other) = other(&own, &path)? {
        return trusted_by(&other, &keys);
    }
    let now = files::read(&path)?;
    if let Some(now) = &now {
        let known = trusted_keys::read(now).map_err(|fault| damaged(&path, fault))?;
        say_what_changes(&path, &known, &keys);
    }
    log::info(MEANING);
    files::write(&path, &trusted_keys::contents(&keys), Some(MODE))?;
    // sshd reads the file itself at each login.
    if own.set(COMMENT, &[sshd_config::path_line(KEYWORD, &path)?])? { services::reload("ssh") } else { Ok(()) }
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

fn say_what_changes(path: &str, known: &[String], keys: &[String]) {
    let count = |of: &[String], others: &[String]| of.iter().filter(|key| !others.contains(key)).count();
    let (new, gone) = (count(keys, known), count(known, keys));
    if new > 0 {
        log::info(&format!("The CA has {new} user key(s) that {path} does not have yet."));
    }
    if gone > 0 {
        log::warn(&format!(
            "{path} has {gone} key(s) that the CA has dropped. They go: sshd then refuses the certificates that they \
             signed."
        ));
    }
}

fn damaged(path: &str, fault: Fault) -> Error {
    Error::new("damaged-user-ca", format!("{path} {fault}: it is not as Warded wrote it.")).about("path", path).about(
        "next",
        format!("see what it is meant to say, and move it away: mv {path} {path}.old; then run this again"),
    )
}

/// Another file that sshd takes the keys of user CAs from, where that is so.
fn other(own: &OwnLines, path: &str) -> Result<Option<String>, Error> {
    let is_none = |value: &String| value.eq_ignore_ascii_case("none");
    let effective = sshd::effective(KEYWORD, &[])?;
    if let Some(other) = effective.into_iter().find(|value| !is_none(value) && value != path) {
        return Ok(Some(other));
    }
    let drop_ins = format!("{}/sshd_config.d", own.directory());
    let mut texts: Vec<String> = machine::fact("sshd.config").into_iter().collect();
    texts.extend(files::list(&drop_ins)?.unwrap_or_default().iter().map(|name| format!("{drop_ins}/{name}")));
    for text in texts {
        for value in sshd_config::values(&files::read(&text)?.unwrap_or_default(), KEYWORD) {
            if is_none(&value) {
                return Err(Error::new(
                    "other-user-ca",
                    format!("{text} says `{KEYWORD} none`, and sshd takes the first such line: ours might not count."),
                )
                .about("path", &*text)
                .about("next", "take that line out"));
            }
            // Such a line holds for some connections, or for none: the one that holds for all was looked at.
            if value != path {
                log::warn(&format!(
                    "{text} names another file, {value}: where that line holds, sshd does not take certificates of this \
                     CA by ours."
                ));
            }
        }
    }
    Ok(None)
}

/// Where sshd takes the keys from another file, that one may have ours already.
fn trusted_by(other: &str, keys: &[String]) -> Result<(), Error> {
    let contents = if is_readable(other) { files::read(other)? } else { None };
    let read = contents.as_deref().map(trusted_keys::read);
    if let Some(Ok(known)) = &read
        && keys.iter().all(|key| known.contains(key))
    {
        log::info(&format!("sshd trusts this CA already, by {other}, which is not Warded's: nothing is to do."));
        return Ok(());
    }
    let missing: Vec<&String> = match &read {
        Some(Ok(known)) => keys.iter().filter(|key| !known.contains(key)).collect(),
        Some(Err(_)) | None => keys.iter().collect(),
    };
    let mut error = Error::new(
        "other-user-ca",
        format!("sshd takes the keys of user CAs from {other}, and from one file only: ours would not count."),
    )
    .about("path", other);
    if let Some(Err(fault)) = read
        && !fault.kind.is_harmless()
    {
        error = error.about(
            "next",
            format!("mend that file first: it {fault}, so that sshd takes no certificate by any key in it"),
        );
    }
    Err(error
        .about("next", format!("to have sshd trust this CA as well, as root: {}", append(other, &missing)))
        .about("next", format!("a procedure of your own that does so needs the grant: files.write = [\"{other}\"]"))
        .about("next", format!("or take the line `{KEYWORD} {other}` out, if nobody needs that CA")))
}

/// Whether `policy.toml` lets this procedure read a file of others.
fn is_readable(path: &str) -> bool {
    let directories = [machine::fact("sshd.directory"), Some("/etc/ssh".to_owned())];
    let inside = |directory: String| {
        path.strip_prefix(&format!("{directory}/")).is_some_and(|name| !name.contains('/') && name.ends_with(".pub"))
    };
    directories.into_iter().flatten().any(inside)
}

/// A command that appends keys as lines of their own, whether the last line ends or not, and through a link.
fn append(path: &str, keys: &[&String]) -> String {
    let path = quoted(path);
    let keys: String = keys.iter().map(|key| format!(" {}", quoted(key))).collect();
    format!("{{ [ -z \"$(tail -c1 {path})\" ] || echo; printf '%s\\n'{keys}; }} >>{path}")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_what_a_shell_reads_back() {
        let key = "ssh-ed25519 AAAA".to_owned();
        assert_eq!(
            append("/a b/it's.pub", &[&key, &key]),
            r#"{ [ -z "$(tail -c1 '/a b/it'\''s.pub')" ] || echo; printf '%s\n' 'ssh-ed25519 AAAA' 'ssh-ed25519 AAAA'; } >>'/a b/it'\''s.pub'"#
        );
    }
}
