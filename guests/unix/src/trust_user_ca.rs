//! `trust-user-ca`: sshd lets people in by user certificates of the CA.
//!
//! sshd reads one file of such CAs' keys, so where another one counts already, that is not touched.

use crate::principals;
use warded_guest::sshd_config::{self, OwnLines};
use warded_guest::trusted_keys::{self, FILE_NAME};
use warded_guest::{Error, Settings, files, log, machine, services, sshd, user_ca};

/// The comment above our lines.
const COMMENT: &str = "# Managed by Warded (policy unix, trust-user-ca). `warded undo` takes it out.";
const PROCEDURE: &str = "trust-user-ca";
const KEYWORD: &str = "TrustedUserCAKeys";

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let keys = user_ca::keys()?;
    let own = OwnLines::of(PROCEDURE)?;
    let path = format!("{}/{FILE_NAME}", own.directory());
    if let Some(other) = other(&own, &path)? {
        return trusted_by(&other, &keys, !settings.all("principals").is_empty());
    }
    let mut lines = vec![sshd_config::path_line(KEYWORD, &path)?];
    match principals::line(settings, &own)? {
        None => user_ca::write(&path, &keys)?,
        Some(line) => {
            lines.push(line);
            user_ca::write_keys(&path, &keys)?
        }
    };
    // sshd reads the files themselves at each login.
    if own.set(COMMENT, &lines)? { services::reload("ssh") } else { Ok(()) }
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
fn trusted_by(other: &str, keys: &[String], with_principals: bool) -> Result<(), Error> {
    let contents = if is_readable(other) { files::read(other)? } else { None };
    let read = contents.as_deref().map(|contents| trusted_keys::read(&tidied(contents)));
    if let Some(Ok(known)) = &read
        && keys.iter().all(|key| known.contains(key))
    {
        if with_principals {
            return Err(Error::new(
                "other-user-ca",
                format!(
                    "sshd trusts this CA by {other}, which is not Warded's: principals would hold for every CA in it."
                ),
            )
            .about("path", other)
            .next(format!(
                "take the line `{KEYWORD} {other}` out, if nobody needs another CA in it; then run this again"
            ))
            .next("or write the lines AuthorizedPrincipalsFile and its files yourself (sshd_config(5))"));
        }
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
    if let Some(Err(fault)) = read {
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

/// A list without the carriage returns, and with the end of its last line: sshd reads the keys either way.
fn tidied(list: &[u8]) -> Vec<u8> {
    let lines = list.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.flat_map(|line| [line, b"\n"].concat()).collect()
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
