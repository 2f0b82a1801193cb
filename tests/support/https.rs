//! A minimal HTTPS client for a CA: it tests the servers of the tests before Warded uses them.

use super::network::Network;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, Stream,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::Value;
use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// How many bytes of an answer are read.
pub(crate) const ENOUGH: u64 = 1 << 20;

/// A server, and how to verify it.
#[derive(Clone, Debug)]
pub(crate) struct Https {
    pub(crate) network: Network,
    /// Its port, on the loopback interface.
    pub(crate) port: u16,
    /// The name that its certificate must have.
    pub(crate) name: String,
    /// The only trusted root.
    pub(crate) root: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Everything before the body.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body of an answer that must have this status.
    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

impl Https {
    /// Sends a GET request.
    pub(crate) fn get(&self, path: &str) -> io::Result<Answer> {
        self.ask("GET", path, "")
    }

    /// Sends a POST request.
    pub(crate) fn post(&self, path: &str, body: &Value) -> io::Result<Answer> {
        self.ask("POST", path, &body.to_string())
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let mut socket = self.network.on(|| TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.root.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(self.name.clone()).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut stream = Stream::new(&mut connection, &mut socket);
        // In HTTP/1.0 an answer ends with the connection, and its body is not chunked.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.name,
            body.len()
        )?;
        let mut received = Vec::new();
        stream.take(ENOUGH).read_to_end(&mut received)?;
        parse(&received).ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }
}

/// Parses an answer; `None` if it is not complete.
fn parse(received: &[u8]) -> Option<Answer> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let body = received[end + 4..].to_vec();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    if length.is_some_and(|length| length.parse() != Ok(body.len())) {
        return None;
    }
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head, body })
}
