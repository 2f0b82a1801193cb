//! A server that is honest up to the login, and lies in the exchange after it.

use crate::handshake::{
    Fault, HostKey, HostKeyAlgorithm, Identity, KeyKind, Login, Query, Session, Verdict,
    auth::USERAUTH,
    cipher::{Cipher, Guard, Letters},
    kex::{Kex, answer},
    keys::{Derivation, Transcript},
    negotiate::{Abilities, Lists, Role, STRICT_SERVER, Suite},
    proof::sign,
    testing::{identities, key, limits},
    transport::Transport,
    version::OURS,
    wire::{Reader, Writer, number},
};
use std::{os::unix::net::UnixStream, thread};

/// What is wrong with the second exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    Nothing,
    OtherSigner,
    /// The signature is that of the first exchange, by the right key.
    SignatureOfFirst,
    PlainKeyForCertificate,
    /// The lists have no algorithm for the key that the server offered before.
    AlgorithmNotListed,
    RequestBeforeReply,
    /// The keys are derived as if the session had begun with this exchange.
    KeysOfNewSession,
    /// Not a lie: requests that may come before its lists, one of which wants an answer.
    Requests,
}

const FIRST: HostKeyAlgorithm = HostKeyAlgorithm::key(KeyKind::Ed25519);

fn abilities() -> Abilities {
    Abilities { kex: vec![Kex::Curve25519], ciphers: vec![Cipher::Aes128Gcm], ..Abilities::default() }
}

/// A login after a first exchange, then an exchange in which the server lies, then a query under the new keys.
fn rekeyed(lie: Lie, algorithm: HostKeyAlgorithm) -> Result<HostKey, Fault> {
    let (client, server) = UnixStream::pair().unwrap();
    let user = key(KeyKind::Ed25519);
    thread::scope(|scope| {
        let server = scope.spawn(move || Server::new(server).serve(lie, algorithm));
        let met = || {
            let mut session = Session::open(client, &limits()).unwrap();
            session.exchange(FIRST).unwrap();
            assert_eq!(session.authenticate("root", &user).unwrap(), Login::Accepted);
            let proved = session.exchange(algorithm)?;
            assert!(matches!(session.query("root", user.public_key())?, Query::Refused(_)));
            Ok(proved)
        };
        let met = met();
        let served = server.join().unwrap();
        assert!(met.is_err() || served.is_ok(), "{served:?}");
        met
    })
}

struct Server {
    transport: Transport<UnixStream>,
    client: Vec<u8>,
    /// The hash of the first exchange, and its signature.
    first: Option<(Vec<u8>, Vec<u8>)>,
}

impl Server {
    fn new(stream: UnixStream) -> Self {
        Self { transport: Transport::new(stream, limits()), client: Vec::new(), first: None }
    }

    fn serve(mut self, lie: Lie, algorithm: HostKeyAlgorithm) -> Result<(), Fault> {
        let served = self.talk(lie, algorithm);
        // The client reads all that was sent before this end is closed.
        while self.transport.fill().is_ok() {}
        served
    }

    fn talk(&mut self, lie: Lie, algorithm: HostKeyAlgorithm) -> Result<(), Fault> {
        self.transport.send_version()?;
        self.exchange(Lie::Nothing, FIRST)?;
        self.log_in()?;
        if lie == Lie::Requests {
            for wants_answer in [0, 1] {
                let request = Writer::message(number::GLOBAL_REQUEST).string("hostkeys-00@openssh.com");
                self.transport.send(&request.byte(wants_answer).finish())?;
            }
        }
        self.exchange(lie, algorithm)?;
        if lie == Lie::KeysOfNewSession {
            return self.refuse();
        }
        if lie == Lie::Requests {
            // The answer comes under the new keys, and only once.
            self.transport.expect(number::REQUEST_FAILURE, "the answer to the request")?;
        }
        self.transport.expect(number::USERAUTH_REQUEST, "the question")?;
        self.refuse()
    }

    fn log_in(&mut self) -> Result<(), Fault> {
        self.transport.expect(number::SERVICE_REQUEST, "SERVICE_REQUEST")?;
        self.transport.send(&Writer::message(number::SERVICE_ACCEPT).string(USERAUTH).finish())?;
        self.transport.expect(number::USERAUTH_REQUEST, "USERAUTH_REQUEST")?;
        self.transport.send(&[number::USERAUTH_SUCCESS])
    }

    fn refuse(&mut self) -> Result<(), Fault> {
        self.transport.send(&Writer::message(number::USERAUTH_FAILURE).string("publickey").byte(0).finish())
    }

