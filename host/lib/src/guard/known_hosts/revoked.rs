//! What revokes the CA's own key: `RevokedHostKeys` of ssh's configuration, lines of other files, and what a
//! `KnownHostsCommand` prints. The CA that stands in for it in the proof has another key, which takes its place there.

use super::{
    Change, NewLine, keygen,
    options::{COMMAND, FILES, StandIn},
};
use crate::{
    error::Result,
    guard::config::krl::is_list,
    machine::{
        scratch::Scratch,
        ssh::Settings,
        sshd::tree::{Overlay, StagedFiles},
    },
    text::neutral,
};
use sshd_config::known_hosts::{Entry, Marker, lines, matches};
use std::path::{Path, PathBuf};

/// Has a program print its lines with the stand-in's key where they revoke the CA's. ssh ends where the program fails. No
/// other program is needed: ssh may run this without a search path.
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
    /// It revokes the CA's key; this copy of it revokes the stand-in's.
    Copied(PathBuf),
}

/// Another file for the stand-in. What this user cannot read, ssh does not read either.
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

/// A line, where it revokes the CA's key.
fn revokes<'a>(line: &'a [u8], new: &NewLine<'_>) -> Option<Entry<'a>> {
    Entry::parse(line).filter(|entry| entry.marker == Marker::Revoked && entry.key() == new.entry.key())
}

/// The command, with its arguments as they are, for the stand-in. ssh runs it without a shell.
pub(super) fn wrapped(command: &str, stand_in: StandIn<'_>) -> Result<String> {
    let (key_type, blob) = stand_in.new.entry.key();
    let [key_type, blob] = [key_type, blob].map(|word| String::from_utf8_lossy(word).into_owned());
    let script = WRAP.replace("TYPE", &key_type).replace("BLOB", &blob).replace("STAND-IN", stand_in.key);
    let file = stand_in.scratch.write(
        &format!("command-{}-{}", stand_in.new.number, stand_in.tried),
        script.as_bytes(),
        0o600,
    )?;
    // A percent sign would be the beginning of a token.
    Ok(format!("/bin/sh \"{}\" {command}", file.display().to_string().replace('%', "%%")))
}

impl Change {
    /// Refuses a line for a key that ssh takes for revoked.
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
            // One that ssh cannot read makes it refuse every host: the proof shows that.
            let Ok(contents) = Overlay(&StagedFiles::new()).read(Path::new(list)) else { continue };
            let has_key = if is_list(&contents) {
                let name = format!("authority-{}-{index}.pub", new.number);
                let file = scratch.write(&name, &[&key, b"\n".as_slice()].concat(), 0o600)?;
                let asked = keygen(&["-Q".as_ref(), "-f".as_ref(), list.as_ref(), &file])?;
                asked.stdout.contains("REVOKED")
            } else {
                contents.split(|byte| *byte == b'\n').any(|line| {
                    let words: Vec<&[u8]> =
                        line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
                    words.starts_with(&[key_type, blob])
                })
            };
            if has_key {
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

    /// Why ssh refused the stand-in, where that is known: what revokes the CA's key for this name.
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
