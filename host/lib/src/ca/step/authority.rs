//! Requests certificates from a step-ca.

use super::{
    Credential, StepAuthority, api,
    api::{Failure, SignRequest},
    credential, describe, diagnosis,
    diagnosis::Task,
    provisioner::{Purpose, choose},
    retries::Retries,
    token::{self, LIFE, Proof, Token, Use},
};
use crate::{
    ca::{
        CaError, Certificate, CertificateAuthority, HeldKey, IssueRequest, Kind, Principals, now,
        verify::{self, CertificateFault},
    },
    machine::keys::signing::{Sign, SigningKey},
};
use ssh_key::PublicKey;

impl StepAuthority {
    /// A token signed with the host's own key.
    pub(super) fn sshpop(
        &self,
        name: &str,
        what: Use,
        current: &Certificate,
        key: &dyn Sign,
    ) -> Result<Token, CaError> {
        let serial = current.serial().to_string();
        let claims = self.claims(name, what, &serial, None, LIFE);
        token::make(key, &Proof::SshPop { certificate: current }, &claims)
            .map_err(|error| credential::unusable(format!("the host key cannot sign: {error}"), key.next()))
    }

    /// Requests a certificate, and repeats that until it succeeds or repeating is pointless.
    fn ask(
        &self,
        doing: Task<'_>,
        repeat: bool,
        wanted: &IssueRequest,
        mut once: impl FnMut() -> Result<Result<Vec<u8>, Failure>, CaError>,
    ) -> Result<Certificate, CaError> {
        let mut retries = Retries::new(self.asks_once.get());
        let bytes = loop {
            match once()? {
                Ok(bytes) => break bytes,
                Err(failure)
                    if repeat
                        && retries.of_a_token(&failure, || {
                            self.knowing(|known| diagnosis::is_certain(&failure, doing, known))
                        }) => {}
                Err(failure) => return Err(self.diagnosed(&failure, doing)),
            }
        };
        let certificate = Certificate::from_bytes(&bytes).map_err(|unreadable| CaError::Refused {
            ca: self.describe(),
            cause: format!("its answer: {unreadable}"),
            next: "make sure that this is a step-ca".to_owned(),
        })?;
        verify::check(&certificate, wanted, self.ssh_roots()?.of(wanted.kind), now())?;
        Ok(certificate)
    }

    /// The request that a successor of `current` has to satisfy.
    fn successor(&self, current: &Certificate, key: PublicKey) -> Result<IssueRequest, CaError> {
        let anew = "ask for a new certificate instead of a renewal: warded apply certify-host --force";
        let refused = |cause: String| CaError::Refused { ca: self.describe(), cause, next: anew.to_owned() };
        if current.kind() == Kind::User {
            return Err(refused("user certificates are not renewed".to_owned()));
        }
        if current.valid_before() == u64::MAX {
            // step-ca 0.30 panics on such a certificate, and closes the connection.
            return Err(refused(format!("the present certificate cannot be renewed: {}", CertificateFault::NoEnd)));
        }
        if now() < current.valid_after() {
            return Err(refused(format!(
                "the present certificate cannot be renewed: {}",
                CertificateFault::NotYetValid(current.valid_after())
            )));
        }
        verify::signed_by(current, self.ssh_roots()?.of(Kind::Host))
            .map_err(|wrong| refused(format!("the present certificate cannot be renewed: {wrong}")))?;
        let principals =
            Principals::parse(Kind::Host, current.principals()).map_err(|error| refused(error.to_string()))?;
        Ok(IssueRequest { kind: Kind::Host, key, principals, key_id: current.key_id().to_owned() })
    }

    /// Whether the credential consists of one-time tokens.
    fn has_tokens(&self) -> bool {
        match self.credential.get() {
            Some(opened) => matches!(opened, Credential::Tokens(_)),
            None => self.identification.token_file.is_some(),
        }
    }

    pub(super) fn signer<'a>(key: HeldKey<'a>, read: &'a mut Option<SigningKey>) -> Result<&'a dyn Sign, CaError> {
        if let Some(signer) = key.signer {
            return Ok(signer);
        }
        let file = SigningKey::read(key.path).map_err(|error| {
            credential::unusable(format!("the host key cannot sign for its renewal: {error}"), "look at that file")
        })?;
        Ok(read.insert(file))
    }
}

impl CertificateAuthority for StepAuthority {
    fn describe(&self) -> String {
        describe(&self.settings)
    }

    fn roots(&self, kind: Kind) -> Result<Vec<PublicKey>, CaError> {
        let roots = self.ssh_roots()?.of(kind);
        if roots.is_empty() {
            return Err(CaError::Refused {
                ca: self.describe(),
                cause: format!("it has no key that signs {kind} certificates"),
                next: diagnosis::ENABLE_SSH.to_owned(),
            });
        }
        Ok(roots.to_vec())
    }

    fn ready(&self, requests: &[IssueRequest]) -> Result<(), CaError> {
        self.clock()?;
        if requests.is_empty() {
            return Ok(());
        }
        let credential = self.credential()?;
        credential.suffices_for(requests.len())?;
        if let Credential::Tokens(tokens) = credential {
            for (token, request) in tokens.borrow().iter().zip(requests) {
                self.check_token(token, request)?;
            }
        }
        Ok(())
    }

    fn renews_expired(&self) -> Result<bool, CaError> {
        Ok(choose(self.provisioners()?, Purpose::RenewExpired, None).is_ok())
    }

    fn goes_by_word(&self) -> bool {
        self.has_tokens() && self.certifies_on_word().unwrap_or_default()
    }

    fn issue(&self, request: &IssueRequest) -> Result<Certificate, CaError> {
        self.clock()?;
        let credential = self.credential()?;
        let doing = Task::Issuing { request, credential };
        self.ask(doing, credential.can_repeat(), request, || {
            let token = credential.token(self.claims("", Use::Sign, &request.key_id, Some(request.into()), LIFE))?;
            if let Credential::Tokens(_) = credential {
                self.check_token(&token, request)?;
            }
            let body = SignRequest::new(token.as_str(), request).map_err(|error| {
                credential::unusable(format!("the key to certify cannot be encoded: {error}"), "use another key")
            })?;
            Ok(api::sign(&self.http, &body))
        })
    }

    fn renew(&self, current: &Certificate, key: HeldKey<'_>) -> Result<Certificate, CaError> {
        let wanted = self.successor(current, current.key().clone())?;
        self.clock()?;
        let purpose = if current.valid_before() <= now() { Purpose::RenewExpired } else { Purpose::Renew };
        let mut read = None;
        let key = Self::signer(key, &mut read)?;
        self.by_renewer(purpose, |provisioner| {
            self.ask(Task::Renewing { current, rekey: false, provisioner }, true, &wanted, || {
                Ok(api::renew(&self.http, self.sshpop(provisioner, Use::Renew, current, key)?.as_str()))
            })
        })
    }

    fn rekey(&self, current: &Certificate, key: HeldKey<'_>, new: &PublicKey) -> Result<Certificate, CaError> {
        let wanted = self.successor(current, new.clone())?;
        self.clock()?;
        let mut read = None;
        let key = Self::signer(key, &mut read)?;
        self.by_renewer(Purpose::Rekey, |provisioner| {
            self.ask(Task::Renewing { current, rekey: true, provisioner }, true, &wanted, || {
                Ok(api::rekey(&self.http, self.sshpop(provisioner, Use::Rekey, current, key)?.as_str(), new))
            })
        })
    }
}
