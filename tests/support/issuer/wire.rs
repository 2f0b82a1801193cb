//! HTTP with one request per connection: what a provider reads and writes, and a user's browser.

use super::super::{https::Https, network::Network};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
};

/// A request to a provider.
#[derive(Debug)]
pub(super) struct ProviderRequest {
    pub(super) method: String,
    pub(super) path: String,
    values: Vec<(String, String)>,
}

impl ProviderRequest {
    pub(super) fn read(stream: &mut impl Read) -> Option<Self> {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            let mut piece = [0; 4096];
            let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
            bytes.extend_from_slice(&piece[..read]);
        };
        let text = String::from_utf8(bytes[..head].to_vec()).ok()?;
        let length = text
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = bytes[head..].to_vec();
        let mut rest = vec![0; length.unwrap_or(0_usize).saturating_sub(body.len())];
        stream.read_exact(&mut rest).ok()?;
        body.extend(rest);
        let mut words = text.lines().next()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let values = pairs(query).into_iter().chain(pairs(&String::from_utf8(body).ok()?)).collect();
        Some(Self { method, path: path.to_owned(), values })
    }

    /// A value from its query or its form; empty if there is none.
    pub(super) fn value(&self, name: &str) -> String {
        self.values.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(name), decoded(value))
    };
    query.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

/// A provider's answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    head: String,
    body: String,
}

impl Answer {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self { head: format!("{status} X\r\nContent-Type: application/json"), body: body.to_string() }
    }

    pub(super) fn page(status: u16, body: &str) -> Self {
        Self { head: format!("{status} X\r\nContent-Type: text/html"), body: body.to_owned() }
    }

    pub(super) fn redirect(to: &str) -> Self {
        Self { head: format!("302 Found\r\nLocation: {to}"), body: String::new() }
    }

    /// Adds this time of the provider's clock.
    pub(super) fn dated(mut self, at: Timestamp) -> Self {
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap();
        self.head.extend(["\r\nDate: ", &date]);
        self
    }

    pub(super) fn write(&self, stream: &mut impl Write) {
        let Self { head, body } = self;
        let text = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        drop(stream.write_all(text.as_bytes()));
    }
}

/// One page that a browser got.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) url: String,
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Opens an address on the loopback interface and follows redirects, as a browser does.
pub(crate) fn browse(network: &Network, url: &str) -> Vec<Visit> {
    browse_trusting(network, url, "")
}

/// The same, where the servers' certificates lead to this root.
pub(crate) fn browse_trusting(network: &Network, url: &str, root: &str) -> Vec<Visit> {
    let mut visits = Vec::new();
    let mut url = url.to_owned();
    loop {
        let visit = match url.strip_prefix("https://127.0.0.1:") {
            Some(rest) => visit_with_tls(network, rest, root),
            None => visit(network, &url),
        };
        let next = visit.head.lines().find_map(|line| line.strip_prefix("Location: ")).map(str::to_owned);
        visits.push(visit);
        match next {
            Some(next) if next.starts_with('/') => {
                let origin: String = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
                url = format!("{origin}{next}");
            }
            Some(next) => url = next,
            None => return visits,
        }
        assert!(visits.len() < 10, "{visits:?}");
    }
}

fn visit_with_tls(network: &Network, rest: &str, root: &str) -> Visit {
    let (port, path) = rest.split_once('/').unwrap();
    let server = Https {
        network: network.clone(),
        port: port.parse().unwrap(),
        name: "127.0.0.1".to_owned(),
        root: root.to_owned(),
    };
    let answer = server.get(&format!("/{path}")).unwrap();
    let body = String::from_utf8(answer.body).unwrap();
    Visit { url: format!("https://127.0.0.1:{rest}"), status: answer.status, head: answer.head, body }
}

pub(crate) fn visit(network: &Network, url: &str) -> Visit {
    let rest = url.strip_prefix("http://127.0.0.1:").unwrap_or_else(|| panic!("{url} leads elsewhere"));
    let (port, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut answer = String::new();
    network.on(|| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.parse().unwrap())).unwrap();
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").unwrap();
        stream.read_to_string(&mut answer).unwrap();
    });
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{url}: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Visit { url: url.to_owned(), status, head: head.to_owned(), body: body.to_owned() }
}
