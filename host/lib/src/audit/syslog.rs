//! The head of the log, and what happened when nobody was there, to the machine's system log:
//! whoever forwards that has them out of this machine's root's reach.
#![expect(clippy::disallowed_methods, reason = "the one file that speaks to a local service")]

use super::Head;
use crate::text;
use std::{io, os::unix::net::UnixDatagram, path::Path};

/// Where every local syslog daemon listens, journald too; what is tried here is not for it.
const SOCKET: &str = if cfg!(test) { "/nonexistent/log" } else { "/dev/log" };
/// `authpriv.notice` (RFC 5424, 6.2.1): 10 × 8 + 5.
const PRIORITY: u8 = 85;

/// Sends how far the log goes. That nobody listens is nobody's failure.
pub fn head(directory: &Path, head: Head) {
    say(&format!("audit {} count {} hash {}", directory.display(), head.count, head.hash));
}

/// Sends a message.
pub fn say(message: &str) {
    drop(send(Path::new(SOCKET), message));
}

fn send(socket: &Path, message: &str) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    // A daemon that hangs must not hang us.
    datagram.set_nonblocking(true)?;
    let line = format!("<{PRIORITY}>warded[{}]: {}", std::process::id(), text::neutral(message));
    datagram.send_to(line.as_bytes(), socket).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_whatever_is_said() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        assert!(send(&path, "nobody listens").is_err());
        let daemon = UnixDatagram::bind(&path).unwrap();
        send(&path, "a\nb\x1b[2J").unwrap();
        let mut bytes = [0; 200];
        let length = daemon.recv(&mut bytes).unwrap();
        let line = std::str::from_utf8(&bytes[..length]).unwrap();
        assert!(line.starts_with("<85>warded[") && line.contains("]: a"), "{line}");
        assert!(!line.contains(['\n', '\x1b']), "{line}");
    }
}
