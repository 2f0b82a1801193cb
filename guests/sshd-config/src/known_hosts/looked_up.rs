//! One pattern of a list, in a form in which ssh looks names up: `NAME`, or `[NAME]:PORT` for another port than 22
//! (`put_host_port` in misc.c, `get_hostfile_hostname_ipaddr` in sshconnect.c).

use super::pattern::{both_match, one_matches};
use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

/// The replacements for a wildcard in an example of a name; the first that gives a name is used.
const IN_NAME: [&str; 2] = ["warded-example", "7"];
const IN_ADDRESS: [&str; 4] = ["7", "7::7", "::7", "7::"];
/// The replacement for a wildcard in a port.
const PORT: &str = "2222";
/// The port without which ssh looks a name up.
const DEFAULT_PORT: u16 = 22;
/// A host of somebody else's, for an example.
const ELSEWHERE: &str = "github.com";
/// Top-level names below which nobody can buy a domain: reserved (RFC 2606, 6761, 6762; `internal` by ICANN in 2024),
/// or never to be delegated since networks use them (RFC 6762, appendix G).
const PRIVATE: [&str; 12] = [
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "private",
    "test",
];
/// The longest name that DNS has, in bytes of text, and the longest label (RFC 1035).
const LONGEST: usize = 253;
const LONGEST_LABEL: usize = 63;

/// A pattern that matches a name which ssh may look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// Whether it excludes the names that it matches from the list.
    pub(super) is_left_out: bool,
    host: String,
    /// `*`, or a number. None is 22, and any other port for which ssh finds no line.
    port: Option<String>,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_left_out { "!" } else { "" })?;
        f.write_str(&self.text())
    }
}

impl Pattern {
    /// Reads one, in lower-case letters.
    ///
    /// # Errors
    /// Why ssh never looks up a name that it matches.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (is_left_out, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let Some(in_brackets) = text.strip_prefix('[') else {
            return Ok(Self { is_left_out, host: host(text)?, port: None });
        };
        let (name, rest) = in_brackets.split_once(']').ok_or_else(|| {
            format!(
                "{text:?} has an opening bracket without a closing \
                                                               one"
            )
        })?;
        let name = host(name)?;
        let is_port =
            |port: &&str| *port == "*" || port.parse::<u16>().is_ok_and(|number| number.to_string() == **port);
        match rest.strip_prefix(':').filter(is_port) {
            None if rest.is_empty() => Err(format!("brackets are only for a name with a port: write {name}")),
            None | Some("0") => Err(format!(
                "{text:?} has no port after its bracket: write [{name}]:2222, or [{name}]:* for every port but 22"
            )),
            Some(port) if port.parse() == Ok(DEFAULT_PORT) => {
                Err(format!("ssh looks up a name with the port 22 without that port: write {name}"))
            }
            Some(port) => Ok(Self { is_left_out, host: name, port: Some(port.to_owned()) }),
        }
    }

    /// The pattern without a `!`.
    pub(super) fn text(&self) -> String {
        self.port.as_ref().map_or_else(|| self.host.clone(), |port| format!("[{}]:{port}", self.host))
    }

    /// Names that it may match, in the form in which ssh looks them up.
    pub(super) fn examples(&self) -> impl Iterator<Item = String> {
        let words: &[&str] = if is_address(&self.host) { &IN_ADDRESS } else { &IN_NAME };
        let one = if is_address(&self.host) { "7" } else { "w" };
        let hosts = words.iter().map(move |word| self.host.replace('*', word).replace('?', one));
        hosts.filter(|name| host(name).as_ref() == Ok(name)).map(|name| match self.port.as_deref() {
            None => name,
            Some("*") => format!("[{name}]:{PORT}"),
            Some(port) => format!("[{name}]:{port}"),
        })
    }

    /// Whether the pattern is not limited to one domain: a wildcard stands elsewhere than before a dot and a name of
    /// two labels or a private one. Domains below which names are sold (`co.uk`) are not known here.
    pub(super) fn is_wide(&self) -> bool {
        let Some(last) = self.host.rfind(['*', '?']) else { return false };
        let behind = self.host.get(last + 1..).and_then(|behind| behind.split_once('.'));
        is_address(&self.host)
            || !behind
                .is_some_and(|(label, domain)| domain.contains('.') || label.is_empty() && PRIVATE.contains(&domain))
    }

    /// A host that the pattern matches, though its author would hardly have thought of it.
    pub(super) fn covered(&self) -> String {
        let elsewhere = match self.host.strip_suffix('*') {
            _ if one_matches(self.host.as_bytes(), ELSEWHERE.as_bytes()) => ELSEWHERE.to_owned(),
            Some(before) if before.ends_with('.') => format!("{before}{ELSEWHERE}"),
            Some(before) => format!("{before}.{ELSEWHERE}"),
            None if is_address(&self.host) => String::new(),
            None => self.host.replace('*', "another"),
        };
        // No name has a colon.
        let is_name = !elsewhere.is_empty() && !elsewhere.contains([':', '*', '?']);
        Some(elsewhere).filter(|_| is_name).or_else(|| self.examples().next()).unwrap_or_else(|| self.text())
    }

    /// The pattern to exclude as well, so that `kept` does not include again what this one excludes: ssh looks up a
    /// name with a port also without the port.
    pub(super) fn let_in_again(&self, kept: &Self) -> Option<String> {
        let has_host = || both_match(kept.host.as_bytes(), self.host.as_bytes());
        let with = |port: &str| format!("[{}]:{port}", self.host);
        match (&self.port, &kept.port) {
            (None, Some(port)) => has_host().then(|| with(port)),
            (Some(_), None) => has_host().then(|| self.host.clone()),
            // To ssh, the brackets and the port are ordinary characters.
            (None, None) => both_match(kept.host.as_bytes(), with(PORT).as_bytes()).then(|| with("*")),
            (Some(_), Some(_)) => None,
        }
    }
}

