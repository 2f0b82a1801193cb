//! For which names a CA's lines hold, in the files that ssh reads.

use super::{looked_up, options::FILES};
use crate::{
    error::Result,
    guard::client::known_hosts::line_of,
    machine::{
        ssh::{Host, Ssh},
        sshd::tree::{Overlay, StagedFiles},
    },
};
use ssh_key::PublicKey;
use sshd_config::known_hosts::{Entry, Marker, lines, matches};
use std::path::PathBuf;

/// A line with a CA's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityLine {
    pub file: PathBuf,
    /// Its number in there, from 1 on.
    pub number: usize,
    /// Its list of patterns.
    pub patterns: String,
}

/// The lines of ssh's files for one CA and one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAuthority {
    /// The name by which ssh looks the host up.
    pub name: String,
    /// All lines of that CA, for whatever names.
    pub lines: Vec<AuthorityLine>,
    /// Whether one of them holds for the name.
    pub matches: bool,
}

impl KnownAuthority {
    /// Looks into the files that the ssh of this user reads for a host; none: there is no ssh.
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
            // What this user cannot read, ssh does not read either.
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
