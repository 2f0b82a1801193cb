//! The CA of a scenario in which the CA issues no certificate.

use super::scenario::CaBehaviour;
use ssh_key::PublicKey;
use warded_lib::ca::{CaError, Certificate, CertificateAuthority, HeldKey, IssueRequest, Kind, local::LocalAuthority};

/// A CA that refuses every certificate, or does not answer. It has the keys of a real one.
pub(super) struct UnwillingAuthority {
    keys: LocalAuthority,
    behaviour: CaBehaviour,
}

impl UnwillingAuthority {
    pub(super) fn new(keys: LocalAuthority, behaviour: CaBehaviour) -> Self {
        Self { keys, behaviour }
    }

    fn answers(&self) -> Result<(), CaError> {
        match self.behaviour {
            CaBehaviour::Refuses => Ok(()),
            CaBehaviour::Away => Err(CaError::Unreachable {
                ca: self.describe(),
                answered: false,
                cause: "in this scenario it does not answer".to_owned(),
                next: "see whether the CA runs".to_owned(),
            }),
        }
    }

    fn refuses(&self) -> CaError {
        self.answers().err().unwrap_or_else(|| CaError::Refused {
            ca: self.describe(),
            cause: "in this scenario it refuses".to_owned(),
            next: "ask the CA's administrator".to_owned(),
        })
    }
}

impl CertificateAuthority for UnwillingAuthority {
    fn describe(&self) -> String {
        "the scenario's CA".to_owned()
    }

    fn roots(&self, kind: Kind) -> Result<Vec<PublicKey>, CaError> {
        self.answers()?;
        self.keys.roots(kind)
    }

    fn ready(&self, requests: &[IssueRequest]) -> Result<(), CaError> {
        self.answers()?;
        self.keys.ready(requests)
    }

    fn renews_expired(&self) -> Result<bool, CaError> {
        self.answers()?;
        self.keys.renews_expired()
    }

    fn issue(&self, _: &IssueRequest) -> Result<Certificate, CaError> {
        Err(self.refuses())
    }

    fn renew(&self, _: &Certificate, _: HeldKey<'_>) -> Result<Certificate, CaError> {
        Err(self.refuses())
    }

    fn rekey(&self, _: &Certificate, _: HeldKey<'_>, _: &PublicKey) -> Result<Certificate, CaError> {
        Err(self.refuses())
    }
}
