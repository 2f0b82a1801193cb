//! The server: one exchange with one client, which shows whether that client accepts the host key.

use super::{
    algorithm::HostKeyAlgorithm,
    auth::USERAUTH,
    cipher::{Guard, Letters},
    fault::{Choice, Fault},
    kex::answer,
    keys::{Derivation, Transcript},
    negotiate::{Abilities, Lists, Role, STRICT_CLIENT, STRICT_SERVER, Suite},
    proof::{kind_of, sign},
    stream::{Limits, Stream},
    transport::{Transport, message, unexpected},
    version::OURS,
    wire::{Reader, Writer, number},
};
use ssh_key::PrivateKey;

const THEIR_INIT: &str = "the client's KEXINIT";

/// A host key with which to serve.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The key; an RSA key has 2048 to 4096 bits.
    pub key: PrivateKey,
    /// A certificate of the key, in its wire form, to present instead where the client asks for one.
    pub certificate: Option<Vec<u8>>,
}

/// The report on one client: its version, and how far it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientReport {
    /// Its version line, in printable ASCII.
    pub client: String,
    /// How the host key was proved to it.
    pub algorithm: HostKeyAlgorithm,
    /// Whether it continued after that.
    pub accepted: bool,
}

/// Serves one client until it leaves. Nobody can log in.
///
/// # Errors
/// The client leaves before the host key is proved to it, or does not follow the protocol.
pub fn serve<S: Stream>(stream: S, identities: &[Identity], limits: &Limits) -> Result<ClientReport, Fault> {
    let host = Host::new(identities)?;
    let mut transport = Transport::new(stream, *limits);
    let (algorithm, client) = host.exchange(&mut transport)?;
    let (accepted, client) = (client.take_up_keys(&mut transport), client.version.escape_ascii().to_string());
    match accepted {
        Ok(()) => refuse_users(&mut transport)?,
        Err(fault) if is_leave(&fault) => return Ok(ClientReport { client, algorithm, accepted: false }),
        Err(fault) => return Err(fault),
    }
    Ok(ClientReport { client, algorithm, accepted: true })
}

fn is_leave(fault: &Fault) -> bool {
    matches!(fault, Fault::Closed { .. } | Fault::Reset | Fault::Disconnected { .. })
}

/// Refuses everything that a client asks for, until it leaves.
fn refuse_users<S: Stream>(transport: &mut Transport<S>) -> Result<(), Fault> {
    loop {
        let payload = match transport.receive() {
            Err(fault) if is_leave(&fault) => return Ok(()),
            payload => payload?,
        };
        let sent = match message(&payload) {
            number::EXT_INFO => Ok(()),
            number::SERVICE_REQUEST => {
                transport.send(&Writer::message(number::SERVICE_ACCEPT).string(USERAUTH).finish())
            }
            number::USERAUTH_REQUEST => {
                transport.send(&Writer::message(number::USERAUTH_FAILURE).string("publickey").byte(0).finish())
            }
            _ => return Err(unexpected(&payload, "a request")),
        };
        match sent {
            Err(fault) if is_leave(&fault) => return Ok(()),
            sent => sent?,
        }
    }
}

/// The identities of a server, and the algorithms that it offers.
pub(super) struct Host<'a> {
    identities: &'a [Identity],
    algorithms: Vec<HostKeyAlgorithm>,
    pub(super) abilities: Abilities,
}

/// A client to which a host key was proved.
pub(super) struct Client {
    pub(super) version: Vec<u8>,
    suite: Suite,
    keys: Derivation,
}

impl<'a> Host<'a> {
    pub(super) fn new(identities: &'a [Identity]) -> Result<Self, Fault> {
        let mut algorithms = Vec::new();
        for identity in identities {
            let named = kind_of(identity.key.public_key().key_data()).ok_or(Fault::Unable)?;
            let same = HostKeyAlgorithm::all().filter(|algorithm| algorithm.kind.key_type() == named.key_type());
            algorithms.extend(same.filter(|algorithm| !algorithm.certificate || identity.certificate.is_some()));
        }
        // Certificates first: a client that knows a CA prefers them.
        algorithms.sort_by_key(|algorithm| !algorithm.certificate);
        Ok(Self { identities, algorithms, abilities: Abilities::default() })
    }

