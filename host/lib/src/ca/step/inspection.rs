//! What will keep this machine from renewing with a step-ca, seen before it does. Nothing is changed and no
//! certificate is asked for.

use super::{
    CaUrl, Fingerprint, StepAuthority, api,
    provisioner::{ChoiceError, Provisioner, Purpose},
    x509::{X509, day},
};
use crate::ca::{CaError, Kind, now};
use crate::{moment::distance, text::neutral};
use std::time::Duration;

/// So long before its end a certificate of the CA's is reported.
const NEAR: u64 = 30 * 24 * 3600;

/// A certificate that TLS with the CA depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The pinned root.
    Root,
    /// One between the root and the server's own.
    Intermediate,
}

/// Something that keeps this machine from renewing, or will.
#[derive(Clone, Debug)]
pub enum Concern {
    /// A certificate that TLS with the CA depends on has expired, or will within 30 days.
    Ending {
        part: Part,
        /// Its whole subject, neutralised.
        subject: String,
        /// The last second in which it holds, since 1970.
        until: u64,
    },
    /// The CA lists a root that this machine does not trust: its root may be about to be replaced.
    OtherRoot {
        /// Its whole subject, neutralised.
        subject: String,
        fingerprint: Fingerprint,
    },
    /// The CA has no key that signs host certificates.
    NoHostKey,
    /// No provisioner renews.
    NoRenewal(ChoiceError),
    /// The configured provisioner does not renew any more; another one does.
    RenamedProvisioner {
        /// The configured one, neutralised.
        configured: String,
        /// The one that renews, neutralised.
        instead: String,
    },
    /// The CA does not show its provisioners, and none is configured.
    HiddenProvisioners(CaError),
}

impl StepAuthority {
    /// What keeps this machine from renewing, or will. Where the list is empty, nothing was found.
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

    /// The pinned root and the intermediates that the CA showed last.
    #[must_use]
    pub fn chain(&self) -> Vec<(Part, X509)> {
        let root = X509::of_der(self.root()).ok();
        let shown = self.http().chain().into_iter().skip(1).filter(|shown| shown.der != self.root());
        root.map(|root| (Part::Root, root)).into_iter().chain(shown.map(|one| (Part::Intermediate, one))).collect()
    }

    /// The roots that the CA lists besides the pinned one; none where it lists no roots.
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
    /// What was found, in a sentence.
    #[must_use]
    pub fn seen(&self) -> String {
        self.seen_at(now())
    }

    fn seen_at(&self, now: u64) -> String {
        match self {
            Self::Ending { part, subject, until } => {
                let (part, then) = match part {
                    Part::Root => ("root", "programs that look at its time do not trust the CA then"),
                    Part::Intermediate => ("intermediate", "nothing is renewed then"),
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
                "the CA has no provisioner {configured:?} any more, which the configuration names for renewals; \
                 {instead:?} renews"
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
            Self::RenamedProvisioner { .. } => "warded bootstrap writes the new name".to_owned(),
            Self::HiddenProvisioners(_) => NAME_RENEWER.to_owned(),
        }
    }

    /// Whether renewals fail now already.
    #[must_use]
    pub fn stops_renewals(&self) -> bool {
        match self {
            Self::Ending { part: Part::Intermediate, until, .. } => *until < now(),
            Self::Ending { part: Part::Root, .. } | Self::OtherRoot { .. } | Self::RenamedProvisioner { .. } => false,
            Self::NoHostKey | Self::NoRenewal(_) | Self::HiddenProvisioners(_) => true,
        }
    }
}

/// What to do where the list of provisioners cannot be had.
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
