//! The names for which a CA's lines hold, in the files that ssh reads.

use super::{
    Change, host, looked_up,
    options::{COMMAND, FILES},
};
use crate::{
    error::{Error, Result},
    guard::client::known_hosts::line_of,
    machine::{
        ssh::{Host, Settings, Ssh},
        sshd::tree::{Overlay, StagedFiles},
    },
    text::neutral,
};
use ssh_key::PublicKey;
use sshd_config::known_hosts::{Entry, Marker, lines, matches};
use std::{net::IpAddr, path::PathBuf};

/// A line with a CA's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityLine {
    pub file: PathBuf,
    /// Its number in the file, from 1.
    pub number: usize,
    /// Its list of patterns.
    pub patterns: String,
}

/// The lines of ssh's files for one CA and one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAuthority {
    /// The name under which ssh looks the host up.
    pub name: String,
    /// All lines of that CA, whatever names they cover.
    pub lines: Vec<AuthorityLine>,
    /// Whether one of them covers the name.
    pub matches: bool,
}

impl KnownAuthority {
    /// Searches the files that the ssh of this user reads for a host. None: there is no ssh.
    ///
    /// # Errors
    /// ssh refuses its configuration.
    pub fn look(keys: &[PublicKey], host: &Host) -> Result<Option<Self>> {
        let Some(ssh) = Ssh::find() else { return Ok(None) };
        let keys = keys.iter().map(|key| line_of(key.key_data())).collect::<Result<Vec<_>>>()?;
        let settings = ssh.settings(host)?;
        let name = looked_up(host, &settings);
        let mut found = Vec::new();
        for file in FILES.iter().flat_map(|keyword| settings.values(keyword)).map(PathBuf::from) {
            // ssh cannot read either what this user cannot read.
            let Ok(contents) = Overlay(&StagedFiles::new()).read(&file) else { continue };
            for (index, line) in lines(&contents).enumerate() {
                let entry = Entry::parse(line).filter(|entry| entry.marker == Marker::Authority);
                let Some(entry) = entry.filter(|entry| keys.iter().any(|key| entry.has_key(key))) else { continue };
                let patterns = String::from_utf8_lossy(entry.hosts).into_owned();
                found.push(AuthorityLine { file: file.clone(), number: index + 1, patterns });
            }
        }
        // ssh tries again without the port.
        let bare =
            name.strip_prefix('[').and_then(|rest| rest.split_once("]:")).map_or(name.as_str(), |(bare, _)| bare);
        let holds =
            |line: &AuthorityLine| [name.as_str(), bare].iter().any(|name| matches(line.patterns.as_bytes(), name));
        let matches = found.iter().any(holds);
        Ok(Some(Self { matches, lines: found, name }))
    }
}

impl Change {
    /// What else makes ssh trust the CA of the lines that would be added.
    pub(super) fn others(&self, settings: &Settings) -> Vec<String> {
        let new: Vec<_> = self.coming().collect();
        let mut others = Vec::new();
        for file in FILES.iter().flat_map(|keyword| settings.values(keyword)).map(PathBuf::from) {
            let contents = if file == self.path {
                self.after.clone()
            } else {
                // ssh cannot read either what this user cannot read.
                Overlay(&StagedFiles::new()).read(&file).unwrap_or_default()
            };
            for (index, line) in lines(&contents).enumerate() {
                let entry = Entry::parse(line).filter(|entry| entry.marker == Marker::Authority);
                let Some(entry) = entry.filter(|entry| new.iter().any(|one| one.entry.key() == entry.key())) else {
                    continue;
                };
                if !new.iter().any(|one| one.entry.hosts.eq_ignore_ascii_case(entry.hosts)) {
                    let hosts = neutral(&String::from_utf8_lossy(entry.hosts));
                    others.push(format!("{} line {} ({hosts})", neutral(&file.to_string_lossy()), index + 1));
                }
            }
        }
        let command =
            settings.first(COMMAND).map(|command| format!("what KnownHostsCommand prints ({})", neutral(&command)));
        others.extend(command);
        others
    }

    /// The refusal where ssh looks a name up under another name, which the patterns do not cover.
    pub(super) fn looked_up_otherwise(&self, name: &str, looked_up: &str) -> Error {
        let error = self.refused(format!("ssh does not look {name} up by that name, but as {looked_up}"));
        let error = if host(name).is_ok_and(|host| host.name.parse::<IpAddr>().is_ok()) {
            error.cause(
                "ssh writes addresses in that form, or a HostName or HostKeyAlias line of its configuration says so",
            )
        } else {
            error.cause("a HostName or HostKeyAlias line of its configuration says so")
        };
        error.next("name the patterns for the names that ssh looks up")
    }
}
