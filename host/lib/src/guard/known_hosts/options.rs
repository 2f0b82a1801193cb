//! The options with which the proof runs the real `ssh`, so that it trusts exactly whom it trusts without them.

use super::{
    Change, NewLine, host,
    revoked::{RevokedKeysFile, stands_in, wrapped},
    server::reached,
};
use crate::{
    error::Result,
    machine::{
        scratch::Scratch,
        ssh::{Settings, Ssh},
    },
};
use std::path::{Path, PathBuf};

/// The keywords besides files that decide whom ssh trusts. They may differ in the proof, because `Match host`
/// compares the address to which ssh connects.
const DECIDING: [&str; 4] = ["hostkeyalgorithms", "casignaturealgorithms", "revokedhostkeys", "requiredrsasize"];
/// The keywords that name files with lines.
pub(super) const FILES: [&str; 2] = ["userknownhostsfile", "globalknownhostsfile"];
/// The keyword that names a program which prints lines.
pub(super) const COMMAND: &str = "knownhostscommand";

/// The CA that stands in for ours in one of the new lines.
#[derive(Clone, Copy)]
pub(super) struct StandIn<'a> {
    pub(super) new: &'a NewLine<'a>,
    /// Its public key, type and Base64.
    pub(super) key: &'a str,
    /// The file in which the new line has that key.
    pub(super) file: &'a Path,
    pub(super) scratch: &'a Scratch,
    /// A word for what is tried, which goes into the names of copies.
    pub(super) tried: &'static str,
}

impl Change {
    /// The files that ssh reads, with the stand-in's file in place of this one, and those other deciding options that
    /// the test server's address would change. What revokes the CA's key, be it another file or the output of a
    /// program, is made to revoke the stand-in's key.
    pub(super) fn options(
        &self,
        ssh: &Ssh,
        name: &str,
        settings: &Settings,
        stand_in: StandIn<'_>,
    ) -> Result<Vec<String>> {
        let mut options = Vec::new();
        for keyword in FILES {
            options.push(self.files(keyword, settings, stand_in)?);
        }
        let there = ssh.settings_with(&host(name)?, &reached(name))?;
        match settings.first(COMMAND) {
            Some(command) => options.push(format!("{COMMAND}={}", wrapped(&command, stand_in)?)),
            // ssh before 8.5 does not know the keyword.
            None if there.first(COMMAND).is_some() => options.push(format!("{COMMAND}=none")),
            None => {}
        }
        let differing = DECIDING.iter().filter_map(|keyword| {
            let values = settings.values(keyword);
            let is_other = values != there.values(keyword);
            let quoted = |value: String| if value.contains(' ') { format!("\"{value}\"") } else { value };
            let values: Vec<String> = values.into_iter().map(quoted).collect();
            is_other
                .then(|| format!("{keyword}={}", if values.is_empty() { "none".to_owned() } else { values.join(" ") }))
        });
        options.extend(differing);
        Ok(options)
    }

    fn files(&self, keyword: &str, settings: &Settings, stand_in: StandIn<'_>) -> Result<String> {
        let mut files = Vec::new();
        for (index, path) in settings.values(keyword).into_iter().enumerate() {
            let read = if Path::new(&path) == self.path {
                stand_in.file.to_owned()
            } else {
                let copy = format!("{keyword}-{index}-{}-{}", stand_in.new.number, stand_in.tried);
                match stands_in(&path, stand_in, &copy)? {
                    RevokedKeysFile::Copied(copy) => copy,
                    RevokedKeysFile::AsItIs => PathBuf::from(path),
                }
            };
            files.push(format!("\"{}\"", read.display()));
        }
        Ok(format!("{keyword}={}", if files.is_empty() { "none".to_owned() } else { files.join(" ") }))
    }
}
