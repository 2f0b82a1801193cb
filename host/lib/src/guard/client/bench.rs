//! An sshd that serves one connection after the other, each in a process of its own (`sshd -i`): it has no listener,
//! and no port that another user could reach. The connection is TCP on an address of this machine, because sshd looks
//! up the name of any other peer. Where tcp wrappers or a packet filter let no such connection through, it is a pair
//! of Unix sockets, which neither of them checks.
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
    /// The addresses that a connection can have at both ends. When all of them fail, a connection has no address.
    addresses: Vec<IpAddr>,
    /// The index of the address on which sshd answered last.
    address: AtomicUsize,
}

#[derive(Debug)]
pub struct Connection {
    /// The session, after reading the server's lists.
    pub session: Session<Box<dyn Stream>>,
    /// The sshd.
    pub service: Service,
}

impl Bench {
    /// A bench for a command line of sshd's. If sshd does not answer on the first of `addresses` (tcp wrappers), it
    /// tries the others.
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

    /// Opens a session with an sshd process of its own. If that fails, the inner error also has what sshd printed.
    ///
    /// # Errors
    /// sshd cannot be started.
    pub fn open(&self) -> Result<Result<Connection, (Fault, String)>> {
        let known = self.address.load(Ordering::Relaxed);
        let mut failed = Err((Fault::Timeout, String::new()));
        for index in known..=self.addresses.len() {
            match self.open_at(self.addresses.get(index).copied())? {
                Ok(connection) => {
                    self.address.store(index, Ordering::Relaxed);
                    return Ok(Ok(connection));
                }
                // The first fault is the one to report.
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
        // While the listener exists, another process of this machine can connect, too.
        let (theirs, peer): (TcpStream, SocketAddr) = listener.accept()?;
        if peer == ours.local_addr()? {
            return Ok((ours, theirs));
        }
    }
}

/// The addresses for both ends of a connection with a bench: the usual one, then the listener's, for the case that
/// tcp wrappers let nobody else in.
pub(in crate::guard) fn addresses(sshd: &Sshd) -> Vec<IpAddr> {
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let sockets = sshd.listener.iter().filter_map(|listener| listener.sockets.as_ref()).flatten();
    addresses.extend(sockets.map(|socket| socket.address.ip()).filter(|address| !address.is_unspecified()));
    let mut seen = BTreeMap::new();
    addresses.retain(|address| seen.insert(*address, ()).is_none());
    addresses
}

/// The options that make a bench accept a throw-away key for each user, and run no program to look for keys.
pub(in crate::guard) fn login_options(authorized: &Path) -> Vec<String> {
    vec![
        format!("AuthorizedKeysFile={}", authorized.display()),
        "AuthorizedKeysCommand=none".to_owned(),
        "StrictModes=no".to_owned(),
        "LogLevel=INFO".to_owned(),
    ]
}

/// The command line of an sshd that serves one connection. What stands first on it wins over everything later, so our
/// options come first. sshd asks no resolver for the name of its peer, which is this machine: `AllowUsers` and
/// `DenyUsers` see only the address, both with the present sshd and with the candidate.
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
