//! Sends one request to an agent and reads its answer, with a deadline for the whole exchange and a limit on the
//! length.
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
/// The longest answer that is read; ssh-agent's own limit is the same (`AGENT_MAX_LEN` in authfd.c).
pub(super) const MAX_ANSWER: u32 = 256 * 1024;
/// The pause before the next attempt to connect if the agent's queue of connections is full.
const TICK: Duration = Duration::from_millis(20);
/// The name of gpg-agent's SSH socket, in its home and run-time directories.
const GPG_SOCKET: &str = "S.gpg-agent.ssh";

/// Who listens at a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The name of the program, if the system reports it. The kernel reports the process that called listen(2): with
    /// socket activation that is systemd.
    pub program: Option<String>,
    /// The path of the socket, with symbolic links resolved.
    pub socket: PathBuf,
}

impl Peer {
    /// Whether this is gpg-agent, which reports success for a certificate but stores only the key.
    #[must_use]
    pub fn is_gpg_agent(&self) -> bool {
        self.program.as_deref() == Some("gpg-agent") || self.socket.file_name().is_some_and(|name| name == GPG_SOCKET)
    }

    /// Whether this is OpenSSH's own agent. Without -D it forks after listen(2) (`main` in ssh-agent.c), and the
    /// process that the kernel reports has ended. Then the name of the socket identifies it.
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
    /// This user's or root's, since the message contains a secret.
    Own,
    /// Any user's.
    Any,
}

/// Whether OpenSSH's agent gives its socket such a name: `agent.PID`, and from 10.1 on `s.RANDOM.agent.RANDOM` (a
/// forwarded agent has `sshd` in place of `agent`).
fn is_of_ssh_agent(name: &str) -> bool {
    match *name.split('.').collect::<Vec<_>>().as_slice() {
        ["agent", number] => !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()),
        ["s", _, "agent", _] => true,
        _ => false,
    }
}

/// Sends one message with its length before it, and reads one answer; returns it without its length. Since the last
/// connection another process may have taken over the socket. So the owner is checked again before anything secret is
/// written.
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

/// The process that listens there, which has to be this user's or root's.
pub(super) fn peer(socket: &Path) -> Result<Peer, AgentError> {
    let (_, pid) = dial_own(socket, Instant::now() + PATIENCE)?;
    let name = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    let program = name.map(|name| name.trim_end().to_owned());
    Ok(Peer { program, socket: socket.canonicalize().unwrap_or_else(|_| socket.to_owned()) })
}

/// Connects to a process of this user's or root's. Also returns its process ID, if it has one in this PID namespace.
fn dial_own(socket: &Path, deadline: Instant) -> Result<(UnixStream, Option<i32>), AgentError> {
    let stream = dial(socket, deadline)?;
    stream.set_nonblocking(true)?;
    // Of the crates that are linked anyway, tokio reads SO_PEERCRED correctly. rustix 1.1 cannot represent the process
    // ID 0, which the kernel reports for a process outside this PID namespace.
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
            // The backlog is full: the agent accepts no connection now.
            Err(Errno::AGAIN) => thread::sleep(TICK.min(left(deadline)?)),
            // The kernel also refuses a connection to a file that is not a socket.
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

/// Repeats a call that a signal interrupted.
fn again<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            ended => return ended,
        }
    }
}

/// The time left until the deadline; never zero, which the socket functions reject.
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
