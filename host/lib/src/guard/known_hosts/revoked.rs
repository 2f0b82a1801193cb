//! What revokes the CA's own key: `RevokedHostKeys` in ssh's configuration, lines of other files, and the output of a
//! `KnownHostsCommand`. The CA that stands in for it in the proof has another key, which takes the CA key's place
//! there.

use super::{
    Change, NewLine, keygen, looked_up,
    options::{COMMAND, FILES, StandIn},
};
use crate::{
    ca::Certificate,
    error::Result,
    guard::{client::known_hosts::line_of, config::krl::is_list},
    machine::{
        scratch::Scratch,
        ssh::{Host, Settings, Ssh},
        sshd::tree::{Overlay, StagedFiles},
    },
    text::neutral,
};
use sshd_config::known_hosts::{Entry, Marker, lines, matches};
use std::path::{Path, PathBuf};

/// Runs a program and prints its lines, with the stand-in's key in those that revoke the CA's. ssh gives up if the
/// program fails. The script needs no other program: ssh may run it without a search path.
const WRAP: &str = r#"out=$("$@") || exit $?
printf '%s\n' "$out" | while read -r marker hosts type key rest; do
    if [ "$marker $type $key" = "@revoked TYPE BLOB" ]; then
        printf '%s\n' "@revoked $hosts STAND-IN"
    else
        printf '%s\n' "$marker $hosts $type $key $rest"
    fi
done
"#;

/// Another file that ssh reads.
pub(super) enum RevokedKeysFile {
    AsItIs,
    /// The file revokes the CA's key; this copy of it revokes the stand-in's.
    Copied(PathBuf),
}

/// Another file, as the stand-in needs it. ssh cannot read either what this user cannot read.
pub(super) fn stands_in(path: &str, stand_in: StandIn<'_>, name: &str) -> Result<RevokedKeysFile> {
    let Ok(contents) = Overlay(&StagedFiles::new()).read(Path::new(path)) else { return Ok(RevokedKeysFile::AsItIs) };
    if !lines(&contents).any(|line| revokes(line, stand_in.new).is_some()) {
        return Ok(RevokedKeysFile::AsItIs);
    }
    let replaced = |line: &[u8]| match revokes(line, stand_in.new) {
        Some(entry) => [b"@revoked ".as_slice(), entry.hosts, b" ", stand_in.key.as_bytes(), b"\n"].concat(),
        None => line.to_vec(),
    };
    let copy: Vec<u8> = lines(&contents).flat_map(replaced).collect();
    stand_in.scratch.write(name, &copy, 0o600).map(RevokedKeysFile::Copied)
}

/// Parses a line, if it revokes the CA's key.
fn revokes<'a>(line: &'a [u8], new: &NewLine<'_>) -> Option<Entry<'a>> {
    Entry::parse(line).filter(|entry| entry.marker == Marker::Revoked && entry.key() == new.entry.key())
}

/// The command with its arguments unchanged, wrapped for the stand-in. ssh runs it without a shell.
pub(super) fn wrapped(command: &str, stand_in: StandIn<'_>) -> Result<String> {
    let (key_type, blob) = stand_in.new.entry.key();
    let [key_type, blob] = [key_type, blob].map(|word| String::from_utf8_lossy(word).into_owned());
    let script = WRAP.replace("TYPE", &key_type).replace("BLOB", &blob).replace("STAND-IN", stand_in.key);
    let file = stand_in.scratch.write(
        &format!("command-{}-{}", stand_in.new.number, stand_in.tried),
        script.as_bytes(),
        0o600,
    )?;
    // ssh would take a percent sign for the beginning of a token.
    Ok(format!("/bin/sh \"{}\" {command}", file.display().to_string().replace('%', "%%")))
}

/// Why the ssh of this user refuses a host, however good its certificate is: the files that ssh reads revoke the
/// host's own key, or the CA's. None: nothing there does, or there is no ssh.
///
/// # Errors
/// ssh refuses its configuration, or a program cannot be run.
pub fn revocation(certificate: &Certificate, host: &Host) -> Result<Option<String>> {
    let Some(ssh) = Ssh::find() else { return Ok(None) };
    let settings = ssh.settings(host)?;
    let keys = [certificate.key(), certificate.signer()].map(|key| line_of(key.key_data()));
    let [own, authority] = keys;
    let (own, authority) = (own?, authority?);
    let scratch = Scratch::private()?;
    let file = scratch.write("presented-cert.pub", certificate.to_file().as_bytes(), 0o600)?;
    for list in settings.values("revokedhostkeys").iter().filter(|list| *list != "none") {
        let shown = format!("RevokedHostKeys of ssh's configuration is {}", neutral(list));
        match is_in_list(list, &[own.as_bytes(), authority.as_bytes()], &file)? {
            None => return Ok(Some(format!("{shown}, which cannot be read: then ssh refuses every host"))),
            Some(true) => return Ok(Some(format!("{shown}, which revokes this certificate or a key of it"))),
            Some(false) => {}
        }
    }
    let name = looked_up(host, &settings);
    // ssh tries again without the port.
    let bare = name.strip_prefix('[').and_then(|rest| rest.split_once("]:")).map(|(bare, _)| bare);
    for known in FILES.iter().flat_map(|keyword| settings.values(keyword)) {
        // ssh cannot read either what this user cannot read.
        let Ok(contents) = Overlay(&StagedFiles::new()).read(Path::new(&known)) else { continue };
        for (key, whose) in [(&own, "this host's own key"), (&authority, "the CA's key")] {
            let is_it = |line: &[u8]| {
                Entry::parse(line).is_some_and(|entry| entry.marker == Marker::Revoked && entry.has_key(key))
            };
            let numbers: Vec<usize> =
                lines(&contents).enumerate().filter(|(_, line)| is_it(line)).map(|(index, _)| index + 1).collect();
            if numbers.is_empty() {
                continue;
            }
            // `ssh-keygen` also finds hashed names.
            for name in std::iter::once(name.as_str()).chain(bare) {
                let asked = keygen(&["-F".as_ref(), name.as_ref(), "-f".as_ref(), known.as_ref()])?;
                if let Some(number) =
                    numbers.iter().find(|number| asked.stdout.lines().any(|line| says(line, **number)))
                {
                    return Ok(Some(format!(
                        "{} line {number} revokes {whose}, so that ssh refuses it",
                        neutral(&known)
                    )));
                }
            }
        }
    }
    Ok(None)
}

