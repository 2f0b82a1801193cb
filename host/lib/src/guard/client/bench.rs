//! An sshd that serves one connection after the other, each in a process of its own (`sshd -i`): no port that
//! anybody else could reach, and no listener. The connection is TCP on an address of this machine, because sshd
//! looks the name of any other peer up.
#![expect(clippy::disallowed_methods, reason = "makes a connection of this process with a program of its own")]

use crate::{
    error::{Error, Result},
    handshake::{Fault, Limits, Session},
    machine::exec::{Program, Service},
};
use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
};

/// How such an sshd is started, and from where it is spoken to.
#[derive(Debug)]
pub struct Bench {
    program: Program,
    words: Vec<String>,
    /// The addresses that a connection can have at both ends; at least one.
    addresses: Vec<IpAddr>,
    /// The one that was answered last.
    address: AtomicUsize,
}

/// One connection with it.
#[derive(Debug)]
pub struct Connection {
    /// The session, up to the server's lists.
    pub session: Session<TcpStream>,
    /// The sshd.
    pub service: Service,
}

impl Bench {
    /// For a command line of sshd's. Where sshd does not answer the first of `addresses` (tcp wrappers), the
    /// others are tried.
    #[must_use]
    pub fn new(words: Vec<String>, addresses: Vec<IpAddr>) -> Self {
        let (binary, arguments) = words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        let program = Program::new(binary).args(arguments);
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
        for index in known..self.addresses.len() {
            let Some(address) = self.addresses.get(index) else { break };
            match self.open_at(*address)? {
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

    fn open_at(&self, address: IpAddr) -> Result<Result<Connection, (Fault, String)>> {
        let wrong = |error: io::Error| Error::failed("cannot make a connection with sshd on this machine").cause(error);
        let (ours, theirs) = pair(address).map_err(wrong)?;
        let service = self.program.serve(theirs.into())?;
        match Session::open(ours, &Limits::within(super::LIMIT)) {
            Ok(session) => Ok(Ok(Connection { session, service })),
            Err(fault) => Ok(Err((fault, service.end()))),
        }
    }
}

/// Both ends of a TCP connection of this process with itself.
fn pair(address: IpAddr) -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((address, 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    ours.set_nodelay(true)?;
    loop {
        // Another process of this machine can connect, too, while the listener is there.
        let (theirs, peer): (TcpStream, SocketAddr) = listener.accept()?;
        if peer == ours.local_addr()? {
            return Ok((ours, theirs));
        }
    }
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
