//! Handles a CA that has changed its signing key. Clients that know only its former key accept the present certificate,
//! but would reject a successor that the new key signs.

use super::{
    certificate::Certificate,
    kind::Kind,
    verify::{self, CertificateFault},
};
use ssh_key::{HashAlg, PublicKey};
use std::fmt;

/// Describes such a case: another key of the CA would sign the successor, while clients that know only the former key
/// still accept the present certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSigner {
    /// The fingerprint of the key that signed the present certificate.
    pub former: String,
    /// The fingerprint of the key that would sign its successor.
    pub new: String,
    /// The end of the present certificate, in seconds since 1970.
    pub until: u64,
    /// The time from which on clients have little time left to learn the new key, in seconds since 1970.
    pub urgent_from: u64,
}

/// The settings that decide whether a successor from another key may be installed now.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Seconds between two renewals.
    pub rhythm: u64,
    /// The fingerprints of the CA keys that clients know, according to the operator.
    pub known: &'a [String],
}

/// What to do before the successor is installed.
pub const NEXT: &str = "give clients the CA's new key: warded ca roots --host";

/// Whether a successor has to wait: clients may not know the key that signs it (`is_known`), and nothing is wrong with the
/// present certificate (`fault`). Where clients do not accept the present one either, replacing it breaks nothing.
#[must_use]
pub fn is_put_off(is_known: bool, fault: impl FnOnce() -> Option<CertificateFault>) -> bool {
    !is_known && fault().is_none()
}

/// Whether clients that accept the present certificate could reject a successor that `signer` signs (`now`: seconds
/// since 1970).
#[must_use]
pub fn new_signer(present: &Certificate, signer: &PublicKey, now: u64, terms: Terms<'_>) -> Option<NewSigner> {
    let new = signer.fingerprint(HashAlg::Sha256).to_string();
    let is_known = present.signer().key_data() == signer.key_data() || terms.known.contains(&new);
    let fault = || verify::problem(present, Kind::Host, std::slice::from_ref(present.key()), now);
    if !is_put_off(is_known, fault) {
        return None;
    }
    let until = present.valid_before();
    let life = until.saturating_sub(present.valid_after());
    let rhythm = terms.rhythm;
    Some(NewSigner {
        former: present.signer_fingerprint(),
        new,
        until,
        urgent_from: until.saturating_sub((life / 4).max(rhythm.saturating_mul(2))),
    })
}

impl NewSigner {
    /// The setting with which the operator confirms that clients know the new key.
    #[must_use]
    pub fn setting(&self) -> String {
        format!("known-ca-keys = [\"{}\"] in the configuration", self.new)
    }

    /// Whether clients have little time left to learn the new key.
    #[must_use]
    pub fn is_urgent(&self, now: u64) -> bool {
        now >= self.urgent_from
    }
}

impl fmt::Display for NewSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the CA signs with a new key, {}; clients that know only {} accept the present certificate {}, and would \
             not accept the new one",
            self.new,
            self.former,
            if self.until == u64::MAX { "for ever".to_owned() } else { format!("until {}", verify::time(self.until)) }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::sshd::host_key;
    use ssh_key::{PrivateKey, certificate::Builder, certificate::CertType, rand_core::OsRng};

    const NOW: u64 = 1_800_000_000;
    const DAY: u64 = 86_400;

    fn certificate(ca: &PrivateKey, after: u64, before: u64, kind: CertType) -> Certificate {
        let host = host_key::throw_away().unwrap().0;
        let mut builder = Builder::new_with_random_nonce(&mut OsRng, host.public_key(), after, before).unwrap();
        builder.cert_type(kind).unwrap().valid_principal("web1.example.org").unwrap();
        Certificate::try_from(&builder.sign(ca).unwrap()).unwrap()
    }

    #[test]
    fn only_a_certificate_that_clients_accept_now_is_kept_for_its_signer() {
        let (former, new) = (host_key::throw_away().unwrap().0, host_key::throw_away().unwrap().0);
        for (case, after, before, kind, expected) in [
            ("it holds", NOW - 10 * DAY, NOW + 20 * DAY, CertType::Host, true),
            ("its last second", NOW - DAY, NOW + 1, CertType::Host, true),
            ("it has ended", NOW - DAY, NOW, CertType::Host, false),
            ("not yet valid", NOW + 1, NOW + DAY, CertType::Host, false),
            ("a user's", NOW - DAY, NOW + DAY, CertType::User, false),
        ] {
            let present = certificate(&former, after, before, kind);
            let print = |key: &PrivateKey| key.fingerprint(HashAlg::Sha256).to_string();
            let changed = |signer: &PrivateKey, known: &[String]| {
                new_signer(&present, signer.public_key(), NOW, Terms { rhythm: DAY, known }).is_some()
            };
            assert_eq!(changed(&new, &[]), expected, "{case}");
            assert!(!changed(&former, &[]), "{case}: the same signer");
            assert!(!changed(&new, &[print(&new)]), "{case}: clients know the new key");
            assert_eq!(changed(&new, &[print(&former)]), expected, "{case}: clients know another key");
        }
    }

    #[test]
    fn little_time_is_the_last_quarter_and_at_least_two_renewals() {
        let (former, new) = (host_key::throw_away().unwrap().0, host_key::throw_away().unwrap().0);
        for (life, rhythm, urgent_before_end) in [
            (40 * DAY, DAY, 10 * DAY),
            (5 * DAY, DAY, 2 * DAY),
            (4 * DAY, DAY, 2 * DAY),
            (2 * DAY, DAY, 2 * DAY),
            (DAY, DAY, 2 * DAY),
            (DAY, 7 * DAY, 14 * DAY),
            (40, 1, 10),
        ] {
            let present = certificate(&former, NOW, NOW + life, CertType::Host);
            let changed = new_signer(&present, new.public_key(), NOW, Terms { rhythm, known: &[] }).unwrap();
            let from = NOW + life - urgent_before_end;
            assert_eq!(changed.urgent_from, from);
            assert!(changed.is_urgent(from) && !changed.is_urgent(from - 1));
            assert!(changed.to_string().contains(&changed.former) && changed.to_string().contains(&changed.new));
        }
    }
}
