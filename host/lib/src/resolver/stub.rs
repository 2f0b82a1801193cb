//! The resolver of a static program: `/etc/hosts`, then the name servers of `/etc/resolv.conf`.

mod message;
mod settings;
#[cfg(test)]
mod tests;

use message::{Kind, Reply};
use ring::rand::{SecureRandom as _, SystemRandom};
use settings::Settings;
use std::{
    io::{self, Read as _, Write as _},
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

/// How long to wait for the second answer once the first one has addresses: some servers never answer for IPv6.
const SECOND_ANSWER: Duration = Duration::from_secs(1);
/// The time limit for all servers together, and for every name that the search list makes of the name.
const LONGEST: Duration = Duration::from_secs(30);

/// The machine's settings for name resolution.
pub(super) struct Resolver {
    /// The text of `/etc/hosts`.
    hosts: String,
    settings: Settings,
}

impl Resolver {
    /// A file that cannot be read counts as empty, as for the C library.
    #[cfg(feature = "static-resolver")]
    pub(super) fn of_this_machine() -> Self {
        let text = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        Self { hosts: text("/etc/hosts"), settings: Settings::of(&text("/etc/resolv.conf")) }
    }

    /// The addresses of a name. Those to which this machine has no route come last.
    pub(super) fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let mut found = settings::in_hosts(&self.hosts, name);
        if found.is_empty() && is_localhost(name) {
            found = vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        }
        if found.is_empty() {
            found = self.ask_servers(name, Instant::now() + LONGEST)?;
        }
        found.sort_by_key(|address| !has_route(*address));
        Ok(found)
    }

    fn ask_servers(&self, name: &str, end: Instant) -> io::Result<Vec<IpAddr>> {
        let mut failed = None;
        for candidate in self.settings.candidates(name) {
            match self.ask_for(&candidate, end) {
                Ok(found) if found.is_empty() => {}
                Ok(found) => return Ok(found),
                // Only this domain of the search list may have failed: try the others.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let servers: Vec<String> = self.settings.servers.iter().map(|server| server.ip().to_string()).collect();
        let servers = servers.join(", ");
        Err(io::Error::new(io::ErrorKind::NotFound, format!("the name has no address (asked: {servers})")))
    }

    /// The addresses of a complete name; empty if a server says that it has none.
    fn ask_for(&self, name: &str, end: Instant) -> io::Result<Vec<IpAddr>> {
        let mut failed = io::Error::from(io::ErrorKind::TimedOut);
        for _ in 0..self.settings.attempts {
            for server in &self.settings.servers {
                if Instant::now() >= end {
                    return Err(failed);
                }
                let about = |why: &str| io::Error::other(format!("the name server {} {why}", server.ip()));
                failed = match ask(*server, name, self.settings.timeout, end) {
                    Ok(replies) => match conclude(replies) {
                        Ok(found) => return Ok(found),
                        Err(why) => about(&why),
                    },
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
                    Err(error) => about(&format!("cannot be asked: {error}")),
                };
            }
        }
        Err(failed)
    }
}

/// RFC 6761, 6.3: these names are never sent to a server.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether there is a route to an address. Connecting a UDP socket sends nothing.
fn has_route(address: IpAddr) -> bool {
    socket_to(SocketAddr::new(address, 53)).is_ok()
}

fn socket_to(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    Ok(socket)
}

/// Collects the addresses from a server's replies. If there are none, the error says which answer is missing.
fn conclude(replies: Vec<Option<Reply>>) -> Result<Vec<IpAddr>, String> {
    let mut found = Vec::new();
    let mut missing = None;
    for reply in replies {
        match reply {
            Some(Reply::Addresses(addresses)) => found.extend(addresses),
            Some(Reply::NoSuchName) => {}
            Some(Reply::Failed(code)) => missing = Some(format!("answers with error {code}")),
            Some(Reply::Truncated) | None => missing = Some("does not answer".to_owned()),
        }
    }
    match missing {
        Some(why) if found.is_empty() => Err(why),
        Some(_) | None => Ok(found),
    }
}

/// Asks one server for the IPv6 and the IPv4 addresses.
fn ask(server: SocketAddr, name: &str, timeout: Duration, end: Instant) -> io::Result<Vec<Option<Reply>>> {
    let mut questions = Vec::new();
    for kind in [Kind::V6, Kind::V4] {
        let mut id = [0; 2];
        SystemRandom::new().fill(&mut id).map_err(|_| io::Error::other("there are no random numbers"))?;
        let question = message::question(id, name, kind);
        let unusable = || io::Error::new(io::ErrorKind::InvalidInput, "this cannot be a name in the DNS");
        questions.push(question.ok_or_else(unusable)?);
    }
    let soon = || end.min(Instant::now() + timeout);
    let mut replies = over_udp(server, &questions, soon())?;
    for (question, reply) in questions.iter().zip(&mut replies) {
        if matches!(reply, Some(Reply::Truncated)) {
            // If that fails, the answer for the other address family may be enough.
            *reply = over_tcp(server, question, soon()).unwrap_or(None);
        }
    }
    Ok(replies)
}

/// Ignores datagrams that answer none of the questions: anybody can send one.
fn over_udp(server: SocketAddr, questions: &[Vec<u8>], mut end: Instant) -> io::Result<Vec<Option<Reply>>> {
    let socket = socket_to(server)?;
    for question in questions {
        socket.send(question)?;
    }
    let mut replies: Vec<Option<Reply>> = questions.iter().map(|_| None).collect();
    let mut datagram = [0; 4096];
    while replies.iter().any(Option::is_none) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut datagram) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if replies.iter().all(Option::is_none) => return Err(error),
            Err(_) => break,
        };
        let answer = datagram.get(..length).unwrap_or_default();
        for (question, reply) in questions.iter().zip(&mut replies) {
            if reply.is_none() {
                *reply = message::read(question, answer);
            }
        }
        if replies.iter().flatten().any(|reply| matches!(reply, Reply::Addresses(found) if !found.is_empty())) {
            end = end.min(Instant::now() + SECOND_ANSWER);
        }
    }
    Ok(replies)
}

/// Asks again over TCP, if an answer did not fit into a datagram.
fn over_tcp(server: SocketAddr, question: &[u8], end: Instant) -> io::Result<Option<Reply>> {
    let mut stream = TcpStream::connect_timeout(&server, left_until(end)?)?;
    stream.set_write_timeout(Some(left_until(end)?))?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[length.to_be_bytes().as_slice(), question].concat())?;
    let mut length = [0; 2];
    fill(&mut length, &mut stream, end)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    fill(&mut answer, &mut stream, end)?;
    Ok(message::read(question, &answer).filter(|reply| !matches!(reply, Reply::Truncated)))
}

/// Fills the buffer. The deadline is for all of it, so a server gains no time by sending single bytes.
fn fill(mut room: &mut [u8], stream: &mut TcpStream, end: Instant) -> io::Result<()> {
    while !room.is_empty() {
        stream.set_read_timeout(Some(left_until(end)?))?;
        match stream.read(room) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => room = mem::take(&mut room).get_mut(length..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn left_until(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}
