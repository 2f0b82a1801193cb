//! `trust-user-ca`: sshd accepts user certificates of the CA.
//!
//! sshd reads the keys of user CAs from one file. If it already reads another file, that one is left alone.

use crate::principals;
use warded_guest::sshd_config::{self, OwnLines};
use warded_guest::trusted_keys::{self, FILE_NAME};
use warded_guest::{Error, Settings, files, log, machine, services, sshd, user_ca};

/// The comment above Warded's lines.
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

/// The file from which sshd reads the keys of user CAs, if it is not Warded's.
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
                    format!(
                        "{text} says `{KEYWORD} none`, and sshd uses the first such line: it might ignore \
                             Warded's."
                    ),
                )
                .about("path", &*text)
                .about("next", "take that line out"));
            }
            // Such a line applies to some connections, or to none: the one that applies to all was checked above.
            if value != path {
                log::warn(&format!(
                    "{text} names another file, {value}: where that line applies, sshd does not read this CA's keys \
                     from Warded's file."
                ));
            }
        }
    }
    Ok(None)
}

/// Handles an sshd that reads the keys from another file, which may already contain this CA's.
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
                    "sshd trusts this CA through {other}, which Warded did not write: the principals would apply to \
                     every CA in it."
                ),
            )
            .about("path", other)
            .next(format!(
                "take the line `{KEYWORD} {other}` out, if nobody needs the other CAs in that file; then run this again"
            ))
            .next(
                "or write the line AuthorizedPrincipalsFile, and the files that it names, yourself \
                   (sshd_config(5))",
            ));
        }
        if let Some((why, next)) = untaken(keys)? {
            return Err(Error::new(
                "other-user-ca",
                format!(
                    "sshd reads this CA's keys from {other}, which Warded did not write, but accepts no certificate \
                     that they signed: {why}."
                ),
            )
            .about("path", other)
            .next(next));
        }
        log::info(&format!(
            "sshd already reads this CA's keys from {other}, which Warded did not write: there is nothing to do. \
             Warded has not proved whom sshd lets in by them: `warded verify HOST --login-as USER` shows it."
        ));
        return Ok(());
    }
    let missing: Vec<&String> = match &read {
        Some(Ok(known)) => keys.iter().filter(|key| !known.contains(key)).collect(),
        Some(Err(_)) | None => keys.iter().collect(),
    };
    let mut error = Error::new(
        "other-user-ca",
        format!("sshd reads the keys of user CAs from one file only, {other}: it would ignore Warded's file."),
    )
    .about("path", other);
    if let Some(Err(fault)) = read {
        error = error.about(
            "next",
            format!("correct that file first: it {fault}, so that sshd accepts no certificate by any key in it"),
        );
    }
    Err(error
        .about("next", format!("to have sshd trust this CA as well, as root: {}", append(other, &missing)))
        .about("next", format!("a procedure of your own that does so needs the grant: files.write = [\"{other}\"]"))
        .about("next", format!("or take the line `{KEYWORD} {other}` out, if nobody needs that CA")))
}

/// Why sshd accepts no certificate by these keys, as far as its configuration outside every `Match` says so, and what
/// to do.
fn untaken(keys: &[String]) -> Result<Option<(String, String)>, Error> {
    let [login, newer, older, signatures] =
        ["PubkeyAuthentication", "PubkeyAcceptedAlgorithms", "PubkeyAcceptedKeyTypes", "CASignatureAlgorithms"]
            .map(|keyword| sshd::effective(keyword, &[]));
    let accepted = [newer?, older?].concat();
    Ok(obstacle(keys, &login?, &accepted, &signatures?))
}

