//! One request to an agent, and its answer, within bounds: a deadline for all of it, and a limit of length.
#![expect(clippy::disallowed_methods, reason = "connects to the user's ssh-agent, and to sshd's")]

use super::fault::AgentError;
use rustix::{
    io::{Errno, ioctl_fionbio},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
    process::geteuid,
};
use std::{
    ffi::OsStr,
    fs,
    io::{self, Read as _, Write as _},
    os::unix::{fs::FileTypeExt as _, net::UnixStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long an agent may take for one request.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// What an agent may answer; ssh-agent's own limit is the same (`AGENT_MAX_LEN` in authfd.c).
pub(super) const MAX_ANSWER: u32 = 256 * 1024;
/// How often a connection is tried again where the agent takes none.
const TICK: Duration = Duration::from_millis(20);
/// The socket of gpg-agent for SSH in its home and run-time directories.
const GPG_SOCKET: &str = "S.gpg-agent.ssh";

/// Who listens at a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The program's name, where the system says it. It is that of the process that began to listen: of systemd's, where
    /// that has the socket.
    pub program: Option<String>,
    /// Where the socket is, without links.
    pub socket: PathBuf,
}

impl Peer {
    /// Whether it is gpg-agent, which answers that it took a certificate, and keeps the key without it.
    #[must_use]
    pub fn is_gpg_agent(&self) -> bool {
        self.program.as_deref() == Some("gpg-agent") || self.socket.file_name().is_some_and(|name| name == GPG_SOCKET)
    }

    /// Whether it is OpenSSH's own agent. Without -D it forks once it listens (`main` in ssh-agent.c), and the process that
    /// began to listen is gone; then it is known by the name that it gives its socket.
    #[must_use]
    pub fn is_ssh_agent(&self) -> bool {
        match self.program.as_deref() {
            Some(program) => program == "ssh-agent",
            None => self.socket.file_name().and_then(OsStr::to_str).is_some_and(is_of_ssh_agent),
        }
    }
}

/// Whose process may listen at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerOwner {
    /// This user's or root's: what is sent is secret.
    Own,
    /// Any user's.
    Any,
}

/// Whether OpenSSH's agent names a socket so: `agent.PID`, and from 10.1 on `s.RANDOM.agent.RANDOM` (a forwarded one has
/// `sshd` there).
fn is_of_ssh_agent(name: &str) -> bool {
    match *name.split('.').collect::<Vec<_>>().as_slice() {
        ["agent", number] => !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()),
        ["s", _, "agent", _] => true,
        _ => false,
    }
}

/// Sends one message, with its length before it, and reads one answer, without its length. Another process may listen
/// at the socket than when it was last looked at: nothing secret is written before it is known whose this one is.
pub(super) fn exchange(socket: &Path, message: &[u8], whose: PeerOwner) -> Result<Vec<u8>, AgentError> {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = match whose {
        PeerOwner::Own => dial_own(socket, deadline)?.0,
        PeerOwner::Any => dial(socket, deadline)?,
    };
    let mut rest = message;
    while !rest.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        let written = again(|| stream.write(rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    let mut length = [0; 4];
    receive(&mut stream, &mut length, deadline)?;
    let length = u32::from_be_bytes(length);
    if length > MAX_ANSWER {
        return Err(AgentError::Oversized { length });
    }
    let mut answer = vec![0; usize::try_from(length).unwrap_or_default()];
    receive(&mut stream, &mut answer, deadline)?;
    Ok(answer)
}

/// Who listens there: a process of this user's or of root's.
pub(super) fn peer(socket: &Path) -> Result<Peer, AgentError> {
    let (_, pid) = dial_own(socket, Instant::now() + PATIENCE)?;
    let name = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    let program = name.map(|name| name.trim_end().to_owned());
    Ok(Peer { program, socket: socket.canonicalize().unwrap_or_else(|_| socket.to_owned()) })
}

/// A connection to a process of this user's or of root's, and that process's number, where this namespace has one.
fn dial_own(socket: &Path, deadline: Instant) -> Result<(UnixStream, Option<i32>), AgentError> {
    let stream = dial(socket, deadline)?;
    stream.set_nonblocking(true)?;
    // Of the crates that are linked anyway, this one reads SO_PEERCRED without a mistake: rustix 1.1 has no place for the
    // process number 0, which is that of a process in another namespace.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let within = runtime.enter();
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let credentials = stream.peer_cred()?;
    let stream = stream.into_std()?;
    drop(within);
    stream.set_nonblocking(false)?;
    let uid = credentials.uid();
    if uid != 0 && uid != geteuid().as_raw() {
        return Err(AgentError::OtherUser { uid });
    }
    Ok((stream, credentials.pid()))
}

fn dial(socket: &Path, deadline: Instant) -> Result<UnixStream, AgentError> {
    let address = SocketAddrUnix::new(socket).map_err(io::Error::from)?;
    let connected = loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let tried = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(io::Error::from)?;
        match connect(&tried, &address) {
            Ok(()) => break tried,
            // Its queue is full: it accepts no connection.
            Err(Errno::AGAIN) => thread::sleep(TICK.min(left(deadline)?)),
            // So is a connection to any other file answered.
            Err(Errno::CONNREFUSED) if socket.metadata().is_ok_and(|there| !there.file_type().is_socket()) => {
                return Err(AgentError::NotASocket);
            }
            Err(error) => return Err(io::Error::from(error).into()),
        }
    };
    ioctl_fionbio(&connected, false).map_err(io::Error::from)?;
    Ok(UnixStream::from(connected))
}

fn receive(stream: &mut UnixStream, mut into: &mut [u8], deadline: Instant) -> Result<(), AgentError> {
    while !into.is_empty() {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match again(|| stream.read(into))? {
            0 => return Err(AgentError::Closed),
            read => into = into.get_mut(read..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// Repeats what a signal interrupted.
fn again<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            ended => return ended,
        }
    }
}

/// The time that is left, which is not zero.
fn left(deadline: Instant) -> Result<Duration, AgentError> {
    Some(deadline.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero()).ok_or(AgentError::Silent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssh_s_agent_is_known_after_the_fork() {
        for (program, socket, expected) in [
            (Some("ssh-agent"), "/home/ann/socket", true),
            (None, "/tmp/ssh-XXXXXXkV3TtM/agent.4711", true),
            (None, "/home/ann/.ssh/agent/s.TQf6lJ1mSl.agent.4ixlx8kVcP", true),
            (Some("sshd-session"), "/tmp/ssh-XXXXXXkV3TtM/agent.4711", false),
            (None, "/home/ann/.ssh/agent/s.TQf6lJ1mSl.sshd.4ixlx8kVcP", false),
            (None, "/run/user/1000/keyring/ssh", false),
            (None, "/home/ann/agent.sock", false),
            (None, "/home/ann/agent.", false),
        ] {
            let peer = Peer { program: program.map(str::to_owned), socket: socket.into() };
            assert_eq!(peer.is_ssh_agent(), expected, "{program:?} {socket}");
        }
    }
}
