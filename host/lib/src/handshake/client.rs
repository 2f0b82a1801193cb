//! The client: it reads the server's lists and makes one exchange after the other.

use super::{
    algorithm::HostKeyAlgorithm,
    cipher::{Guard, Letters},
    fault::Fault,
    kex::Ephemeral,
    keys::{Derivation, Transcript},
    negotiate::{Abilities, EXT_INFO_CLIENT, Lists, Negotiable as _, Role, STRICT_CLIENT, STRICT_SERVER, Suite},
    proof::HostKey,
    stream::{Limits, Stream},
    transport::{Transport, message, unexpected},
    version::OURS,
    wire::{Reader, Writer, number},
};
use std::fmt;

const THEIR_INIT: &str = "the server's KEXINIT";
const THEIR_REPLY: &str = "the server's KEX_ECDH_REPLY";

/// What a server announces before it proves anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its version line, in printable ASCII.
    pub version: String,
    /// The host key algorithms that it offers, in its own order; Warded may not know some of them.
    pub host_keys: Vec<String>,
    /// Its key exchange methods, including the names of extensions in that list.
    pub kex: Vec<String>,
    /// The ciphers that it accepts for what it receives.
    pub ciphers: Vec<String>,
    /// The message authentication codes that it accepts for what it receives.
    pub macs: Vec<String>,
}

impl Server {
    /// Whether it offers to prove a host key by this algorithm.
    #[must_use]
    pub fn offers(&self, algorithm: HostKeyAlgorithm) -> bool {
        self.host_keys.iter().any(|name| name == algorithm.name())
    }

    fn new(version: &[u8], lists: &Lists) -> Self {
        let ([ciphers, _], [macs, _]) = (lists.ciphers.clone(), lists.macs.clone());
        let version = version.escape_ascii().to_string();
        Self { version, host_keys: lists.host_keys.clone(), kex: lists.kex.clone(), ciphers, macs }
    }
}

/// A session with a server.
pub struct Session<S> {
    pub(super) transport: Transport<S>,
    abilities: Abilities,
    server: Server,
    version: Vec<u8>,
    /// The server's KEXINIT, until the client answers it.
    init: Option<(Vec<u8>, Lists)>,
    /// The hash of the first exchange.
    pub(super) id: Option<Vec<u8>>,
    /// The keys of an exchange that was proved, until they are taken into use.
    pending: Option<(Suite, Derivation)>,
    pub(super) service: bool,
    /// Signature algorithms that the server accepts from users, if it said so.
    pub(super) user_algorithms: Option<Vec<String>>,
    /// How many global requests wait for a refusal, which must not be sent during an exchange.
    owed: usize,
}

impl<S: Stream> Session<S> {
    /// Reads a server's version and its lists, without asking for anything.
    ///
    /// # Errors
    /// The server does not answer, or not as SSH 2 requires.
    pub fn open(stream: S, limits: &Limits) -> Result<Self, Fault> {
        Self::with(stream, limits, Abilities::default())
    }

    pub(super) fn with(stream: S, limits: &Limits, abilities: Abilities) -> Result<Self, Fault> {
        let mut transport = Transport::new(stream, *limits);
        transport.send_version()?;
        let version = transport.receive_version(true)?;
        let init = transport.expect(number::KEXINIT, THEIR_INIT)?;
        let lists = Lists::parse(&init, THEIR_INIT)?;
        if lists.kex.iter().any(|name| name == STRICT_SERVER) {
            transport.be_strict()?;
        }
        let server = Server::new(&version, &lists);
        Ok(Self {
            transport,
            abilities,
            server,
            version,
            init: Some((init, lists)),
            id: None,
            pending: None,
            service: false,
            user_algorithms: None,
            owed: 0,
        })
    }

