//! The SSH handshake with real peers: this machine's OpenSSH and those of other Debian releases, as servers
//! and as clients.

#![expect(clippy::disallowed_methods, reason = "tests start peers and make their files")]

#[cfg(test)]
mod client;
#[cfg(test)]
mod hardened;
#[cfg(test)]
mod live;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod session;
