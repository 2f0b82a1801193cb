//! Whether an agent holds the host keys with which sshd expects it to sign. sshd does not check that: it still offers a
//! key that its agent has lost, and every client that chooses this key fails to connect.

use super::{AgentError, exchange::PeerOwner, listed};
use crate::{
    machine::{
        keys::holds_private_key,
        sshd::{Effective, HostKey, host_key, host_key::Standing},
    },
    text::{neutral, shell_word},
};
use ssh_key::PublicKey;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Why the agent cannot sign with a host key.
#[derive(Debug)]
pub struct HostKeyFault {
    socket: PathBuf,
    /// `None`: the agent answers, but does not list this key.
    fault: Option<AgentError>,
}

impl HostKeyFault {
    /// The reason, as the end of a sentence.
    #[must_use]
    pub fn because(&self) -> String {
        let socket = neutral(&self.socket.to_string_lossy());
        match &self.fault {
            None => format!("sshd's agent at {socket} does not have its private key"),
            Some(fault) => format!("sshd's agent at {socket} {fault}"),
        }
    }

    /// What an operator can do about it.
    #[must_use]
    pub fn next(&self) -> String {
        let socket = shell_word(&self.socket.to_string_lossy());
        let restart = if self.fault.is_some() { "start that agent again and " } else { "" };
        format!(
            "{restart}give it the key (SSH_AUTH_SOCK={socket} ssh-add FILE), or take its HostKey line out of sshd's configuration"
        )
    }
}

/// Whether an agent has lost a host key with which sshd expects it to sign.
#[must_use]
pub fn lost(key: &HostKey) -> Option<HostKeyFault> {
    let Standing::InAgent { socket } = &key.standing else { return None };
    find(socket, &key.public.as_ref()?.key()?)
}

/// The types of the host keys that the agent has lost, except those of which sshd has another key that it can use.
#[must_use]
pub fn lost_types(effective: &Effective) -> Vec<String> {
    let socket = effective.values("hostkeyagent").first().filter(|path| path.starts_with('/'));
    let Some(socket) = socket.map(Path::new) else { return Vec::new() };
    let is_in_file = |path: &Path| fs::read(path).is_ok_and(|contents| holds_private_key(&contents));
    let keys = effective.host_keys.iter().filter_map(|path| Some((path, host_key::public(path)?)));
    let (lost, others): (Vec<_>, Vec<_>) =
        keys.partition(|(path, key)| !is_in_file(path) && find(socket, key).is_some());
    let algorithm = |(_, key): &(&PathBuf, PublicKey)| key.algorithm().to_string();
    let others: Vec<String> = others.iter().map(algorithm).collect();
    lost.iter().map(algorithm).filter(|one| !others.contains(one)).collect()
}

fn find(socket: &Path, key: &PublicKey) -> Option<HostKeyFault> {
    let lost = |fault| Some(HostKeyFault { socket: socket.to_owned(), fault });
    let blob = key.to_bytes().ok()?;
    match listed(socket, PeerOwner::Any) {
        Ok(held) if held.iter().any(|identity| identity.blob == blob) => None,
        Ok(_) => lost(None),
        Err(fault) => lost(Some(fault)),
    }
}
