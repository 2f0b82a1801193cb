//! User authentication by public key (RFC 4252, section 7).

use super::{
    algorithm::KeyKind,
    client::Session,
    fault::Fault,
    proof::{kind_of, sign},
    stream::Stream,
    transport::{message, unexpected},
    wire::{Reader, Writer, number},
};
use ssh_key::{PrivateKey, PublicKey};

/// The service for user authentication, and the service that users request after it.
pub(super) const USERAUTH: &str = "ssh-userauth";
const CONNECTION: &str = "ssh-connection";

/// How a login ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The user is in.
    Accepted,
    /// The user is not in, or not yet.
    Refused(Refusal),
}

/// A server's answer to the query whether it takes a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The server would let in a user who signs with that key, or ask for more.
    Acceptable,
    /// The server would not.
    Refused(Refusal),
}

/// A server's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The methods that can continue the login.
    pub methods: Vec<String>,
    /// Whether what was offered was accepted but is not enough.
    pub partial: bool,
}

impl<S: Stream> Session<S> {
    /// Logs a user in, after a first exchange. OpenSSH ends a session in which the user changes.
    ///
    /// # Errors
    /// There was no exchange, the key cannot sign, or the server does not answer as it should.
    pub fn authenticate(&mut self, user: &str, key: &PrivateKey) -> Result<Login, Fault> {
        self.start_service()?;
        let kind = self.user_kind(key.public_key()).ok_or(Fault::Unable)?;
        let blob = key.public_key().to_bytes().map_err(|_| Fault::Unable)?;
        self.log_in(user, (kind.signature_name(), &blob), (kind, key))
    }

    /// Logs a user in by a certificate in its wire form, for a key that is not RSA; after a first exchange.
    ///
    /// # Errors
    /// As [`Session::authenticate`].
    pub fn authenticate_by_certificate(
        &mut self,
        user: &str,
        certificate: &[u8],
        key: &PrivateKey,
    ) -> Result<Login, Fault> {
        self.start_service()?;
        let kind = self.user_kind(key.public_key()).ok_or(Fault::Unable)?;
        let name = type_of(certificate)?;
        self.log_in(user, (&name, certificate), (kind, key))
    }

    /// Asks whether a user could log in with a key, of which only the public half is needed; after a first exchange.
    ///
    /// # Errors
    /// There was no exchange, or the server does not answer as it should.
    pub fn query(&mut self, user: &str, key: &PublicKey) -> Result<Query, Fault> {
        self.start_service()?;
        let algorithm = key.algorithm();
        let name = self.user_kind(key).map_or(algorithm.as_str(), |kind| kind.signature_name());
        let blob = key.to_bytes().map_err(|_| Fault::Unable)?;
        self.ask(user, name, &blob)
    }

    /// Asks whether a user could log in by a certificate in its wire form, for a key that is not RSA; after a first
    /// exchange.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub fn query_certificate(&mut self, user: &str, certificate: &[u8]) -> Result<Query, Fault> {
        self.start_service()?;
        let name = type_of(certificate)?;
        self.ask(user, &name, certificate)
    }

    fn log_in(
        &mut self,
        user: &str,
        (name, blob): (&str, &[u8]),
        (kind, key): (KeyKind, &PrivateKey),
    ) -> Result<Login, Fault> {
        let request = request(user, true, name, blob);
        let id = self.id.as_deref().unwrap_or_default();
        let signature = sign(kind, key, &Writer::new().string(id).raw(&request).finish())?;
        self.transport.send(&Writer::new().raw(&request).string(signature).finish())?;
        let answer = self.receive_any()?;
        match message(&answer) {
            number::USERAUTH_SUCCESS => {
                Reader::after_number(&answer, "USERAUTH_SUCCESS").finish()?;
                Ok(Login::Accepted)
            }
            number::USERAUTH_FAILURE => refusal(&answer).map(Login::Refused),
            _ => Err(unexpected(&answer, "the answer to a login")),
        }
    }

    fn ask(&mut self, user: &str, name: &str, blob: &[u8]) -> Result<Query, Fault> {
        self.transport.send(&request(user, false, name, blob))?;
        let answer = self.receive_any()?;
        match message(&answer) {
            number::USERAUTH_PK_OK => {
                let mut reader = Reader::after_number(&answer, "USERAUTH_PK_OK");
                let is_same = reader.string()? == name.as_bytes() && reader.string()? == blob;
                if !is_same {
                    return Err(reader.malformed());
                }
                reader.finish()?;
                Ok(Query::Acceptable)
            }
            number::USERAUTH_FAILURE => refusal(&answer).map(Query::Refused),
            _ => Err(unexpected(&answer, "the answer to a query")),
        }
    }

    /// How a user's key signs; an RSA key uses the longest hash that the server accepts.
    fn user_kind(&self, key: &PublicKey) -> Option<KeyKind> {
        let kind = kind_of(key.key_data())?;
        let takes = |kind: KeyKind| {
            self.user_algorithms.as_ref().is_none_or(|names| names.iter().any(|name| name == kind.signature_name()))
        };
        let shorter = kind == KeyKind::RsaSha512 && !takes(kind) && takes(KeyKind::RsaSha256);
        Some(if shorter { KeyKind::RsaSha256 } else { kind })
    }

    fn start_service(&mut self) -> Result<(), Fault> {
        if self.id.is_none() {
            return Err(Fault::Unable);
        }
        self.take_up_keys()?;
        if self.service {
            return Ok(());
        }
        self.transport.send(&Writer::message(number::SERVICE_REQUEST).string(USERAUTH).finish())?;
        let answer = self.receive_beside(number::SERVICE_ACCEPT, "SERVICE_ACCEPT")?;
        let mut reader = Reader::after_number(&answer, "SERVICE_ACCEPT");
        if reader.string()? != USERAUTH.as_bytes() {
            return Err(reader.malformed());
        }
        reader.finish()?;
        self.service = true;
        Ok(())
    }
}

/// The type of a key or certificate, from its wire form.
fn type_of(blob: &[u8]) -> Result<String, Fault> {
    let name = Reader::new(blob, "a certificate").string()?;
    String::from_utf8(name.to_vec()).map_err(|_| Fault::Unable)
}

/// A public key authentication request, up to the signature.
fn request(user: &str, signed: bool, algorithm: &str, blob: &[u8]) -> Vec<u8> {
    let writer = Writer::message(number::USERAUTH_REQUEST).string(user).string(CONNECTION).string("publickey");
    writer.byte(u8::from(signed)).string(algorithm).string(blob).finish()
}

fn refusal(payload: &[u8]) -> Result<Refusal, Fault> {
    let mut reader = Reader::after_number(payload, "USERAUTH_FAILURE");
    let refusal = Refusal { methods: reader.names()?, partial: reader.boolean()? };
    reader.finish()?;
    Ok(refusal)
}
