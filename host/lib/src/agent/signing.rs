//! Signing through an agent, for a host key whose private half is not in a file (`HostKeyAgent`).

use super::{
    AgentError, FAILURES,
    exchange::{PeerOwner, exchange},
};
use crate::{
    handshake::{self, KeyKind},
    machine::keys::{KeyError, signing::Sign},
};
use ssh_agent_lib::proto::{PublicCredential, Request, SignRequest};
use ssh_encoding::{Decode as _, Encode as _};
use ssh_key::PublicKey;
use std::path::{Path, PathBuf};

/// The message number of the answer that contains a signature.
const SIGNATURE: u8 = 14;
/// The flag that requests RSA with SHA-256 (`SSH_AGENT_RSA_SHA2_256`).
const RSA_SHA256: u32 = 2;

/// A key whose private half an agent has. The agent receives nothing but messages to sign, so it may belong to any
/// user.
#[derive(Clone, Debug)]
pub struct AgentKey {
    socket: PathBuf,
    key: PublicKey,
    kind: KeyKind,
}

impl AgentKey {
    /// The key in the agent that listens at this socket. The agent is not contacted yet.
    ///
    /// # Errors
    /// Signing with keys of this type is not supported.
    pub fn new(socket: &Path, key: &PublicKey) -> Result<Self, KeyError> {
        let kind = match handshake::kind_of(key.key_data()) {
            Some(KeyKind::RsaSha512) => KeyKind::RsaSha256,
            Some(kind) => kind,
            None => return Err(KeyError::UnknownType(key.algorithm().to_string())),
        };
        Ok(Self { socket: socket.to_owned(), key: key.clone(), kind })
    }

    fn ask(&self, message: &[u8]) -> Result<Vec<u8>, AgentError> {
        let request = Request::SignRequest(SignRequest {
            credential: PublicCredential::Key(self.key.key_data().clone()),
            data: message.to_vec(),
            flags: if self.kind == KeyKind::RsaSha256 { RSA_SHA256 } else { 0 },
        });
        let mut encoded = Vec::new();
        request.encode_prefixed(&mut encoded).map_err(|_| AgentError::NotEncodable)?;
        let answer = exchange(&self.socket, &encoded, PeerOwner::Any)?;
        let signature = match answer.split_first() {
            Some((&SIGNATURE, mut rest)) => Vec::<u8>::decode(&mut rest).map_err(|_| AgentError::Malformed)?,
            Some((number, _)) if FAILURES.contains(number) => return Err(AgentError::Unsigned),
            Some((&number, _)) => return Err(AgentError::Unexpected { number }),
            None => return Err(AgentError::Malformed),
        };
        handshake::checked(self.kind, &self.key, message, &signature).ok_or(AgentError::WrongSignature)
    }
}

impl Sign for AgentKey {
    fn jws_algorithm(&self) -> &'static str {
        match self.kind {
            KeyKind::Ed25519 => "EdDSA",
            KeyKind::EcdsaP256 => "ES256",
            KeyKind::EcdsaP384 => "ES384",
            KeyKind::EcdsaP521 => "ES512",
            KeyKind::RsaSha256 | KeyKind::RsaSha512 => "RS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.ask(message)
            .map_err(|error| KeyError::Signature(format!("the agent at {} {error}", self.socket.display())))
    }

    fn next(&self) -> String {
        format!("see that this agent runs and has the key: SSH_AUTH_SOCK={} ssh-add -L", self.socket.display())
    }
}

#[cfg(test)]
mod tests;
