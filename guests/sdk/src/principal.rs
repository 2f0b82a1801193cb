//! The names for which a host certificate is valid.

use crate::Error;
use std::net::Ipv6Addr;

/// The names as they go into a host certificate: in lower case, each once, in the order given. They are in lower case,
/// because a client compares the lower-cased name.
///
/// # Errors
/// `missing-setting` if there is no name at all: older clients accept a certificate without names for every machine.
/// `invalid-principal` for an empty name, a wildcard (clients before OpenSSH 10.3 compare it letter by letter), a port,
/// a space, or any other character that no host name or address has.
pub fn host_principals<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<String>, Error> {
    let mut principals: Vec<String> = Vec::new();
    for name in names {
        let principal = host_principal(name)?;
        if !principals.contains(&principal) {
            principals.push(principal);
        }
    }
    if principals.is_empty() {
        return Err(Error::new(
            "missing-setting",
            "A host certificate needs at least one name that clients will use for this machine.",
        )
        .about("setting", "principal")
        .next("add --set principal=NAME"));
    }
    Ok(principals)
}

/// Whether two lists have the same names, in any order.
#[must_use]
pub fn same(left: &[String], right: &[String]) -> bool {
    left.iter().all(|name| right.contains(name)) && right.iter().all(|name| left.contains(name))
}

fn host_principal(name: &str) -> Result<String, Error> {
    let wrong = |why: &str| {
        Err(Error::new("invalid-principal", format!("`{name}` cannot be a name in a host certificate: {why}."))
            .about("principal", name)
            .next("name each machine as its clients do: --set principal=web1.example.org"))
    };
    if name.is_empty() {
        return wrong("it is empty");
    }
    if name.contains(['*', '?', '!']) {
        return wrong("most clients take a pattern literally, so name each machine");
    }
    if name.contains(char::is_whitespace) {
        return wrong("it contains a space");
    }
    if name.contains(':') && name.parse::<Ipv6Addr>().is_err() {
        return wrong("clients look a name up without its port, so leave the port out");
    }
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | ':');
    if !name.chars().all(allowed) {
        return wrong("host names and addresses have only letters, digits, `.`, `-`, `_` and `:`");
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lowered_and_kept_once() {
        let cases: &[(&[&str], &[&str])] = &[
            (&["web.example.com"], &["web.example.com"]),
            (&["Web.Example.COM", "web", "WEB"], &["web.example.com", "web"]),
            (&["192.0.2.7", "2001:DB8::7", "::1"], &["192.0.2.7", "2001:db8::7", "::1"]),
            (&["my_host-1"], &["my_host-1"]),
        ];
        for (given, expected) in cases {
            assert_eq!(host_principals(given.iter().copied()).unwrap(), *expected, "{given:?}");
        }
    }

    #[test]
    fn what_clients_would_not_match_is_refused() {
        for name in
            ["", "*", "*.example.com", "web?", "!web", "web 1", "web\t", "web:22", "[web]:22", "[::1]", "a,b", "wéb"]
        {
            assert_eq!(host_principals([name]).unwrap_err().code, "invalid-principal", "{name:?}");
        }
        assert_eq!(host_principals([]).unwrap_err().code, "missing-setting");
    }

    #[test]
    fn order_does_not_matter() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(same(&names(&["a", "b"]), &names(&["b", "a"])));
        assert!(!same(&names(&["a", "b"]), &names(&["a"])));
        assert!(!same(&names(&[]), &names(&["a"])));
    }
}