/// The form in which ssh looks up a name or an address, wildcards included.
fn host(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("an empty pattern matches no name".to_owned());
    }
    if text.contains(':') { address(text) } else { name(text).map(|()| text.to_owned()) }
}

/// ssh writes an address as `getnameinfo` does.
fn address(text: &str) -> Result<String, String> {
    let (number, zone) = text.split_once('%').map_or((text, None), |(number, zone)| (number, Some(zone)));
    let is_zone = |zone: &str| zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let wrong = || match text.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => {
            format!("{text:?}: ssh looks up no such name; write a name with a port as [{name}]:{port}")
        }
        _ => format!("{text:?} is not an IPv6 address"),
    };
    let has_port = text.split_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    if has_port || zone.is_some_and(|zone| zone.is_empty() || !is_zone(zone)) {
        return Err(wrong());
    }
    let number = if number.contains(['*', '?']) {
        let is_one = |word: &&str| number.replace('*', word).replace('?', "7").parse::<Ipv6Addr>().is_ok();
        IN_ADDRESS.iter().find(|word| is_one(word)).ok_or_else(wrong)?;
        number.to_owned()
    } else {
        number.parse::<Ipv6Addr>().map_err(|_| wrong())?.to_string()
    };
    Ok(zone.map_or_else(|| number.clone(), |zone| format!("{number}%{zone}")))
}

fn name(text: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{text:?}: ssh looks up no such name; {why}"));
    let has_wildcard = text.contains(['*', '?']);
    if text.len() > LONGEST {
        return wrong("it is longer than a DNS name can be");
    }
    if text.ends_with('.') {
        return wrong("write it without the final dot");
    }
    if let Some(domain) = text.strip_prefix('.') {
        return wrong(&format!("for the names below a domain write *.{domain}"));
    }
    for label in text.split('.') {
        let is_plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_*?".contains(&byte));
        let fits = (1..=LONGEST_LABEL).contains(&label.len());
        if !is_plain || !fits || label.starts_with('-') {
            return wrong("each part between dots may have up to 63 letters, digits, hyphens and wildcards");
        }
    }
    if !has_wildcard && is_address(text) && text.parse::<Ipv4Addr>().is_err() {
        return wrong("an IPv4 address has four numbers");
    }
    Ok(())
}

/// Whether it is a pattern of addresses: IPv6, or numbers alone.
fn is_address(host: &str) -> bool {
    let is_numeric = |byte: u8| byte.is_ascii_digit() || b".*?".contains(&byte);
    host.contains(':') || (host.bytes().all(is_numeric) && host.bytes().any(|byte| byte.is_ascii_digit()))
}