    /// What the server announced.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Makes an exchange in which the server proves a host key. OpenSSH makes a second one only after a login.
    ///
    /// # Errors
    /// [`Fault::NotOffered`] before anything is sent, if the server does not offer that algorithm: the session can go
    /// on. After any other fault the session is over.
    pub fn exchange(&mut self, algorithm: HostKeyAlgorithm) -> Result<HostKey, Fault> {
        if !self.server.offers(algorithm) {
            return Err(Fault::NotOffered { algorithm });
        }
        self.take_up_keys()?;
        let signals: &[_] = if self.id.is_none() { &[EXT_INFO_CLIENT, STRICT_CLIENT] } else { &[] };
        let ours = self.abilities.init(&[algorithm], signals)?;
        let (theirs, suite) = self.inits(algorithm, &ours)?;
        let ephemeral = Ephemeral::generate(suite.kex)?;
        let share = ephemeral.share.clone();
        self.transport.send(&Writer::message(number::KEX_ECDH_INIT).string(&share).finish())?;

        let reply = self.transport.expect(number::KEX_ECDH_REPLY, THEIR_REPLY)?;
        let mut reader = Reader::after_number(&reply, THEIR_REPLY);
        let (blob, their_share, signature) = (reader.string()?, reader.string()?, reader.string()?);
        reader.finish()?;
        let host_key = HostKey::parse(algorithm, blob)?;
        let secret = ephemeral.finish(their_share)?;
        let transcript = Transcript {
            versions: [OURS, &self.version],
            inits: [&ours, &theirs],
            host_key: blob,
            shares: [&share, their_share],
        };
        let hash = suite.kex.hash();
        let exchange = transcript.hash(hash, &secret);
        host_key.verify(&exchange, signature)?;
        let session = self.id.get_or_insert_with(|| exchange.clone()).clone();
        self.pending = Some((suite, Derivation { hash, secret, exchange, session }));
        Ok(host_key)
    }

    /// Exchanges the lists. Returns the server's KEXINIT and the algorithms agreed on. If the server's lists are
    /// known already, nothing is sent unless there is an agreement.
    fn inits(&mut self, algorithm: HostKeyAlgorithm, ours: &[u8]) -> Result<(Vec<u8>, Suite), Fault> {
        let (theirs, lists, suite) = if let Some((theirs, lists)) = self.init.take() {
            let suite = Role::Client.agree(&self.abilities, &lists)?;
            self.transport.send(ours)?;
            (theirs, lists, suite)
        } else {
            self.transport.send(ours)?;
            let theirs = self.receive_beside(number::KEXINIT, THEIR_INIT)?;
            let lists = Lists::parse(&theirs, THEIR_INIT)?;
            let suite = Role::Client.agree(&self.abilities, &lists)?;
            (theirs, lists, suite)
        };
        if !lists.host_keys.iter().any(|name| name == algorithm.name()) {
            return Err(Fault::NotOffered { algorithm });
        }
        let kex = self.abilities.kex.first().map(|kex| kex.name());
        let is_guess_right = lists.kex.first().map(String::as_str) == kex
            && lists.host_keys.first().map(String::as_str) == Some(algorithm.name());
        if lists.guessed && !is_guess_right {
            self.transport.receive()?;
        }
        Ok((theirs, suite))
    }

    /// Makes both sides use the keys of the last exchange, if they do not yet.
    pub(super) fn take_up_keys(&mut self) -> Result<(), Fault> {
        let Some((suite, keys)) = self.pending.take() else { return Ok(()) };
        let [to_server, from_server] = suite.protection;
        let [to_letters, from_letters] = Letters::BOTH;
        self.transport.change_outgoing(Guard::new(to_server, to_letters, &keys)?)?;
        self.transport.change_incoming(Guard::new(from_server, from_letters, &keys)?)?;
        for _ in 0..std::mem::take(&mut self.owed) {
            self.transport.send(&[number::REQUEST_FAILURE])?;
        }
        Ok(())
    }

    /// The next message, which has to have this number. Messages that a server may send at any time are skipped.
    pub(super) fn receive_beside(&mut self, number: u8, awaited: &'static str) -> Result<Vec<u8>, Fault> {
        let payload = self.receive_any()?;
        if message(&payload) == number { Ok(payload) } else { Err(unexpected(&payload, awaited)) }
    }

    /// The next message, except for those that a server may send at any time.
    pub(super) fn receive_any(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            let payload = self.transport.receive()?;
            match message(&payload) {
                number::EXT_INFO => self.extensions(&payload)?,
                number::USERAUTH_BANNER => {}
                number::GLOBAL_REQUEST => {
                    let mut reader = Reader::after_number(&payload, "GLOBAL_REQUEST");
                    reader.string()?;
                    self.owed += usize::from(reader.boolean()?);
                }
                _ => return Ok(payload),
            }
        }
    }

    /// Reads EXT_INFO (RFC 8308).
    fn extensions(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let mut reader = Reader::after_number(payload, "EXT_INFO");
        for _ in 0..reader.u32()? {
            let (name, value) = (reader.string()?, reader.string()?);
            if name == b"server-sig-algs" {
                let list = Writer::new().string(value).finish();
                self.user_algorithms = Some(Reader::new(&list, "EXT_INFO").names()?);
            }
        }
        reader.finish()
    }
}

impl<S> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("server", &self.server).finish_non_exhaustive()
    }
}
