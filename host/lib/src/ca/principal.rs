//! The principals of a certificate. There is always at least one: OpenSSH before 10.3 accepts a host certificate
//! without principals for every name.

use super::kind::Kind;
use crate::text::neutral;
use std::{fmt, net::IpAddr};

/// OpenSSH rejects a certificate with more (SSHKEY_CERT_MAX_PRINCIPALS in sshkey.h).
const MAX: usize = 256;
/// The longest DNS name, in bytes of text.
const MAX_HOST: usize = 253;
/// Longer than any login name or e-mail address (RFC 5321: 254).
const MAX_USER: usize = 256;

/// A principal of a certificate.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal(String);

impl Principal {
    /// Parses a principal. A host's is a name or an address, without port or wildcard (to OpenSSH before 10.3 a
    /// wildcard is a plain character). It is converted to lower case, because `ssh` converts the name that it looks up
    /// and compares exactly.
    ///
    /// # Errors
    /// A sentence that names the text and says what is wrong.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("{:?} cannot be a {kind} principal: {why}", neutral(text)));
        if text.is_empty() {
            return wrong("it is empty");
        }
        if text.contains(|character: char| character.is_whitespace() || character.is_control()) {
            return wrong("it has a blank or a control character");
        }
        if text.contains(['*', '?', '!']) {
            return wrong("wildcards do not work in certificates; give each name");
        }
        if text.contains(',') {
            return wrong("give each name on its own, without commas");
        }
        match kind {
            Kind::Host => match host_name(text) {
                Ok(name) => Ok(Self(name)),
                Err(why) => wrong(why),
            },
            Kind::User if text.len() > MAX_USER => wrong("it is too long"),
            Kind::User if neutral(text) != text => wrong("it has a hidden character"),
            // In a shell, or in sshd's own lists, such a text would not be taken as a name.
            Kind::User if text.starts_with(['-', '#']) || text.contains(['"', '\'', ':', '/']) => {
                wrong("it has a character that no login name has")
            }
            Kind::User => Ok(Self(text.to_owned())),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// At least one principal, without duplicates, in the given order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principals(Vec<Principal>);

impl Principals {
    /// Parses principals; duplicates are dropped.
    ///
    /// # Errors
    /// There is none, there are too many, or one of them is not valid.
    pub fn parse<I>(kind: Kind, names: I) -> Result<Self, String>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut principals = Vec::new();
        for name in names {
            let principal = Principal::parse(kind, name.as_ref())?;
            if !principals.contains(&principal) {
                principals.push(principal);
            }
        }
        match principals.len() {
            0 => Err(format!(
                "a {kind} certificate needs at least one principal: without one it would hold for any name"
            )),
            1..=MAX => Ok(Self(principals)),
            _ => Err(format!("OpenSSH takes at most {MAX} principals in a certificate")),
        }
    }

    /// The principals in order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Principal> {
        self.0.iter()
    }

    /// Whether this name is one of the principals.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|principal| principal.0 == name)
    }

    /// Whether all of these principals are among `others`, those that may be requested.
    #[must_use]
    pub fn is_within(&self, others: &Self) -> bool {
        self.0.iter().all(|principal| others.0.contains(principal))
    }
}

impl fmt::Display for Principals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, principal) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            fmt::Display::fmt(principal, f)?;
        }
        Ok(())
    }
}

/// The form in which `ssh` looks up a host name or an address.
fn host_name(text: &str) -> Result<String, &'static str> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if !text.is_ascii() {
        return Err("write the name as DNS has it (xn--…)");
    }
    if text.contains([':', '[', ']']) {
        return Err("a principal has no port and no brackets");
    }
    if text.len() > MAX_HOST {
        return Err("longer than a DNS name can be");
    }
    if text.ends_with('.') {
        return Err("write it without the final dot");
    }
    for label in text.split('.') {
        let fits = (1..=63).contains(&label.len()) && !label.starts_with('-');
        if !fits || !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err("not a host name: letters, digits and hyphens between dots");
        }
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_principals_are_what_ssh_looks_up() {
        for (text, principal) in [
            ("web1", "web1"),
            ("Web1.Example.ORG", "web1.example.org"),
            ("10.0.0.1", "10.0.0.1"),
            ("2001:DB8::0:1", "2001:db8::1"),
            ("a_b-c.x", "a_b-c.x"),
        ] {
            assert_eq!(Principal::parse(Kind::Host, text).unwrap().as_str(), principal);
        }
        let long = ["a".repeat(64), "b".into()].join(".");
        for text in [
            "",
            " ",
            "a b",
            "*.example",
            "web?",
            "!web",
            "web1:22",
            "[::1]",
            "[::1]:22",
            "a,b",
            "a.",
            ".a",
            "a..b",
            "-a",
            "ü.example",
            "a/b",
            "a\0",
            "a\n",
            "a@b",
            &long,
            &"a.".repeat(130),
        ] {
            assert!(Principal::parse(Kind::Host, text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn user_principals_keep_their_case() {
        for text in ["jane", "Jane.Doe@corp.example", "svc-backup", "uid+tag", "ü"] {
            assert_eq!(Principal::parse(Kind::User, text).unwrap().as_str(), text);
        }
        for text in ["", "a b", "*", "-x", "#x", "a,b", "a:b", "../x", "a\u{202e}b", "a\"", "a\n"] {
            assert!(Principal::parse(Kind::User, text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn there_is_always_a_principal() {
        assert!(Principals::parse(Kind::Host, [""; 0]).unwrap_err().contains("at least one"));
        let principals = Principals::parse(Kind::Host, ["b", "A", "a"]).unwrap();
        assert_eq!(principals.to_string(), "b, a");
        assert!(principals.contains("a") && !principals.contains("A"));
        assert!(Principals::parse(Kind::Host, ["a"]).unwrap().is_within(&principals));
        assert!(!principals.is_within(&Principals::parse(Kind::Host, ["a"]).unwrap()));
        assert!(Principals::parse(Kind::Host, (0..257).map(|n| format!("h{n}"))).is_err());
    }
}
