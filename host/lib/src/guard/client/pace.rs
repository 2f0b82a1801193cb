//! From which address to ask a listener, and how often. Since 9.8, sshd counts what each address does
//! (`PerSourcePenalties`), and it closes connections when too many of them have not logged in (`MaxStartups`).

use crate::machine::sshd::Effective;
use ssh_key::rand_core::{OsRng, RngCore};
use std::{
    collections::VecDeque,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// The most connections at once.
const AT_ONCE: usize = 3;
/// The penalties assumed for a configuration that does not mention them: the default since 9.8.
const DEFAULT: Penalties = Penalties { noauth: Duration::from_secs(1), min: Duration::from_secs(15) };

/// How sshd penalises an address whose connections try no login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Penalties {
    /// The penalty for each such connection.
    noauth: Duration,
    /// The sum of penalties from which on sshd refuses the address.
    min: Duration,
}

/// The longest wait before one connection.
const LONGEST: Duration = Duration::from_secs(20);

/// When this process asked from addresses that it did not choose.
static RECENT: Mutex<VecDeque<Instant>> = Mutex::new(VecDeque::new());

/// How fast connections may follow each other, so that a listener does not punish their address.
#[derive(Clone, Debug)]
pub struct Pace {
    penalties: Option<Penalties>,
}

/// How many connections at once a listener with this configuration tolerates, besides those of strangers.
#[must_use]
pub fn at_once(effective: Option<&Effective>) -> usize {
    let value = effective.and_then(|effective| effective.values("maxstartups").first());
    let first = value.and_then(|text| text.split(':').next()?.parse::<usize>().ok());
    first.map_or(AT_ONCE, |first| (first / 2).clamp(1, AT_ONCE))
}

impl Pace {
    /// The pace for a configuration. `counts`: whether this sshd counts what an address does.
    #[must_use]
    pub fn of(effective: Option<&Effective>, counts: bool) -> Self {
        let value = effective.and_then(|effective| effective.values("persourcepenalties").first());
        let penalties = counts.then(|| value.map_or(Some(DEFAULT), |text| penalties(text)));
        Self { penalties: penalties.flatten() }
    }

    /// Waits until one more connection from the same address as the last ones costs nothing. Returns whether that was
    /// soon enough.
    #[must_use]
    pub fn wait(&self) -> bool {
        let Some(Penalties { noauth, min }) = self.penalties.filter(|one| !one.noauth.is_zero()) else { return true };
        // Stays below the sum at which sshd refuses, with room for a stranger behind the same address.
        let burst = usize::try_from(min.as_secs() / noauth.as_secs().max(1)).unwrap_or(usize::MAX) * 2 / 3;
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        while recent.len() >= burst.max(1) {
            let Some(oldest) = recent.front() else { break };
            // sshd's clock counts whole seconds.
            let over = noauth.max(min) + Duration::from_secs(1);
            let pause = over.saturating_sub(oldest.elapsed());
            if pause > LONGEST {
                return false;
            }
            thread::sleep(pause);
            recent.pop_front();
        }
        recent.push_back(Instant::now());
        true
    }
}

/// Parses `crash:90 authfail:5 noauth:1 … min:15`, as `sshd -T` prints it; none for `no`.
fn penalties(text: &str) -> Option<Penalties> {
    let of = |name: &str| {
        let mut words = text.split_whitespace().filter_map(|word| word.split_once(':'));
        let seconds = words.find(|(key, _)| *key == name)?.1.trim_end_matches('s').parse().ok()?;
        Some(Duration::from_secs(seconds))
    };
    if text.trim() == "no" {
        return None;
    }
    Some(Penalties { noauth: of("noauth").unwrap_or(DEFAULT.noauth), min: of("min").unwrap_or(DEFAULT.min) })
}

/// The addresses at which this machine itself reaches a listening socket: one, except for a link-local address that
/// several interfaces have.
#[must_use]
pub fn reachable(socket: SocketAddr) -> Vec<SocketAddr> {
    let address = match socket.ip() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            let interfaces = zones(&fs::read_to_string("/proc/net/if_inet6").unwrap_or_default(), address);
            let there = interfaces.iter().map(|zone| SocketAddrV6::new(address, socket.port(), 0, *zone).into());
            return if interfaces.is_empty() { vec![socket] } else { there.collect() };
        }
        IpAddr::V4(_) | IpAddr::V6(_) => socket.ip(),
    };
    vec![SocketAddr::new(address, socket.port())]
}

/// The numbers of the interfaces that have an address, from the text of `/proc/net/if_inet6`: connecting to a
/// link-local address needs one of them.
fn zones(text: &str, address: Ipv6Addr) -> Vec<u32> {
    let zone = |line: &str| {
        let mut fields = line.split_whitespace();
        let known = u128::from_str_radix(fields.next()?, 16).ok()?;
        let number = u32::from_str_radix(fields.next()?, 16).ok()?;
        (Ipv6Addr::from(known) == address).then_some(number)
    };
    text.lines().filter_map(zone).collect()
}

/// A loopback source address that nobody has used: from there the machine reaches each of its own IPv4 addresses.
/// None for IPv6, which has only one loopback address.
#[must_use]
pub fn fresh_source(target: SocketAddr) -> Option<IpAddr> {
    let [a, b, c, _] = OsRng.next_u32().to_be_bytes();
    // Never 127.0.x.x, where other things live, nor an address that ends in 0 or 255.
    target.is_ipv4().then(|| Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_reached_from_the_machine() {
        for (socket, expected, fresh) in [
            ("0.0.0.0:22", "127.0.0.1:22", true),
            ("127.0.0.5:22", "127.0.0.5:22", true),
            ("[::]:2222", "[::1]:2222", false),
            ("192.0.2.1:22", "192.0.2.1:22", true),
        ] {
            let [target] = reachable(socket.parse().unwrap())[..] else { panic!("{socket}") };
            assert_eq!(target.to_string(), expected);
            assert_eq!(fresh_source(target).is_some(), fresh, "{socket}");
        }
    }

    #[test]
    fn a_link_local_address_is_of_an_interface() {
        let text = "00000000000000000000000000000001 01 80 10 80       lo\n\
                    fe800000000000000000000000000007 02 40 20 80     eth0\n\
                    fe800000000000000000000000000007 1f 40 20 80     eth1\n";
        for (address, expected) in [("fe80::7", &[2, 31][..]), ("::1", &[1]), ("fe80::8", &[])] {
            assert_eq!(zones(text, address.parse().unwrap()), expected, "{address}");
        }
        // One that no interface has by now cannot be reached.
        assert_eq!(reachable("[fe80::dead:beef:0:7]:22".parse().unwrap()).len(), 1);
    }

    #[test]
    fn a_configuration_says_how_much_it_bears() {
        for (text, counts, bears, expected) in [
            ("maxstartups 10:30:100\n", true, 3, Some((1, 15))),
            ("maxstartups 10:30:100\n", false, 3, None),
            ("maxstartups 4:30:100\npersourcepenalties no\n", true, 2, None),
            ("maxstartups 1\npersourcepenalties crash:90 authfail:5 noauth:15 min:15\n", true, 1, Some((15, 15))),
            ("persourcepenalties crash:90s noauth:2s min:20s\n", true, 3, Some((2, 20))),
        ] {
            let effective = Effective::parse(text);
            let pace = Pace::of(Some(&effective), counts);
            let seconds = pace.penalties.map(|one| (one.noauth.as_secs(), one.min.as_secs()));
            assert_eq!((at_once(Some(&effective)), seconds), (bears, expected), "{text}");
        }
    }
}
