//! Asks the kernel for the listening sockets (sock_diag(7)). The kernel then walks only these. For `/proc/net/tcp` it
//! also walks the table of all connections, which takes milliseconds on a machine with much memory, however few
//! connections there are.

#![expect(clippy::disallowed_methods, reason = "asks the kernel by a socket that leads nowhere else")]

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect,
        netlink::{SOCK_DIAG, SocketAddrNetlink},
        recv, send, socket_with,
    },
};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP` of `linux/netlink.h`; and `NLM_F_DUMP_INTR` of an answer: the list changed meanwhile.
const DUMP: u16 = 0x301;
const INTERRUPTED: u16 = 0x10;
/// `NLMSG_DONE`.
const DONE: u16 = 3;
const TCP: u8 = 6;
/// `TCP_LISTEN` of `net/tcp_states.h`.
const LISTEN: u8 = 10;
/// The lengths of `struct nlmsghdr`, `struct inet_diag_req_v2` and `struct inet_diag_msg`.
const HEADER: usize = 16;
const QUESTION: usize = 56;
const ANSWER: usize = 72;
/// The kernel does not send longer messages.
const LONGEST: usize = 1 << 15;

/// All listening addresses in this thread's network namespace, each with the inode of its socket. None if the kernel
/// does not answer.
pub(super) fn listening() -> Option<Vec<(SocketAddr, u64)>> {
    let mut all = Vec::new();
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        all.extend(of(u8::try_from(family.as_raw()).ok()?).ok()?);
    }
    Some(all)
}

/// Whether a process is in this thread's network namespace.
pub(super) fn shares_network(pid: i32) -> bool {
    let network = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    network("thread-self").is_some_and(|own| network(&pid.to_string()) == Some(own))
}

fn of(family: u8) -> Result<Vec<(SocketAddr, u64)>, Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?;
    // A connected socket takes messages only from the kernel.
    connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    send(&socket, &question(family), SendFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; LONGEST];
    loop {
        let (_, length) = recv(&socket, buffer.as_mut_slice(), RecvFlags::TRUNC)?;
        let mut rest = buffer.get(..length).filter(|bytes| !bytes.is_empty()).ok_or(Errno::BADMSG)?;
        while !rest.is_empty() {
            let (message, after) = message(rest).ok_or(Errno::BADMSG)?;
            match message {
                Message::Done => return Ok(found),
                Message::Socket(socket) => found.extend(socket),
            }
            rest = after;
        }
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: asks for each listening TCP socket of a family.
fn question(family: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + QUESTION);
    bytes.extend(u32::try_from(HEADER + QUESTION).unwrap_or_default().to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, TCP, 0, 0]);
    bytes.extend((1_u32 << LISTEN).to_ne_bytes());
    bytes.resize(HEADER + QUESTION, 0);
    bytes
}

/// The content of one message.
enum Message {
    Done,
    /// None: a socket that does not listen.
    Socket(Option<(SocketAddr, u64)>),
}

/// The first of several messages, and the rest. None for any unexpected message, such as `NLMSG_ERROR` if the kernel
/// has no such service.
fn message(bytes: &[u8]) -> Option<(Message, &[u8])> {
    let (length, header) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
    let [kind, flags] =
        [header.first_chunk::<2>()?, header.get(2..)?.first_chunk::<2>()?].map(|two| u16::from_ne_bytes(*two));
    let whole = bytes.get(..length).filter(|whole| whole.len() >= HEADER)?;
    // Messages are aligned to four bytes.
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    match kind {
        _ if flags & INTERRUPTED != 0 => None,
        DONE => Some((Message::Done, after)),
        BY_FAMILY => Some((Message::Socket(socket(whole.get(HEADER..)?)?), after)),
        _ => None,
    }
}

/// `struct inet_diag_msg`; the inner option is none if the socket does not listen.
fn socket(bytes: &[u8]) -> Option<Option<(SocketAddr, u64)>> {
    let bytes = bytes.first_chunk::<ANSWER>()?;
    let [family, state, ..] = *bytes;
    let port = u16::from_be_bytes(*bytes.get(4..)?.first_chunk()?);
    let address = bytes.get(8..)?;
    let address = if u16::from(family) == AddressFamily::INET.as_raw() {
        IpAddr::V4(Ipv4Addr::from(*address.first_chunk::<4>()?))
    } else {
        IpAddr::V6(Ipv6Addr::from(*address.first_chunk::<16>()?))
    };
    let inode = u32::from_ne_bytes(*bytes.get(68..)?.first_chunk()?);
    Some((state == LISTEN).then(|| (SocketAddr::new(address, port), inode.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_kernel_lists_what_is_listened_on() {
        let sockets = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("[::1]:0").unwrap()];
        let all = listening().unwrap();
        for socket in &sockets {
            let address = socket.local_addr().unwrap();
            assert_eq!(all.iter().filter(|(one, _)| *one == address).count(), 1, "{all:?}");
        }
        assert!(shares_network(i32::try_from(std::process::id()).unwrap()) && !shares_network(-1));
    }

    #[test]
    fn nothing_else_is_taken_for_an_answer() {
        let header = |length: u32, kind: u16, flags: u16| {
            [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8]].concat()
        };
        let answer =
            |length: usize| [header(16 + u32::try_from(length).unwrap(), BY_FAMILY, 2), vec![0; length]].concat();
        assert!(message(&answer(ANSWER)).is_some());
        for (case, bytes) in [
            ("nothing", Vec::new()),
            ("half a header", vec![0; 7]),
            ("no length", header(0, BY_FAMILY, 2)),
            ("longer than it is", header(17, BY_FAMILY, 2)),
            ("too short", answer(ANSWER - 1)),
            ("an error", header(16, 2, 0)),
            ("a list that changed", header(16, DONE, INTERRUPTED)),
        ] {
            assert!(message(&bytes).is_none(), "{case}");
        }
    }
}
