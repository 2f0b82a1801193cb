//! The sockets on which a process listens now, according to the kernel. This shows what a listener really does, even if
//! its configuration has changed since it read it.

mod diag;

use super::listener::proc;
use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// A socket that accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The address and port it is bound to.
    pub address: SocketAddr,
    /// Whether process 1 holds the socket, too. That is socket activation: sshd's own configuration does not decide
    /// about this socket.
    pub inherited: bool,
    /// The socket's inode number, which differs after a reload.
    pub inode: u64,
}

/// The sockets on which a process listens. None if we may not see them.
pub(super) fn of(pid: i32) -> Option<Vec<Socket>> {
    let own = inodes(pid)?;
    // In a container the listener may be process 1 itself; then no other process has passed it a socket.
    let handed = if pid == 1 { BTreeSet::new() } else { inodes(1).unwrap_or_default() };
    let mut sockets = listening(pid);
    sockets.retain(|(_, inode)| own.contains(inode));
    sockets.sort_by_key(|(address, _)| *address);
    let socket = |(address, inode)| Socket { address, inherited: handed.contains(&inode), inode };
    Some(sockets.into_iter().map(socket).collect())
}

/// All listening addresses in a process's network namespace, each with the inode of its socket.
pub(super) fn listening(pid: i32) -> Vec<(SocketAddr, u64)> {
    if let Some(listening) = diag::shares_network(pid).then(diag::listening).flatten() {
        return listening;
    }
    of_tables(pid)
}

/// The same from the tables in `/proc`, if the kernel cannot be asked in another way.
fn of_tables(pid: i32) -> Vec<(SocketAddr, u64)> {
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(proc(pid, &format!("net/{table}"))));
    tables.iter().flatten().flat_map(|text| text.lines().filter_map(parse)).collect()
}

/// The inodes of the sockets that a process has open. None if we may not see them.
pub(super) fn inodes(pid: i32) -> Option<BTreeSet<u64>> {
    let entries = fs::read_dir(proc(pid, "fd")).ok()?;
    let inode = |entry: std::io::Result<fs::DirEntry>| {
        let target = fs::read_link(entry.ok()?.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    Some(entries.filter_map(inode).collect())
}

/// A line of `/proc/net/tcp` or `tcp6` in state 0A (listening): its local address, and its inode.
fn parse(line: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = address.len() / 8;
    // The kernel prints each group of four bytes as one number in the machine's own byte order.
    let mut bytes = Vec::with_capacity(16);
    for word in 0..words {
        let number = u32::from_str_radix(address.get(word * 8..word * 8 + 8)?, 16).ok()?;
        bytes.extend(number.to_ne_bytes());
    }
    let address = match words {
        1 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        4 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    (state == "0A").then_some((SocketAddr::new(address, port), inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn lines_of_the_kernel_are_read() {
        let rest = "00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0";
        for (local, expected) in [
            ("0100007F:0016", Some("127.0.0.1:22")),
            ("00000000:08AE", Some("0.0.0.0:2222")),
            ("00000000000000000000000001000000:0016", Some("[::1]:22")),
            ("0000:0016", None),
        ] {
            let parsed = parse(&format!("   0: {local} {rest}"));
            assert_eq!(parsed, expected.map(|text| (text.parse().unwrap(), 4711)), "{local}");
        }
        assert_eq!(parse(&format!("0: 0100007F:0016 {}", rest.replace(" 0A ", " 01 "))), None);
        assert_eq!(parse("  sl  local_address rem_address   st tx_queue rx_queue"), None);
    }

    #[test]
    fn our_own_listening_socket_is_seen() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = of(i32::try_from(std::process::id()).unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        assert!(own.iter().any(|one| one.address == address && !one.inherited), "{own:?}");
        let inode = own.iter().find(|one| one.address == address).unwrap().inode;
        let tables = of_tables(i32::try_from(std::process::id()).unwrap());
        assert!(tables.contains(&(address, inode)), "{tables:?}");
    }
}
