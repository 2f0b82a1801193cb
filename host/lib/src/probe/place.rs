//! A server to probe: the name that its certificate has to contain, and the address at which it listens.

use crate::{
    ca::{Kind, Principal},
    handshake::Fault,
    resolver,
    text::neutral,
};
use std::{
    net::{Ipv6Addr, SocketAddr},
    str::FromStr,
};

const PORT: u16 = 22;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name or address that clients use, in the form in which `ssh` compares it.
    pub name: String,
    /// The name or address to connect to.
    pub address: String,
    /// The port, where one was given.
    pub given_port: Option<u16>,
}

impl Place {
    /// Parses a line of a list: `NAME[:PORT] [ADDRESS[:PORT]]`. `None` for an empty line or a comment.
    ///
    /// # Errors
    /// The line has another form.
    pub fn of_line(line: &str) -> Result<Option<Self>, String> {
        let text = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            [] => Ok(None),
            [name] => name.parse().map(Some),
            [name, address] => {
                let (name, elsewhere): (Self, Self) = (name.parse()?, address.parse()?);
                // Either may have a port; the address's takes precedence.
                let given_port = elsewhere.given_port.or(name.given_port);
                Ok(Some(Self { name: name.name, address: elsewhere.address, given_port }))
            }
            _ => Err(format!("{:?} is not NAME[:PORT] [ADDRESS[:PORT]]", neutral(line))),
        }
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.given_port.unwrap_or(PORT)
    }

    /// The addresses to connect to: what the host name resolves to now.
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>, Fault> {
        resolver::addresses(&self.address, self.port()).map_err(Fault::Io)
    }
}

/// The server as a person would write it: without port 22, and with brackets around an address that has a port.
#[must_use]
pub fn shown(name: &str, port: u16) -> String {
    match port {
        PORT => name.to_owned(),
        port if name.contains(':') => format!("[{name}]:{port}"),
        port => format!("{name}:{port}"),
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((address, zone)) = text.trim_matches(['[', ']']).split_once('%')
            && address.parse::<Ipv6Addr>().is_ok()
        {
            return Err(format!(
                "{:?} has a zone (%{}), which only this machine knows: name the machine, such as web1.example.org",
                neutral(text),
                neutral(zone.split(']').next().unwrap_or_default())
            ));
        }
        let port = |port: &str| {
            let number =
                port.parse().ok().filter(|number| *number != 0 && port.bytes().all(|byte| byte.is_ascii_digit()));
            number.map(Some).ok_or_else(|| format!("{:?} is no port", neutral(port)))
        };
        let (name, given_port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((name, "")) => (name, None),
            Some((name, rest)) => (name, port(rest.strip_prefix(':').unwrap_or_default())?),
            None if text.parse::<Ipv6Addr>().is_ok() => (text, None),
            None => match text.rsplit_once(':') {
                Some((name, rest)) => (name, port(rest)?),
                None => (text, None),
            },
        };
        let name = Principal::parse(Kind::Host, name)?.as_str().to_owned();
        Ok(Self { address: name.clone(), name, given_port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_are_never_shown_alike() {
        for (text, expected) in [
            ("[::1]:2222", "[::1]:2222"),
            ("::1:2222", "::1:2222"),
            ("[::1]:22", "::1"),
            ("web1:2222", "web1:2222"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(shown(&place.name, place.port()), expected);
        }
    }

    #[test]
    fn a_server_is_named_as_people_name_it() {
        for (line, expected) in [
            ("web1", Some(("web1", "web1", 22))),
            ("Web1.Example.org:2222 # the first", Some(("web1.example.org", "web1.example.org", 2222))),
            ("[2001:DB8::1]:2222", Some(("2001:db8::1", "2001:db8::1", 2222))),
            ("2001:db8::1", Some(("2001:db8::1", "2001:db8::1", 22))),
            ("[::1]", Some(("::1", "::1", 22))),
            ("web1 10.0.0.1", Some(("web1", "10.0.0.1", 22))),
            ("web1:2222 10.0.0.1", Some(("web1", "10.0.0.1", 2222))),
            // A port that is forwarded to sshd's port.
            ("web1:2222 10.0.0.1:22", Some(("web1", "10.0.0.1", 22))),
            ("web1:2222 [::1]:22", Some(("web1", "::1", 22))),
            ("web1:2222 ::1", Some(("web1", "::1", 2222))),
            ("::1:2222", Some(("::1:2222", "::1:2222", 22))),
            ("web1\t10.0.0.1:2223", Some(("web1", "10.0.0.1", 2223))),
            ("  # nothing", None),
            ("", None),
        ] {
            let found = Place::of_line(line).unwrap();
            let found = found.as_ref().map(|one| (one.name.as_str(), one.address.as_str(), one.port()));
            assert_eq!(found, expected, "{line:?}");
        }
        for line in [
            "-oProxyCommand=x",
            "web1:",
            "web1:0",
            "web1:+22",
            "[::1]2222",
            "[::1]:",
            "web1:99999",
            "a b c",
            "*.example",
            "[::1",
            "ann@web1",
            ":22",
        ] {
            assert!(Place::of_line(line).is_err(), "{line:?}");
        }
        for line in ["fe80::1%lo", "[fe80::1%lo]", "[fe80::1%lo]:2222", "web1 fe80::1%eth0"] {
            let why = Place::of_line(line).unwrap_err();
            assert!(why.contains("has a zone"), "{line:?}: {why}");
        }
    }
}
