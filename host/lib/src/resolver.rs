//! Resolves host names to addresses.
//!
//! A dynamically linked program asks the C library. A static one must not: the C library would load the modules that
//! `/etc/nsswitch.conf` names. They belong to the machine's C library, and some of them would end the program. So the
//! static program has a resolver of its own (`stub`). It reads `/etc/hosts`, and then asks the name servers in
//! `/etc/resolv.conf`.
#![expect(clippy::disallowed_methods, reason = "looks up the names of servers")]

#[cfg(any(test, feature = "static-resolver"))]
mod stub;

#[cfg(not(feature = "static-resolver"))]
use std::net::ToSocketAddrs as _;
use std::{io, net::SocketAddr};

/// The addresses of a name, in the order in which to try them. An address resolves to itself.
///
/// # Errors
/// The name has no address, or no name server answers.
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
