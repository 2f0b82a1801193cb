//! `/etc/hosts` and `/etc/resolv.conf`, as hosts(5) and resolv.conf(5) describe them.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6},
    path::Path,
    time::Duration,
};

const PORT: u16 = 53;
/// Further servers are ignored.
const SERVERS: usize = 3;

/// The settings in `/etc/resolv.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The servers to ask, in this order.
    pub(super) servers: Vec<SocketAddr>,
    /// The domains to append to a short name.
    pub(super) search: Vec<String>,
    /// A name with at least this many dots is first tried as it is.
    pub(super) dots: usize,
    /// How long to wait for one server.
    pub(super) timeout: Duration,
    /// How often to ask each server.
    pub(super) attempts: u32,
}

impl Settings {
    /// Parses the text. If it names no server, uses the default of the C library: a server on this machine.
    pub(super) fn of(text: &str) -> Self {
        let mut settings =
            Self { servers: Vec::new(), search: Vec::new(), dots: 1, timeout: Duration::from_secs(5), attempts: 2 };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    settings.servers.extend(words.next().and_then(server));
                }
                // The last such line takes precedence.
                Some("search" | "domain") => {
                    let domains = words.map(|domain| domain.trim_end_matches('.'));
                    // The root (`.`) would add nothing to a name.
                    settings.search = domains.filter(|domain| !domain.is_empty()).map(str::to_owned).collect();
                }
                Some("options") => words.for_each(|option| settings.option(option)),
                Some(_) | None => {}
            }
        }
        settings.servers.truncate(SERVERS);
        if settings.servers.is_empty() {
            settings.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
        }
        settings
    }

    fn option(&mut self, option: &str) {
        let Some((name, Ok(value))) = option.split_once(':').map(|(name, value)| (name, value.parse::<u32>())) else {
            return;
        };
        match name {
            "ndots" => self.dots = usize::try_from(value.min(15)).unwrap_or(1),
            "timeout" => self.timeout = Duration::from_secs(u64::from(value.clamp(1, 30))),
            "attempts" => self.attempts = value.clamp(1, 5),
            _ => {}
        }
    }

    /// The complete names that a name may stand for, in the order in which to try them.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let mut all: Vec<String> =
            self.search.iter().map(|domain| format!("{name}.{domain}")).filter(|long| long.len() <= 253).collect();
        let place = if name.matches('.').count() >= self.dots { 0 } else { all.len() };
        all.insert(place, name.to_owned());
        all
    }
}

/// Parses a server's address. A link-local one includes the interface: `fe80::1%eth0`, or the interface's number.
fn server(word: &str) -> Option<SocketAddr> {
    let Some((address, interface)) = word.split_once('%') else {
        return Some(SocketAddr::new(word.parse().ok()?, PORT));
    };
    let number = interface.parse().ok().or_else(|| interface_number(interface))?;
    Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, number).into())
}

fn interface_number(name: &str) -> Option<u32> {
    if name.contains('/') {
        return None;
    }
    fs::read_to_string(Path::new("/sys/class/net").join(name).join("ifindex")).ok()?.trim().parse().ok()
}

/// The addresses that `/etc/hosts` has for a name.
pub(super) fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let of_line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    let mut found: Vec<IpAddr> = Vec::new();
    for address in text.lines().filter_map(of_line) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}