    /// Makes the first exchange, up to the proof.
    pub(super) fn exchange<S: Stream>(
        &self,
        transport: &mut Transport<S>,
    ) -> Result<(HostKeyAlgorithm, Client), Fault> {
        let ours = self.abilities.init(&self.algorithms, &[STRICT_SERVER])?;
        transport.send_version()?;
        transport.send(&ours)?;
        let version = transport.receive_version(false)?;
        let theirs = transport.expect(number::KEXINIT, THEIR_INIT)?;
        let lists = Lists::parse(&theirs, THEIR_INIT)?;
        if lists.kex.iter().any(|name| name == STRICT_CLIENT) {
            transport.be_strict()?;
        }
        let (algorithm, keys, suite) = self.prove(transport, &lists, [&version, &theirs], &ours)?;
        Ok((algorithm, Client { version, suite, keys }))
    }

    fn prove<S: Stream>(
        &self,
        transport: &mut Transport<S>,
        lists: &Lists,
        [version, theirs]: [&[u8]; 2],
        ours: &[u8],
    ) -> Result<(HostKeyAlgorithm, Derivation, Suite), Fault> {
        let suite = Role::Server.agree(&self.abilities, lists)?;
        let algorithm = Role::Server.choose(&self.algorithms, &lists.host_keys, Choice::HostKey)?;
        let is_guess_right = lists.kex.first().map(String::as_str) == self.abilities.kex.first().map(named)
            && lists.host_keys.first().map(String::as_str) == self.algorithms.first().map(named);
        if lists.guessed && !is_guess_right {
            transport.receive()?;
        }
        let init = transport.expect(number::KEX_ECDH_INIT, "KEX_ECDH_INIT")?;
        let mut reader = Reader::after_number(&init, "the client's KEX_ECDH_INIT");
        let their_share = reader.string()?;
        reader.finish()?;
        let (share, secret) = answer(suite.kex, their_share)?;
        let (identity, blob) = self.presented(algorithm)?;
        let transcript = Transcript {
            versions: [version, OURS],
            inits: [theirs, ours],
            host_key: &blob,
            shares: [their_share, &share],
        };
        let hash = suite.kex.hash();
        let exchange = transcript.hash(hash, &secret);
        let signature = sign(algorithm.kind, &identity.key, &exchange)?;
        let reply = Writer::message(number::KEX_ECDH_REPLY).string(&blob).string(&share).string(signature);
        transport.send(&reply.finish())?;
        let session = exchange.clone();
        Ok((algorithm, Derivation { hash, secret, exchange, session }, suite))
    }

    /// The host key for an algorithm, and what is presented to the client.
    fn presented(&self, algorithm: HostKeyAlgorithm) -> Result<(&Identity, Vec<u8>), Fault> {
        let is = |identity: &&Identity| {
            let kind = kind_of(identity.key.public_key().key_data());
            kind.is_some_and(|kind| kind.key_type() == algorithm.kind.key_type())
                && (!algorithm.certificate || identity.certificate.is_some())
        };
        let identity = self.identities.iter().find(is).ok_or(Fault::NotOffered { algorithm })?;
        let certificate = identity.certificate.clone().filter(|_| algorithm.certificate);
        let blob = certificate.map_or_else(|| identity.key.public_key().to_bytes().map_err(|_| Fault::Unable), Ok)?;
        Ok((identity, blob))
    }
}

fn named<T: super::negotiate::Negotiable>(one: &T) -> &'static str {
    one.name()
}

impl Client {
    /// Makes both sides use the new keys. By this, the client accepts the host key.
    pub(super) fn take_up_keys<S: Stream>(&self, transport: &mut Transport<S>) -> Result<(), Fault> {
        let [from_client, to_client] = self.suite.protection;
        let [from_letters, to_letters] = Letters::BOTH;
        transport.change_outgoing(Guard::new(to_client, to_letters, &self.keys)?)?;
        transport.change_incoming(Guard::new(from_client, from_letters, &self.keys)?)
    }
}
