//! Which addresses a name has.
//!
//! A dynamic program asks the C library. A static one must not: the C library would load the modules that
//! `/etc/nsswitch.conf` names, which belong to the C library of the machine, and some of which end the program. So it has a
//! resolver of its own (`stub`), which reads `/etc/hosts`, and then asks the name servers of `/etc/resolv.conf`.
#![expect(clippy::disallowed_methods, reason = "looks up the names of servers")]

#[cfg(any(test, feature = "static-resolver"))]
mod stub;

#[cfg(not(feature = "static-resolver"))]
use std::net::ToSocketAddrs as _;
use std::{io, net::SocketAddr};

/// The addresses of a name, in the order in which to try them. An address has itself.
///
/// # Errors
/// It has none, or nothing answers that would know.
pub fn addresses(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    #[cfg(feature = "static-resolver")]
    let found: Vec<SocketAddr> = stub::Resolver::of_this_machine()
        .addresses(name)?
        .into_iter()
        .map(|address| SocketAddr::new(address, port))
        .collect();
    #[cfg(not(feature = "static-resolver"))]
    let found: Vec<SocketAddr> = (name, port).to_socket_addrs()?.collect();
    if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
}
