//! A client of ssh-agent. It finds a person's agent as `ssh` does, lists what that agent holds, and adds a certificate
//! to it. `signing` uses the agent that signs with host keys for sshd.
//!
//! Agents accept different kinds of key, and some report success although they discarded what they were given. So only
//! a listing shows what an agent holds. `ssh-agent-lib` encodes the requests (draft-miller-ssh-agent). `exchange` does
//! the I/O, with a deadline and a size limit. This module itself decodes a listing, entry by entry, so that a key of an
//! unknown type does not hide the others.

mod chosen;
mod exchange;
mod fault;
mod host_key;
mod signing;
#[cfg(test)]
mod tests;

pub use chosen::{AgentChoice, NoAgentReason, chosen};
pub use exchange::Peer;
pub use fault::AgentError;
pub use host_key::{HostKeyFault, lost, lost_types};
pub use signing::AgentKey;

use crate::ca::Certificate;
use exchange::{PeerOwner, exchange};
use ssh_agent_lib::proto::{
    AddIdentity, AddIdentityConstrained, KeyConstraint, PrivateCredential, PrivateKeyData, PublicCredential,
    RemoveIdentity, Request,
};
use ssh_encoding::{Decode as _, Encode as _};
use ssh_key::{Algorithm, PrivateKey, PublicKey, private::KeypairData, rand_core::OsRng};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Message numbers of the protocol's answers.
const SUCCESS: u8 = 6;
const IDENTITIES: u8 = 12;
/// `SSH_AGENT_FAILURE`, `SSH_AGENT_EXTENSION_FAILURE`, and 102, which some old agents send.
const FAILURES: [u8; 3] = [5, 28, 102];

/// An agent, known by its socket. Each request opens a connection of its own.
#[derive(Clone, Debug)]
pub struct Agent {
    socket: PathBuf,
    peer: Peer,
}

/// One of the identities in an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its public key or certificate, as it is on the wire.
    pub blob: Vec<u8>,
    /// The agent's comment on it.
    pub comment: String,
}

/// The constraints under which an agent is to hold an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constraints {
    /// The agent forgets the identity after this many seconds.
    pub lifetime: Option<u32>,
    /// The agent asks the person at each use.
    pub confirm: bool,
}

impl Identity {
    /// Its certificate, if it is a certificate and can be parsed.
    #[must_use]
    pub fn certificate(&self) -> Option<Certificate> {
        Certificate::from_bytes(&self.blob).ok()
    }
}

impl Agent {
    /// The agent that listens at this socket. Connects once to see whose process it is, but sends nothing.
    ///
    /// # Errors
    /// Nothing listens there, or a process of another user does.
    pub fn open(socket: &Path) -> Result<Self, AgentError> {
        Ok(Self { socket: socket.to_owned(), peer: exchange::peer(socket)? })
    }

    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The process that listens at the socket.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// All identities that the agent holds.
    ///
    /// # Errors
    /// The agent does not answer, or its answer is not valid in the protocol.
    pub fn list(&self) -> Result<Vec<Identity>, AgentError> {
        listed(&self.socket, PeerOwner::Own)
    }

    /// Asks the agent to add a certificate with its private key. Success proves nothing: list the agent to see whether
    /// it is there.
    ///
    /// # Errors
    /// The agent refuses, or does not answer.
    pub fn add(&self, certificate: &Certificate, key: &PrivateKey, constraints: Constraints) -> Result<(), AgentError> {
        let identity = AddIdentity { credential: credential(certificate, key).ok_or(AgentError::NotEncodable)? };
        let lifetime = constraints.lifetime.map(KeyConstraint::Lifetime);
        let constraints: Vec<_> =
            lifetime.into_iter().chain(constraints.confirm.then_some(KeyConstraint::Confirm)).collect();
        self.command(&if constraints.is_empty() {
            Request::AddIdentity(identity)
        } else {
            Request::AddIdConstrained(AddIdentityConstrained { identity, constraints })
        })
    }

