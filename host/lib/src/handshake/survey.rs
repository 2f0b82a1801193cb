//! Asks many servers, or one server for many host keys, a few at a time.
#![expect(clippy::disallowed_methods, reason = "connects to the SSH servers that are surveyed")]

use super::{
    algorithm::HostKeyAlgorithm,
    client::{Server, Session},
    fault::Fault,
    proof::HostKey,
    stream::{Limits, Stream},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionbio},
    net::{AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, socket_with, sockopt},
};
use std::{
    io,
    net::{IpAddr, SocketAddr, TcpStream},
    num::NonZero,
    os::fd::OwnedFd,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

/// A question: does this server hold such a host key?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub server: SocketAddr,
    /// The source address; none: the system chooses.
    pub from: Option<IpAddr>,
    /// The algorithm by which the server has to prove the host key.
    pub algorithm: HostKeyAlgorithm,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What the server announced.
    pub server: Server,
    /// What it proved.
    pub host_key: HostKey,
}

/// Makes one exchange over a connection and ends the connection. It names no user to the server.
///
/// # Errors
/// The server did not prove that it holds such a host key.
pub fn prove<S: Stream>(stream: S, algorithm: HostKeyAlgorithm, limits: &Limits) -> Result<Exchange, Fault> {
    let mut session = Session::open(stream, limits)?;
    let host_key = session.exchange(algorithm)?;
    Ok(Exchange { server: session.server().clone(), host_key })
}

/// Asks all targets, at most `at_once` at a time. The answers come in the order of the targets.
#[must_use]
pub fn survey(targets: &[Target], at_once: NonZero<usize>, limits: &Limits) -> Vec<Result<Exchange, Fault>> {
    let next = AtomicUsize::new(0);
    let answers: Vec<_> = targets.iter().map(|_| Mutex::new(Err(Fault::Timeout))).collect();
    let ask = || {
        while let Some((target, answer)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|index| targets.get(index).zip(answers.get(index)))
        {
            let proved =
                dial(target.server, target.from, limits).and_then(|stream| prove(stream, target.algorithm, limits));
            *answer.lock().unwrap_or_else(PoisonError::into_inner) = proved;
        }
    };
    thread::scope(|scope| {
        for _ in 1..at_once.get().min(targets.len()) {
            // If no more threads can be started, the existing ones do the work.
            if thread::Builder::new().spawn_scoped(scope, ask).is_err() {
                break;
            }
        }
        ask();
    });
    answers.into_iter().map(|answer| answer.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

/// Connects to a server, from a given source address.
///
/// # Errors
/// The server does not accept the connection in time.
pub fn dial(server: SocketAddr, from: Option<IpAddr>, limits: &Limits) -> Result<TcpStream, Fault> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP)).map_err(system)?;
    if let Some(from) = from {
        bind(&socket, &SocketAddr::new(from, 0)).map_err(system)?;
    }
    match connect(&socket, &server) {
        Err(Errno::INPROGRESS) => await_connection(&socket, limits.deadline)?,
        connected => connected.map_err(system)?,
    }
    ioctl_fionbio(&socket, false).map_err(system)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn await_connection(socket: &OwnedFd, deadline: Instant) -> Result<(), Fault> {
    loop {
        let patience = deadline.saturating_duration_since(Instant::now());
        let patience = Timespec::try_from(patience).map_err(|_| Fault::Timeout)?;
        match poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&patience)) {
            Ok(0) => return Err(Fault::Timeout),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(system(error)),
        }
    }
    sockopt::socket_error(socket).map_err(system)?.map_err(system)
}

fn system(error: Errno) -> Fault {
    io::Error::from(error).into()
}
