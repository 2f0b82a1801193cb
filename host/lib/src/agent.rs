//! A person's ssh-agent, as a client of it: which one `ssh` uses, what it holds, and a certificate put into it; and
//! sshd's, which signs with host keys (`signing`).
//!
//! Agents differ in what they take, and some say that they took what they threw away. So only a listing shows what an
//! agent has. `ssh-agent-lib` encodes the requests (draft-miller-ssh-agent); the stream and its bounds are `exchange`'s,
//! and a listing is read here, entry by entry, so that a key of an unknown type hides no other.

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

/// Numbers of the protocol's answers.
const SUCCESS: u8 = 6;
const IDENTITIES: u8 = 12;
/// FAILURE, and the one for extensions; 102 is what some agents of old answer.
const FAILURES: [u8; 3] = [5, 28, 102];

/// An agent at its socket. Each request has a connection of its own.
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
    /// The agent's words for it.
    pub comment: String,
}

/// What an agent is asked to do with an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constraints {
    /// To forget it after so many seconds.
    pub lifetime: Option<u32>,
    /// To ask the person at each use.
    pub confirm: bool,
}

impl Identity {
    /// Its certificate, if it is one that can be read.
    #[must_use]
    pub fn certificate(&self) -> Option<Certificate> {
        Certificate::from_bytes(&self.blob).ok()
    }
}

impl Agent {
    /// The agent that listens at this socket. Nothing is sent to it.
    ///
    /// # Errors
    /// Nobody listens there, or another user's process does.
    pub fn open(socket: &Path) -> Result<Self, AgentError> {
        Ok(Self { socket: socket.to_owned(), peer: exchange::peer(socket)? })
    }

    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The process that listens there.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// All that it holds.
    ///
    /// # Errors
    /// It does not answer, or not as an agent does.
    pub fn list(&self) -> Result<Vec<Identity>, AgentError> {
        listed(&self.socket, PeerOwner::Own)
    }

    /// Asks it to take a certificate with its private key. That it agrees proves nothing: list it.
    ///
    /// # Errors
    /// It refuses, or does not answer.
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

    /// Whether it is OpenSSH's agent and locked: such a one shows no identity and refuses every request (`process_message` in
    /// ssh-agent.c). So where it shows none it is asked to take a throw-away key, for a second. No other agent is asked that:
    /// some keep each key for good.
    ///
    /// # Errors
    /// It does not answer.
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
                // It forgets it after a second anyway.
                drop(self.remove_key(key.public_key()));
                Ok(false)
            }
            Err(AgentError::Refused) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Asks it to forget a certificate and its key.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub fn remove(&self, certificate: &Certificate) -> Result<(), AgentError> {
        let certificate = ssh_key::Certificate::try_from(certificate).map_err(|_| AgentError::NotEncodable)?;
        self.forget(PublicCredential::Cert(Box::new(certificate)))
    }

    /// Asks it to forget a key without a certificate.
    ///
    /// # Errors
    /// It refuses, or does not answer.
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

/// All that the agent at a socket holds.
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
    // In one piece: growing would leave copies of a private key behind.
    let mut message = Zeroizing::new(Vec::with_capacity(length));
    request.encode_prefixed(&mut *message).map_err(|_| AgentError::NotEncodable)?;
    exchange(socket, &message, whose)
}

/// None: the certificate would not be sent byte by byte as the CA signed it.
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

/// The entries of a listing; none where it is cut off.
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