/// The lines that revoke keys in the files that the ssh of this user reads for a host; nothing where there is no ssh.
///
/// # Errors
/// ssh refuses its configuration.
pub fn revoking_lines(host: &Host) -> Result<Vec<u8>> {
    let Some(ssh) = Ssh::find() else { return Ok(Vec::new()) };
    let settings = ssh.settings(host)?;
    let mut found = Vec::new();
    for known in FILES.iter().flat_map(|keyword| settings.values(keyword)) {
        let contents = Overlay(&StagedFiles::new()).read(Path::new(&known)).unwrap_or_default();
        let revokes = |line: &&[u8]| Entry::parse(line).is_some_and(|entry| entry.marker == Marker::Revoked);
        for line in lines(&contents).filter(revokes) {
            found.extend_from_slice(line);
            found.push(b'\n');
        }
    }
    Ok(found)
}

/// Whether this output line of `ssh-keygen -F` says that the numbered line of the file revokes a key.
fn says(line: &str, number: usize) -> bool {
    line.starts_with("# Host ") && line.ends_with(&format!(" found: line {number} REVOKED"))
}

/// Whether a list for `RevokedHostKeys` has one of these keys, or the key or certificate in `file`. None: the list
/// cannot be read.
fn is_in_list(list: &str, keys: &[&[u8]], file: &Path) -> Result<Option<bool>> {
    let Ok(contents) = Overlay(&StagedFiles::new()).read(Path::new(list)) else { return Ok(None) };
    if is_list(&contents) {
        let asked = keygen(&["-Q".as_ref(), "-f".as_ref(), list.as_ref(), file])?;
        return Ok(Some(asked.stdout.contains("REVOKED")));
    }
    let words = |line: &[u8]| -> Vec<Vec<u8>> {
        line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).take(2).map(<[u8]>::to_vec).collect()
    };
    let keys: Vec<Vec<Vec<u8>>> = keys.iter().map(|key| words(key)).collect();
    Ok(Some(contents.split(|byte| *byte == b'\n').any(|line| keys.contains(&words(line)))))
}

impl Change {
    /// Refuses a line whose key ssh considers revoked.
    pub(super) fn refuse_revoked(
        &self,
        new: &NewLine<'_>,
        name: &str,
        settings: &Settings,
        scratch: &Scratch,
    ) -> Result<()> {
        let (key_type, blob) = new.entry.key();
        let key = [key_type, b" ", blob].concat();
        for (index, list) in settings.values("revokedhostkeys").iter().enumerate() {
            let own = format!("authority-{}-{index}.pub", new.number);
            let file = scratch.write(&own, &[&key, b"\n".as_slice()].concat(), 0o600)?;
            // If ssh cannot read the list, it refuses every host: the proof shows that.
            if is_in_list(list, &[&key], &file)? == Some(true) {
                return Err(self
                    .refused(format!("ssh refuses every host of this CA for {name}"))
                    .cause(format!(
                        "RevokedHostKeys of its configuration is {}, which has the CA's own key",
                        neutral(list)
                    ))
                    .next("see why it was revoked; if that is over, take the key out of that file"));
            }
        }
        Ok(())
    }

    /// Why ssh refused the stand-in, if that is known: what revokes the CA's key for this name.
    pub(super) fn revoked_by(&self, new: &NewLine<'_>, name: &str, settings: &Settings) -> Option<String> {
        let files = FILES.iter().flat_map(|keyword| settings.values(keyword));
        let line = files.filter(|file| Path::new(file) != self.path).find_map(|file| {
            let contents = Overlay(&StagedFiles::new()).read(Path::new(&file)).ok()?;
            let is_it = |line: &[u8]| revokes(line, new).is_some_and(|entry| matches(entry.hosts, name));
            let index = lines(&contents).position(is_it)?;
            Some(format!("{} line {} revokes the CA's own key", neutral(&file), index + 1))
        });
        let command = || settings.first(COMMAND).map(|command| format!("KnownHostsCommand {}", neutral(&command)));
        line.or_else(command)
    }
}
