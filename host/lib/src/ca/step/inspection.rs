//! Finds in advance what will keep this machine from renewing with a step-ca. Changes nothing, and requests no
//! certificate.

use super::{
    CaUrl, Fingerprint, StepAuthority, api,
    provisioner::{ChoiceError, Provisioner, Purpose},
    x509::{X509, day},
};
use crate::ca::{CaError, Kind, now};
use crate::{moment::distance, text::neutral};
use std::time::Duration;

/// How long before its end a certificate of the CA is reported.
const NEAR: u64 = 30 * 24 * 3600;

/// A certificate that TLS with the CA depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The pinned root.
    Root,
    /// A certificate between the root and the server's own.
    Intermediate,
}

/// Something that keeps this machine from renewing, or will do so.
#[derive(Clone, Debug)]
pub enum Concern {
    /// A certificate that TLS with the CA depends on has expired, or will within 30 days.
    Ending {
        part: Part,
        /// The certificate's whole subject, neutralised.
        subject: String,
        /// The last second of its validity, since 1970.
        until: u64,
    },
    /// The CA lists a root that this machine does not trust: perhaps the CA's root is about to be replaced.
    OtherRoot {
        /// The root's whole subject, neutralised.
        subject: String,
        fingerprint: Fingerprint,
    },
    /// The CA has no key that signs host certificates.
    NoHostKey,
    /// None of the CA's provisioners can renew.
    NoRenewal(ChoiceError),
    /// The configured provisioner can no longer renew, but another one can.
    RenamedProvisioner {
        /// The name of the configured one, neutralised.
        configured: String,
        /// The name of the other one, neutralised.
        instead: String,
    },
    /// The CA does not show its provisioners, and none is configured.
    HiddenProvisioners(CaError),
}

impl StepAuthority {
    /// Everything that keeps this machine from renewing, or will do so.
    ///
    /// # Errors
    /// The CA does not answer, or its TLS certificate is not accepted.
    pub fn concerns(&self) -> Result<Vec<Concern>, CaError> {
        let shown = self.shown_provisioners()?;
        let mut concerns = self.endings(now());
        concerns.extend(
            self.other_roots()
                .into_iter()
                .map(|root| Concern::OtherRoot { fingerprint: root.fingerprint(), subject: root.subject }),
        );
        if self.ssh_roots().is_ok_and(|roots| roots.of(Kind::Host).is_empty()) {
            concerns.push(Concern::NoHostKey);
        }
        concerns.extend(self.concern_of_renewal(shown));
        Ok(concerns)
    }

    /// The pinned root, and the intermediates that the CA presented last.
    #[must_use]
    pub fn chain(&self) -> Vec<(Part, X509)> {
        let root = X509::of_der(self.root()).ok();
        let shown = self.http().chain().into_iter().skip(1).filter(|shown| shown.der != self.root());
        root.map(|root| (Part::Root, root)).into_iter().chain(shown.map(|one| (Part::Intermediate, one))).collect()
    }

    /// The roots that the CA lists besides the pinned one; empty if the CA does not list its roots.
    #[must_use]
    pub fn other_roots(&self) -> Vec<X509> {
        let listed = api::roots(self.http()).unwrap_or_default();
        let mut others: Vec<X509> = listed.iter().filter_map(|pem| X509::parse(pem.as_bytes()).ok()).collect();
        others.retain(|root| root.der != self.root());
        others
    }

    fn endings(&self, now: u64) -> Vec<Concern> {
        let near = |(part, certificate): (Part, X509)| {
            (certificate.until < now.saturating_add(NEAR)).then_some(Concern::Ending {
                part,
                subject: certificate.subject,
                until: certificate.until,
            })
        };
        self.chain().into_iter().filter_map(near).collect()
    }

    fn concern_of_renewal(&self, shown: Option<&[Provisioner]>) -> Option<Concern> {
        let configured = self.settings.renewal_provisioner.as_deref();
        match self.renewer(Purpose::Renew, shown) {
            Ok(found) => configured
                .filter(|name| *name != found)
                .map(|name| Concern::RenamedProvisioner { configured: neutral(name), instead: neutral(found) }),
            Err(super::RenewerError::NotChosen(why)) => Some(Concern::NoRenewal(why)),
            Err(super::RenewerError::Hidden(error)) => Some(Concern::HiddenProvisioners(error)),
        }
    }
}