    /// Whether this is OpenSSH's agent, and locked: a locked one lists no identity and refuses every request
    /// (`process_message` in ssh-agent.c). So if OpenSSH's agent lists nothing, this asks it to add a throw-away key,
    /// for one second. Other agents are not asked: some keep every key for good.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn is_locked(&self, held: &[Identity]) -> Result<bool, AgentError> {
        if !held.is_empty() || !self.peer.is_ssh_agent() {
            return Ok(false);
        }
        let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(|_| AgentError::NotEncodable)?;
        let privkey = key.key_data().clone();
        let identity = AddIdentity { credential: PrivateCredential::Key { privkey, comment: String::new() } };
        let constraints = vec![KeyConstraint::Lifetime(1)];
        match self.command(&Request::AddIdConstrained(AddIdentityConstrained { identity, constraints })) {
            Ok(()) => {
                // If this fails, the agent still forgets the key after a second.
                drop(self.remove_key(key.public_key()));
                Ok(false)
            }
            Err(AgentError::Refused) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Asks the agent to forget a certificate and its key.
    ///
    /// # Errors
    /// The agent refuses, or does not answer.
    pub fn remove(&self, certificate: &Certificate) -> Result<(), AgentError> {
        let certificate = ssh_key::Certificate::try_from(certificate).map_err(|_| AgentError::NotEncodable)?;
        self.forget(PublicCredential::Cert(Box::new(certificate)))
    }

    /// Asks the agent to forget a key that has no certificate.
    ///
    /// # Errors
    /// The agent refuses, or does not answer.
    pub fn remove_key(&self, key: &PublicKey) -> Result<(), AgentError> {
        self.forget(PublicCredential::Key(key.key_data().clone()))
    }

    fn forget(&self, credential: PublicCredential) -> Result<(), AgentError> {
        self.command(&Request::RemoveIdentity(RemoveIdentity { credential }))
    }

    fn command(&self, request: &Request) -> Result<(), AgentError> {
        match self.ask(request)?.first() {
            Some(&SUCCESS) => Ok(()),
            Some(number) if FAILURES.contains(number) => Err(AgentError::Refused),
            Some(&number) => Err(AgentError::Unexpected { number }),
            None => Err(AgentError::Malformed),
        }
    }

    fn ask(&self, request: &Request) -> Result<Vec<u8>, AgentError> {
        ask(&self.socket, request, PeerOwner::Own)
    }
}

/// All identities that the agent at a socket holds.
fn listed(socket: &Path, whose: PeerOwner) -> Result<Vec<Identity>, AgentError> {
    let answer = ask(socket, &Request::RequestIdentities, whose)?;
    match answer.split_first() {
        Some((&IDENTITIES, list)) => identities(list).ok_or(AgentError::Malformed),
        Some((number, _)) if FAILURES.contains(number) => Err(AgentError::Unlisted),
        Some((&number, _)) => Err(AgentError::Unexpected { number }),
        None => Err(AgentError::Malformed),
    }
}

fn ask(socket: &Path, request: &Request, whose: PeerOwner) -> Result<Vec<u8>, AgentError> {
    let length = request.encoded_len_prefixed().map_err(|_| AgentError::NotEncodable)?;
    // Allocated at full size: growing would leave copies of a private key in freed memory.
    let mut message = Zeroizing::new(Vec::with_capacity(length));
    request.encode_prefixed(&mut *message).map_err(|_| AgentError::NotEncodable)?;
    exchange(socket, &message, whose)
}

/// `None`: the encoding would differ from the bytes that the CA signed, or the key is not an Ed25519 key.
fn credential(certificate: &Certificate, key: &PrivateKey) -> Option<PrivateCredential> {
    let encoded = ssh_key::Certificate::try_from(certificate).ok()?;
    if encoded.to_bytes().ok()? != certificate.bytes() {
        return None;
    }
    let KeypairData::Ed25519(pair) = key.key_data() else { return None };
    Some(PrivateCredential::Cert {
        algorithm: encoded.algorithm(),
        certificate: Box::new(encoded),
        privkey: PrivateKeyData::Ed25519(pair.clone()),
        comment: key.comment().to_owned(),
    })
}

/// The entries of a listing; `None` if it is truncated.
fn identities(mut list: &[u8]) -> Option<Vec<Identity>> {
    let reader = &mut list;
    let count = u32::decode(reader).ok()?;
    let mut identities = Vec::new();
    for _ in 0..count {
        let (blob, comment) = (Vec::<u8>::decode(reader).ok()?, Vec::<u8>::decode(reader).ok()?);
        identities.push(Identity { blob, comment: String::from_utf8_lossy(&comment).into_owned() });
    }
    Some(identities)
}