    fn exchange(&mut self, lie: Lie, algorithm: HostKeyAlgorithm) -> Result<(), Fault> {
        let (listed, signals) = match (lie, &self.first) {
            (Lie::AlgorithmNotListed, _) => (vec![FIRST], &[][..]),
            (_, Some(_)) => (vec![algorithm], &[][..]),
            (_, None) => (HostKeyAlgorithm::all().collect(), &[STRICT_SERVER][..]),
        };
        let ours = abilities().init(&listed, signals)?;
        self.transport.send(&ours)?;
        if self.first.is_none() {
            self.client = self.transport.receive_version(false)?;
        }
        let theirs = self.transport.expect(number::KEXINIT, "KEXINIT")?;
        if self.first.is_none() {
            self.transport.be_strict()?;
        }
        let suite = Role::Server.agree(&abilities(), &Lists::parse(&theirs, "KEXINIT")?)?;
        let init = self.transport.expect(number::KEX_ECDH_INIT, "KEX_ECDH_INIT")?;
        let their_share = Reader::after_number(&init, "KEX_ECDH_INIT").string()?;
        if lie == Lie::RequestBeforeReply {
            let request = Writer::message(number::GLOBAL_REQUEST).string("hostkeys-00@openssh.com").byte(0);
            self.transport.send(&request.finish())?;
        }
        let (share, secret) = answer(suite.kex, their_share)?;
        let is_it = |one: &&Identity| one.key.algorithm().as_str() == algorithm.kind.key_type();
        let identity = identities().iter().find(is_it).unwrap();
        let plain = || identity.key.public_key().to_bytes().unwrap();
        let is_certified = algorithm.certificate && lie != Lie::PlainKeyForCertificate;
        let blob = identity.certificate.clone().filter(|_| is_certified).unwrap_or_else(plain);
        let transcript = Transcript {
            versions: [&self.client, OURS],
            inits: [&theirs, &ours],
            host_key: &blob,
            shares: [their_share, &share],
        };
        let exchange = transcript.hash(suite.kex.hash(), &secret);
        let signer = if lie == Lie::OtherSigner { key(algorithm.kind) } else { identity.key.clone() };
        let honest = sign(algorithm.kind, &signer, &exchange)?;
        let (session, of_first) = self.first.get_or_insert_with(|| (exchange.clone(), honest.clone())).clone();
        let signature = if lie == Lie::SignatureOfFirst { of_first } else { honest };
        let reply = Writer::message(number::KEX_ECDH_REPLY).string(&blob).string(&share).string(signature);
        self.transport.send(&reply.finish())?;
        let session = if lie == Lie::KeysOfNewSession { exchange.clone() } else { session };
        self.take_up(suite, &Derivation { hash: suite.kex.hash(), secret, exchange, session })
    }

    fn take_up(&mut self, suite: Suite, keys: &Derivation) -> Result<(), Fault> {
        let [from_client, to_client] = suite.protection;
        let [from_letters, to_letters] = Letters::BOTH;
        self.transport.change_outgoing(Guard::new(to_client, to_letters, keys)?)?;
        self.transport.change_incoming(Guard::new(from_client, from_letters, keys)?)
    }
}

#[test]
fn the_truth_is_taken_after_a_login() {
    for algorithm in HostKeyAlgorithm::all() {
        for lie in [Lie::Nothing, Lie::Requests] {
            assert_eq!(rekeyed(lie, algorithm).unwrap().algorithm, algorithm, "{lie:?}");
        }
    }
}

#[test]
fn no_lie_is_taken_after_a_login() {
    for algorithm in HostKeyAlgorithm::all() {
        let mut lies = vec![Lie::OtherSigner, Lie::SignatureOfFirst, Lie::RequestBeforeReply, Lie::KeysOfNewSession];
        if algorithm.certificate {
            lies.push(Lie::PlainKeyForCertificate);
        }
        if algorithm != FIRST {
            lies.push(Lie::AlgorithmNotListed);
        }
        for lie in lies {
            let fault = rekeyed(lie, algorithm).expect_err(&format!("{algorithm} {lie:?}"));
            let is_named = match lie {
                Lie::OtherSigner | Lie::SignatureOfFirst => matches!(fault, Fault::Signature { .. }),
                Lie::PlainKeyForCertificate => matches!(fault, Fault::KeyType { .. }),
                Lie::AlgorithmNotListed => matches!(fault, Fault::NotOffered { .. }),
                Lie::RequestBeforeReply => {
                    matches!(fault, Fault::Unexpected { number: number::GLOBAL_REQUEST, .. })
                }
                Lie::KeysOfNewSession => matches!(fault, Fault::Integrity),
                Lie::Nothing | Lie::Requests => false,
            };
            assert!(is_named && fault.verdict() == Verdict::Wrong, "{algorithm} {lie:?}: {fault}");
        }
    }
}
