//! Finds the SSHPOP provisioner that renews. All of them rely on the CA's own SSH keys, so they are equivalent. The
//! configured one saves a request for the list; if it no longer exists, another one is used.

use super::{
    StepAuthority, credential,
    inspection::NAME_RENEWER,
    provisioner::{ChoiceError, Provisioner, Purpose, choose},
};
use crate::ca::{CaError, CertificateAuthority as _};

/// Why no provisioner can renew.
pub(super) enum RenewerError {
    /// None in the CA's list can renew.
    NotChosen(ChoiceError),
    /// The list is not available, and none is configured.
    Hidden(CaError),
}

impl StepAuthority {
    /// The provisioner that is suitable for the purpose. `shown`: the CA's list, if it is available.
    pub(super) fn renewer<'a>(
        &'a self,
        purpose: Purpose,
        shown: Option<&'a [Provisioner]>,
    ) -> Result<&'a str, RenewerError> {
        let configured = self.settings.renewal_provisioner.as_deref();
        let Some(list) = shown else {
            return configured.ok_or_else(|| {
                RenewerError::Hidden(self.provisioners().err().unwrap_or_else(|| self.unknown_renewer(String::new())))
            });
        };
        let still = configured.filter(|name| choose(list, purpose, Some(name)).is_ok());
        match still {
            Some(name) => Ok(name),
            None => choose(list, purpose, None).map(Provisioner::name).map_err(RenewerError::NotChosen),
        }
    }

    /// Calls `attempt` with the provisioner that renews: first with the configured one, without fetching the CA's list.
    /// If the CA refuses, and its list has another one instead, calls `attempt` with that.
    pub(super) fn by_renewer<T>(
        &self,
        purpose: Purpose,
        attempt: impl Fn(&str) -> Result<T, CaError>,
    ) -> Result<T, CaError> {
        let configured = self.settings.renewal_provisioner.as_deref();
        let first = match (configured, purpose, self.provisioners.get()) {
            (Some(name), Purpose::Renew, None) => name,
            _ => self.found_renewer(purpose)?,
        };
        let refused = match attempt(first) {
            Err(refused @ CaError::Refused { .. }) => refused,
            ended => return ended,
        };
        match self.found_renewer(purpose) {
            Ok(other) if other != first => attempt(other),
            Ok(_) | Err(_) => Err(refused),
        }
    }

    fn found_renewer(&self, purpose: Purpose) -> Result<&str, CaError> {
        self.renewer(purpose, self.shown_provisioners()?).map_err(|why| match why {
            RenewerError::NotChosen(why) => credential::not_chosen(&self.describe(), &why, purpose),
            RenewerError::Hidden(CaError::Refused { cause, .. } | CaError::Unreachable { cause, .. }) => {
                self.unknown_renewer(cause)
            }
            RenewerError::Hidden(other) => other,
        })
    }

    fn unknown_renewer(&self, cause: String) -> CaError {
        CaError::Refused { ca: self.describe(), cause, next: NAME_RENEWER.to_owned() }
    }
}