/// Decides this from the values that sshd reports; a value is empty if that release does not know the keyword.
fn obstacle(keys: &[String], login: &[String], accepted: &[String], signatures: &[String]) -> Option<(String, String)> {
    let names = |lists: &[String]| -> Vec<String> {
        lists.iter().flat_map(|list| list.split(',')).map(|name| name.trim().to_owned()).collect()
    };
    let told = |why: String, next: &str| Some((why, format!("{next}; then reload sshd")));
    if login.iter().any(|value| value.eq_ignore_ascii_case("no")) {
        return told("PubkeyAuthentication is no".to_owned(), "set PubkeyAuthentication yes");
    }
    let (accepted, signatures) = (names(accepted), names(signatures));
    if !accepted.is_empty() && !accepted.iter().any(|name| name.contains("-cert-v01@openssh.com")) {
        let why = "PubkeyAcceptedAlgorithms has no certificate algorithm";
        return told(
            why.to_owned(),
            "add the certificate algorithms of your keys to it, such as \
                                     ssh-ed25519-cert-v01@openssh.com",
        );
    }
    let signs = |key: &String| {
        let kind = key.split(' ').next().unwrap_or_default();
        let is_listed = |name: &str| signatures.iter().any(|listed| listed == name);
        is_listed(kind) || kind == "ssh-rsa" && (is_listed("rsa-sha2-512") || is_listed("rsa-sha2-256"))
    };
    if !signatures.is_empty() && !keys.iter().any(signs) {
        let why = "CASignatureAlgorithms has none of the algorithms with which the CA signs";
        return told(why.to_owned(), "add the type of the CA's key to it (`warded ca roots --user` prints that key)");
    }
    None
}

/// A list without carriage returns, and with a line ending at its end: sshd reads the keys either way.
fn tidied(list: &[u8]) -> Vec<u8> {
    let lines = list.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.flat_map(|line| [line, b"\n"].concat()).collect()
}

/// Whether `policy.toml` lets this procedure read another file with keys.
fn is_readable(path: &str) -> bool {
    let directories = [machine::fact("sshd.directory"), Some("/etc/ssh".to_owned())];
    let inside = |directory: String| {
        path.strip_prefix(&format!("{directory}/")).is_some_and(|name| !name.contains('/') && name.ends_with(".pub"))
    };
    directories.into_iter().flatten().any(inside)
}

/// A shell command that appends keys as lines of their own, whether or not the last line has a line ending. It follows
/// a link.
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
    fn what_keeps_sshd_from_taking_certificates_is_known() {
        let list = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
        for (login, accepted, signatures, key, expected) in [
            ("", "", "", "ssh-ed25519", None),
            ("yes", "ssh-ed25519,ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519", "ssh-ed25519", None),
            ("yes", "", "rsa-sha2-512", "ssh-rsa", None),
            ("no", "", "", "ssh-ed25519", Some("PubkeyAuthentication")),
            ("yes", "ssh-ed25519,rsa-sha2-512", "", "ssh-ed25519", Some("PubkeyAcceptedAlgorithms")),
            ("yes", "", "rsa-sha2-512,ecdsa-sha2-nistp256", "ssh-ed25519", Some("CASignatureAlgorithms")),
            ("yes", "", "ssh-ed25519", "ssh-rsa", Some("CASignatureAlgorithms")),
        ] {
            let found = obstacle(&[format!("{key} AAAA")], &list(login), &list(accepted), &list(signatures));
            let keyword = found.as_ref().map(|(why, _)| why.split(' ').next().unwrap_or_default());
            assert_eq!(keyword, expected, "{login} {accepted} {signatures} {key}");
        }
    }

    #[test]
    fn the_command_names_what_a_shell_reads_back() {
        let key = "ssh-ed25519 AAAA".to_owned();
        assert_eq!(
            append("/a b/it's.pub", &[&key, &key]),
            r#"{ [ -z "$(tail -c1 '/a b/it'\''s.pub')" ] || echo; printf '%s\n' 'ssh-ed25519 AAAA' 'ssh-ed25519 AAAA'; } >>'/a b/it'\''s.pub'"#
        );
    }
}
