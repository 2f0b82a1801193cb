//! What a certificate, or the lack of one, means for a client that knows the CA and nothing else.

use crate::{
    ca::{Certificate, Kind, verify},
    handshake::{Fault, Verdict},
    text::neutral,
};
use ssh_key::PublicKey;
use std::slice;

/// The result for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A strict client accepts the server.
    Good,
    /// A strict client accepts the server now, but not for as long as was required.
    EndsSoon,
    /// The server offers only plain host keys.
    NoCertificate,
    /// A strict client refuses the server; with the cause.
    Wrong(String),
    /// The probe was inconclusive; with the cause.
    Unknown(String),
}

/// The standards by which certificates are judged.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    /// The public keys with which the CA signs host certificates.
    pub roots: &'a [PublicKey],
    /// The time, in seconds since 1970.
    pub now: u64,
    /// For how many seconds from now the certificate has to be valid.
    pub at_least: u64,
}

impl Finding {
    pub(super) fn of_fault(fault: &Fault) -> Self {
        match fault.verdict() {
            Verdict::Wrong => Self::Wrong(fault.to_string()),
            Verdict::Unknown | Verdict::Incapable => Self::Unknown(fault.to_string()),
        }
    }

    /// The stable word for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::EndsSoon => "ends-soon",
            Self::NoCertificate => "no-certificate",
            Self::Wrong(_) => "wrong",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Why a strict client refuses the server, or why the probe was inconclusive.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Good => None,
            Self::EndsSoon => Some("it ends sooner than is expected"),
            Self::NoCertificate => Some("it presents no certificate, only plain host keys"),
            Self::Wrong(cause) | Self::Unknown(cause) => Some(cause),
        }
    }
}

impl Judge<'_> {
    /// Judges the certificate that a server of this name presents.
    #[must_use]
    pub fn of(&self, certificate: &Certificate, name: &str) -> Finding {
        let wrong = verify::signed_by(certificate, self.roots)
            .err()
            .or_else(|| verify::problem(certificate, Kind::Host, slice::from_ref(certificate.key()), self.now));
        if let Some(wrong) = wrong {
            return Finding::Wrong(wrong.to_string());
        }
        if !certificate.principals().iter().any(|principal| principal == name) {
            let names: Vec<String> = certificate.principals().iter().take(4).map(|name| neutral(name)).collect();
            let more = certificate.principals().len().saturating_sub(names.len());
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            return Finding::Wrong(format!("it is not for this name, but for {}{more}", names.join(", ")));
        }
        if certificate.valid_before().saturating_sub(self.now) < self.at_least {
            return Finding::EndsSoon;
        }
        Finding::Good
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ca::testing::Certifies as _,
        machine::keys::testing::{TYPES, Workshop},
    };

    #[test]
    fn a_certificate_is_judged_as_a_strict_client_does() {
        let workshop = Workshop::new();
        let roots = ["ca", "other"].map(|name| workshop.key(name, TYPES[0]));
        workshop.key("key", TYPES[0]);
        let judge = Judge { roots: &roots[..1], now: crate::ca::now(), at_least: 3600 };
        for (ca, options, expected) in [
            ("ca", &["-h", "-n", "web1,web2"][..], "ok"),
            ("ca", &["-h", "-n", "web1", "-V", "-1h:+30m"], "ends-soon"),
            ("ca", &["-h", "-n", "web2,a,b,c,d"], "not for this name, but for web2, a, b, c and 1 more"),
            ("ca", &["-h", "-n", "Web1"], "not for this name"),
            ("ca", &["-h"], "names no principal"),
            ("ca", &["-n", "web1"], "is a user certificate"),
            ("ca", &["-h", "-n", "web1", "-V", "20200101:20200102"], "expired at"),
            ("ca", &["-h", "-n", "web1", "-V", "+1h:+2h"], "holds only from"),
            ("other", &["-h", "-n", "web1"], "not a key of this CA"),
        ] {
            let certificate = workshop.certify(ca, "key", options);
            let finding = judge.of(&certificate, "web1");
            let said = finding.cause().filter(|_| finding != Finding::EndsSoon).unwrap_or(finding.code());
            assert!(said.contains(expected), "{options:?}: {finding:?}");
        }
    }
}