impl Concern {
    /// The observation, in a sentence.
    #[must_use]
    pub fn seen(&self) -> String {
        self.seen_at(now())
    }

    fn seen_at(&self, now: u64) -> String {
        match self {
            Self::Ending { part, subject, until } => {
                let (part, then) = match part {
                    Part::Root => ("root", "programs that check its dates will then not trust the CA"),
                    Part::Intermediate => ("intermediate", "nothing can be renewed after that"),
                };
                let far = distance(Duration::from_secs(until.abs_diff(now)));
                let when = day(*until);
                if now > *until {
                    format!("the CA's {part} certificate {subject} expired on {when}, {far} ago")
                } else {
                    format!("the CA's {part} certificate {subject} expires on {when}, in {far}: {then}")
                }
            }
            Self::OtherRoot { subject, fingerprint } => {
                format!("the CA lists another root, {subject} ({fingerprint}), which this machine does not trust")
            }
            Self::NoHostKey => "the CA has no key that signs host certificates".to_owned(),
            Self::NoRenewal(why) => format!("the CA does not renew: {}", why.cause(Purpose::Renew)),
            Self::RenamedProvisioner { configured, instead } => format!(
                "the configuration names the provisioner {configured:?} for renewals, which the CA no longer has; \
                 {instead:?} can renew"
            ),
            Self::HiddenProvisioners(error) => {
                format!("the CA does not show its provisioners, and the configuration names none for renewals: {error}")
            }
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn next(&self, ca: &CaUrl) -> String {
        match self {
            Self::Ending { part: Part::Root, .. } => format!(
                "on the CA, make a new root and a new intermediate; then on each machine: \
                 warded bootstrap --ca-url {ca} --fingerprint HEX --force"
            ),
            Self::Ending { part: Part::Intermediate, .. } => {
                "on the CA, make a new intermediate certificate, and restart it".to_owned()
            }
            Self::OtherRoot { fingerprint, .. } => format!(
                "ask the operator of the CA whether its root is being replaced; on the day on which the CA goes over to it: \
                 warded bootstrap --ca-url {ca} --fingerprint {fingerprint} --force"
            ),
            Self::NoHostKey => super::diagnosis::ENABLE_SSH.to_owned(),
            Self::NoRenewal(why) => super::credential::remedy(why, Purpose::Renew),
            Self::RenamedProvisioner { .. } => "run warded bootstrap again: it writes the new name".to_owned(),
            Self::HiddenProvisioners(_) => NAME_RENEWER.to_owned(),
        }
    }

    /// Whether renewals fail already.
    #[must_use]
    pub fn stops_renewals(&self) -> bool {
        match self {
            Self::Ending { part: Part::Intermediate, until, .. } => *until < now(),
            Self::Ending { part: Part::Root, .. } | Self::OtherRoot { .. } | Self::RenamedProvisioner { .. } => false,
            Self::NoHostKey | Self::NoRenewal(_) | Self::HiddenProvisioners(_) => true,
        }
    }
}

/// What to do if the list of provisioners is not available.
pub(super) const NAME_RENEWER: &str =
    "name the SSHPOP provisioner in the configuration: renewal-provisioner = \"NAME\" in [step-ca]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_with_its_day_and_how_far_it_is() {
        let ending = |part, until| Concern::Ending { part, subject: "CN=Lab".to_owned(), until };
        let now = 1_700_000_000;
        for (concern, expected) in [
            (ending(Part::Root, now + 3 * 86_400), "root certificate CN=Lab expires on 2023-11-17, in 3 days"),
            (ending(Part::Intermediate, now - 7200), "intermediate certificate CN=Lab expired on 2023-11-14, 2 h ago"),
        ] {
            let seen = concern.seen_at(now);
            assert!(seen.contains(expected), "{seen}");
        }
    }
}
