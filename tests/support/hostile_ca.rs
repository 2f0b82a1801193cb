//! A CA that behaves correctly, except for one fault.

mod fault;
mod honest;
mod signer;
mod tests;
mod wire;

use super::{https::Https, network::Network, x509::Leaf};
pub(crate) use fault::{Connection, Fault, Lie, Manner};
use honest::{HonestCa, UNAUTHORIZED};
use jiff::{Span, Timestamp, tz::TimeZone};
use rustls::{ServerConfig, crypto::ring};
use serde_json::json;
use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use wire::{Answer, Answers, Pace, Request, serve};

/// The host name of the CA.
const NAME: &str = "127.0.0.1";
/// How long its TLS certificates are valid.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The CA; it ends when this is dropped. It checks no token, and has the provisioners `admin` (JWK) and `sshpop`.
#[derive(Debug)]
pub(crate) struct HostileCa {
    network: Network,
    port: u16,
    honest: Arc<HonestCa>,
    requests: Arc<Mutex<Vec<String>>>,
    end: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl HostileCa {
    /// Starts a CA with this fault.
    pub(crate) fn start(network: &Network, fault: Fault) -> Self {
        let honest = Arc::new(HonestCa::new(fault));
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let answers: Answers = {
            let (honest, requests) = (Arc::clone(&honest), Arc::clone(&requests));
            Arc::new(move |request| {
                requests.lock().unwrap().push(format!("{} {}", request.method, request.path));
                answer(&honest, fault, request)
            })
        };
        let socket = network.on(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let port = socket.local_addr().unwrap().port();
        let end = Arc::new(AtomicBool::new(false));
        let connection = if let Fault::Connection(connection) = fault { Some(connection) } else { None };
        let tls = Arc::new(configuration(&leaf(&honest, connection)));
        let listener = {
            let end = Arc::clone(&end);
            thread::spawn(move || serve(&socket, &tls, connection, &answers, &end))
        };
        Self { network: network.clone(), port, honest, requests, end, listener: Some(listener) }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{NAME}:{}", self.port)
    }

    /// The SHA-256 of its root certificate.
    pub(crate) fn fingerprint(&self) -> String {
        self.honest.tls.fingerprint()
    }

    /// Its root certificate.
    pub(crate) fn root(&self) -> String {
        self.honest.tls.root()
    }

    /// The private key of the provisioner `admin`, as an administrator keeps it in a file.
    pub(crate) fn provisioner_key(&self) -> String {
        self.honest.jwk.private().to_string()
    }

    /// The public key that signs the certificates of hosts (`host`) or users (`user`).
    pub(crate) fn authority(&self, kind: &str) -> String {
        self.honest.signer.public(&format!("{kind}_ca"))
    }

    /// The requests it has received, in order: method and path.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// A client that asks the CA directly.
    pub(crate) fn https(&self) -> Https {
        let root = self.honest.tls.root();
        Https { network: self.network.clone(), port: self.port, name: NAME.to_owned(), root }
    }
}

impl Drop for HostileCa {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        // Its thread notices that at the next connection.
        let woken = self.network.on(|| TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        drop(woken.unwrap());
        self.listener.take().unwrap().join().unwrap();
    }
}

fn answer(honest: &HonestCa, fault: Fault, request: &Request) -> Answer {
    let mut answer = honest.answer(request);
    if let Fault::Answer(path, manner) = fault
        && request.path.starts_with(path)
    {
        answer = changed(answer, manner);
    }
    let behind = if let Fault::Clock(seconds) = fault { seconds } else { 0 };
    let now = (Timestamp::now() + Span::new().seconds(behind)).to_zoned(TimeZone::UTC);
    answer.head.push(now.strftime("Date: %a, %d %b %Y %H:%M:%S GMT").to_string());
    answer
}

fn changed(mut honest: Answer, manner: Manner) -> Answer {
    let page = |status: u16, line: &str| Answer {
        status,
        head: vec!["Content-Type: text/html".to_owned(), line.to_owned()],
        body: format!("<!DOCTYPE html>\n<title>{status}</title>\n<h1>Something is not right</h1>\n").into_bytes(),
        pace: Pace::Whole,
    };
    match manner {
        Manner::Page(status) => page(status, "X-Served-By: a proxy"),
        Manner::Refused(status) => Answer::json(status, &json!({ "status": status, "message": UNAUTHORIZED })),
        Manner::Busy(seconds) => page(503, &format!("Retry-After: {seconds}")),
        Manner::Redirect(to) => page(302, &format!("Location: {to}")),
        Manner::Truncated => {
            honest.body.truncate(honest.body.len() / 2);
            honest
        }
        Manner::Cut => Answer { pace: Pace::Cut, ..honest },
        Manner::Endless => Answer { pace: Pace::Endless, ..honest },
        Manner::EndlessHead => Answer { pace: Pace::EndlessHead, ..honest },
        Manner::Slow(between) => Answer { pace: Pace::Slow(between), ..honest },
        Manner::Silent => Answer { pace: Pace::Silent, ..honest },
        Manner::Closed => Answer { pace: Pace::Closed, ..honest },
    }
}

fn leaf(honest: &HonestCa, fault: Option<Connection>) -> Leaf {
    match fault {
        Some(Connection::OtherRoot) => honest.others.leaf(&[NAME], DAY),
        Some(Connection::OtherName) => honest.tls.leaf(&["elsewhere.example.org"], DAY),
        Some(Connection::Expired) => honest.tls.expired(&[NAME]),
        Some(Connection::Closed | Connection::Silent | Connection::Plain) | None => honest.tls.leaf(&[NAME], DAY),
    }
}

fn configuration(leaf: &Leaf) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(leaf.chain.clone(), leaf.private())
        .unwrap()
}
