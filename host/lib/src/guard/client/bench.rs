//! An sshd that serves one connection after the other, each in a process of its own (`sshd -i`): no port that
//! another user could reach, and no listener. The connection is TCP on an address of this machine, because sshd
//! looks the name of any other peer up; where tcp wrappers or a packet filter let none of those through, it is a pair
//! of Unix sockets, which neither asks about.
#![expect(clippy::disallowed_methods, reason = "makes a connection of this process with a program of its own")]

use crate::{
    error::Result,
    handshake::{Fault, Limits, Session, Stream},
    machine::{
        exec::{Program, Service},
        sshd::{self, Sshd},
    },
};
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// How long a connection of this process with itself may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The command line of such an sshd, and the addresses of a connection with it.
#[derive(Debug)]
pub struct Bench {
    program: Program,
    words: Vec<String>,
    /// The addresses that a connection can have at both ends; after them, it has none.
    addresses: Vec<IpAddr>,
    /// The one that was answered last, by its index.
    address: AtomicUsize,
}

#[derive(Debug)]
pub struct Connection {
    /// The session, up to the server's lists.
    pub session: Session<Box<dyn Stream>>,
    /// The sshd.
    pub service: Service,
}

impl Bench {
    /// For a command line of sshd's. Where sshd does not answer the first of `addresses` (tcp wrappers), the
    /// others are tried.
    #[must_use]
    pub fn new(words: Vec<String>, addresses: Vec<IpAddr>) -> Self {
        let (binary, arguments) = words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        let program = Program::new(binary).args(arguments).directory(sshd::DIRECTORY);
        Self { program, addresses, words, address: AtomicUsize::new(0) }
    }

    /// The command line.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Opens a session with an sshd of its own. The second value is what sshd said, where that fails.
    ///
    /// # Errors
    /// When sshd cannot be started.
    pub fn open(&self) -> Result<Result<Connection, (Fault, String)>> {
        let known = self.address.load(Ordering::Relaxed);
        let mut failed = Err((Fault::Timeout, String::new()));
        for index in known..=self.addresses.len() {
            match self.open_at(self.addresses.get(index).copied())? {
                Ok(connection) => {
                    self.address.store(index, Ordering::Relaxed);
                    return Ok(Ok(connection));
                }
                // The first fault is the one to tell of.
                Err(fault) if index == known => failed = Err(fault),
                Err(_) => {}
            }
        }
        Ok(failed)
    }

    fn open_at(&self, address: Option<IpAddr>) -> Result<Result<Connection, (Fault, String)>> {
        let ends = address.map_or_else(unix_pair, |address| {
            pair(address).map(|(ours, theirs)| -> Ends { (Box::new(ours), theirs.into()) })
        });
        let (ours, theirs) = match ends {
            Ok(ends) => ends,
            Err(error) => return Ok(Err((error.into(), String::new()))),
        };
        let service = self.program.serve(theirs)?;
        match Session::open(ours, &Limits::within(super::LIMIT)) {
            Ok(session) => Ok(Ok(Connection { session, service })),
            Err(fault) => Ok(Err((fault, service.end()))),
        }
    }
}

/// Our end of a connection, and sshd's.
type Ends = (Box<dyn Stream>, OwnedFd);

fn unix_pair() -> io::Result<Ends> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((Box::new(ours), theirs.into()))
}

/// Both ends of a TCP connection of this process with itself.
fn pair(address: IpAddr) -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((address, 0))?;
    let ours = TcpStream::connect_timeout(&listener.local_addr()?, PATIENCE)?;
    ours.set_nodelay(true)?;
    loop {
        // Another process of this machine can connect, too, while the listener is there.
        let (theirs, peer): (TcpStream, SocketAddr) = listener.accept()?;
        if peer == ours.local_addr()? {
            return Ok((ours, theirs));
        }
    }
}

/// The addresses at both ends of a connection with a bench: those of the listener after the usual one, where tcp
/// wrappers let nobody else in.
pub(in crate::guard) fn addresses(sshd: &Sshd) -> Vec<IpAddr> {
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let sockets = sshd.listener.iter().filter_map(|listener| listener.sockets.as_ref()).flatten();
    addresses.extend(sockets.map(|socket| socket.address.ip()).filter(|address| !address.is_unspecified()));
    let mut seen = BTreeMap::new();
    addresses.retain(|address| seen.insert(*address, ()).is_none());
    addresses
}

/// What has a bench take a throw-away key for that of each user, and run no program to look for one.
pub(in crate::guard) fn login_options(authorized: &Path) -> Vec<String> {
    vec![
        format!("AuthorizedKeysFile={}", authorized.display()),
        "AuthorizedKeysCommand=none".to_owned(),
        "StrictModes=no".to_owned(),
        "LogLevel=INFO".to_owned(),
    ]
}

/// An sshd that serves one connection. What stands first on its command line wins over everything later, so ours
/// does. It asks no resolver for the name of its peer, which is this machine: `AllowUsers` and `DenyUsers` see the address
/// alone, both of the sshd as it is and of the one as it would be.
pub(in crate::guard) fn command(sshd: &Sshd, config: &Path, options: &[String]) -> Vec<String> {
    let mut words: Vec<String> = vec![sshd.binary.display().to_string(), "-i".into(), "-e".into(), "-f".into()];
    words.extend([config.display().to_string(), "-o".into(), "UseDNS=no".into()]);
    words.extend(options.iter().flat_map(|option| ["-o".to_owned(), option.clone()]));
    words.extend(sshd.arguments.iter().cloned());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_one_connection() {
        let (ours, theirs) = pair([127, 0, 0, 1].into()).unwrap();
        assert_eq!(ours.local_addr().unwrap(), theirs.peer_addr().unwrap());
    }
}
