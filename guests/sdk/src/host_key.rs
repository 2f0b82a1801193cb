//! Decides over plain data what to do about one host key.

use crate::certificate::same_key;
use crate::{authority, principal};

/// The data of a host key's present certificate that a decision needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// The key that it certifies.
    pub public_key: String,
    /// The names for which it is valid.
    pub principals: Vec<String>,
    /// Whether it certifies a machine.
    pub is_host: bool,
    /// The CA key that signed it.
    pub signer: String,
    /// Whether it should be renewed now.
    pub is_due: bool,
}

impl From<&authority::Certificate> for Present {
    fn from(certificate: &authority::Certificate) -> Self {
        Self {
            public_key: certificate.public_key(),
            principals: certificate.principals(),
            is_host: certificate.kind() == authority::Kind::Host,
            signer: certificate.signer_key(),
            is_due: certificate.due(),
        }
    }
}

/// What a renewal does about one host key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It has a good certificate that is not due.
    Keep,
    /// Its certificate is due.
    Renew,
    /// It has no certificate of its own, and the names for one are known.
    Issue,
    /// It has no certificate, and no names are known: nobody certified it.
    Uncertified,
    /// Its certificate is for another key, and no names for a new one are known.
    Replaced,
    /// Its certificate should not be there; why, as the rest of a sentence.
    Odd(&'static str),
}

/// Whether a certificate is the one that this CA would issue now for this key and these names.
#[must_use]
pub fn is_good(present: &Present, public_key: &str, principals: &[String], roots: &[String]) -> bool {
    present.is_host
        && !present.is_due
        && roots.iter().any(|root| same_key(root, &present.signer))
        && same_key(&present.public_key, public_key)
        && principal::same(&present.principals, principals)
}

/// What to do at a renewal. `named`: names for a new certificate are known.
#[must_use]
pub fn renewal(present: Option<&Present>, public_key: &str, named: bool) -> Renewal {
    match present {
        None if named => Renewal::Issue,
        None => Renewal::Uncertified,
        Some(present) if !same_key(&present.public_key, public_key) => {
            if named {
                Renewal::Issue
            } else {
                Renewal::Replaced
            }
        }
        Some(present) if !present.is_host => Renewal::Odd("it is a user certificate"),
        // The renewed certificate would remain valid for every machine.
        Some(present) if present.principals.is_empty() => Renewal::Odd("it names no machine"),
        Some(present) if present.is_due => Renewal::Renew,
        Some(_) => Renewal::Keep,
    }
}

/// Whether a key may be replaced by one that is certified for the same names.
///
/// # Errors
/// Why it may not, as the rest of a sentence.
pub fn rekeyable(present: &Present, public_key: &str, roots: &[String]) -> Result<(), &'static str> {
    if !same_key(&present.public_key, public_key) {
        Err("its certificate is for another key")
    } else if !present.is_host {
        Err("its certificate is a user certificate")
    } else if present.principals.is_empty() {
        Err("its certificate names no machine")
    } else if !roots.iter().any(|root| same_key(root, &present.signer)) {
        Err("its certificate was signed by another CA")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAA";
    const CA: &str = "ssh-ed25519 CCCC";

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn good() -> Present {
        Present {
            public_key: KEY.to_owned(),
            principals: names(&["web", "web.example"]),
            is_host: true,
            signer: CA.to_owned(),
            is_due: false,
        }
    }

    #[test]
    fn a_certificate_is_kept_only_where_a_new_one_would_say_the_same() {
        let wanted = names(&["web.example", "web"]);
        let is_good =
            |present: &Present, key, wanted: &[String]| is_good(present, key, wanted, &names(&["ssh-rsa X", CA]));
        assert!(!is_good(&Present { signer: "ssh-ed25519 OTHER".to_owned(), ..good() }, KEY, &wanted));
        assert!(is_good(&good(), KEY, &wanted));
        assert!(!is_good(&good(), KEY, &names(&["web"])));
        assert!(!is_good(&good(), "ssh-ed25519 AAAB", &wanted));
        assert!(!is_good(&Present { is_host: false, ..good() }, KEY, &wanted));
        assert!(!is_good(&Present { is_due: true, ..good() }, KEY, &wanted));
        assert!(!is_good(&Present { principals: Vec::new(), ..good() }, KEY, &wanted));
    }

    #[test]
    fn only_what_this_ca_certified_is_replaced() {
        let roots = names(&["ssh-rsa X", CA]);
        assert_eq!(rekeyable(&good(), KEY, &roots), Ok(()));
        assert_eq!(rekeyable(&Present { is_due: true, ..good() }, KEY, &roots), Ok(()));
        assert!(rekeyable(&good(), "ssh-ed25519 AAAB", &roots).is_err());
        assert!(rekeyable(&good(), KEY, &names(&["ssh-rsa X"])).is_err());
        assert!(rekeyable(&Present { is_host: false, ..good() }, KEY, &roots).is_err());
        assert!(rekeyable(&Present { principals: Vec::new(), ..good() }, KEY, &roots).is_err());
    }

    #[test]
    fn what_a_renewal_does() {
        let other = || Present { public_key: "ssh-ed25519 AAAB".to_owned(), ..good() };
        let cases = [
            (None, false, Renewal::Uncertified),
            (None, true, Renewal::Issue),
            (Some(good()), false, Renewal::Keep),
            (Some(good()), true, Renewal::Keep),
            (Some(Present { is_due: true, ..good() }), false, Renewal::Renew),
            (Some(Present { is_due: true, ..good() }), true, Renewal::Renew),
            (Some(other()), false, Renewal::Replaced),
            (Some(other()), true, Renewal::Issue),
            (Some(Present { is_host: false, ..good() }), true, Renewal::Odd("it is a user certificate")),
            (Some(Present { principals: Vec::new(), ..good() }), true, Renewal::Odd("it names no machine")),
        ];
        for (present, named, expected) in cases {
            assert_eq!(renewal(present.as_ref(), KEY, named), expected, "{present:?} {named}");
        }
    }
}
