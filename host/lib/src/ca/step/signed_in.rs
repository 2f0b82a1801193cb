//! Requests a certificate for a person with an ID token of single sign-on. The CA chooses the principals.

use super::{
    CaError, Certificate, StepAuthority,
    api::{self, Failure, SignRequest},
    credential,
    diagnosis::{self, Task},
    identity::IdToken,
    provisioner::{ChoiceError, Oidc, Provisioner, Purpose, Type, choose},
    token::Token,
};
use crate::ca::{CertificateAuthority as _, CertificateFault, IssueRequest, Kind, now, verify};

/// A provisioner with its single sign-on.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The provisioner's name and type, neutralised.
    pub provisioner: String,
    /// The single sign-on.
    pub oidc: Oidc,
}

/// Why there is no certificate, and whether another ID token might get one.
#[derive(Debug)]
pub struct SignInError {
    pub error: CaError,
    /// The CA refused the token, and no reason can be seen: the CA may have been restarted since the token was made.
    pub is_unexplained: bool,
}

impl From<CaError> for SignInError {
    fn from(error: CaError) -> Self {
        Self { error, is_unexplained: false }
    }
}

impl StepAuthority {
    /// The single sign-on to use: that of the named provisioner, or of the only provisioner that has one. `None` if
    /// another credential is given, if the named provisioner has none, or if no provisioner has one.
    ///
    /// # Errors
    /// Several are suitable, or the suitable one cannot be used.
    pub fn sign_in(&self) -> Result<Option<SignIn>, CaError> {
        if credential::is_given(&self.settings, &self.identification) {
            return Ok(None);
        }
        let named = self.identification.provisioner.as_deref().or(self.settings.provisioner.as_deref());
        let Some(list) = self.shown_provisioners()? else { return Ok(None) };
        let is_meant =
            |one: &&Provisioner| one.of_type() == Type::Oidc && named.is_none_or(|named| one.name() == named);
        if !list.iter().any(|one| is_meant(&one)) {
            return Ok(None);
        }
        let chosen = choose(list, Purpose::SignIn, named)
            .map_err(|why: ChoiceError| credential::not_chosen(&self.describe(), &why, Purpose::SignIn))?;
        let oidc = chosen.oidc().transpose().map_err(|why| CaError::Refused {
            ca: self.describe(),
            cause: format!("its provisioner {chosen} cannot be understood: {why}"),
            next: "look at it: warded ca show".to_owned(),
        })?;
        Ok(oidc.map(|oidc| SignIn { provisioner: chosen.to_string(), oidc }))
    }

    /// As [`StepAuthority::sign_in`], but `None` unless a provisioner is named.
    ///
    /// # Errors
    /// As for [`StepAuthority::sign_in`].
    pub fn named_sign_in(&self) -> Result<Option<SignIn>, CaError> {
        let is_named = self.identification.provisioner.is_some() || self.settings.provisioner.is_some();
        if is_named { self.sign_in() } else { Ok(None) }
    }

    /// Rejects a token that the CA would refuse, before it is used up. The token is a one-time token of the CA or, for
    /// a machine, the ID token of a single sign-on's admin.
    ///
    /// # Errors
    /// The token will not get the requested certificate.
    pub(super) fn check_token(&self, token: &Token, request: &IssueRequest) -> Result<(), CaError> {
        let identity =
            IdToken::read(token.as_str()).ok().filter(|read| request.kind == Kind::Host && read.is_of_provider());
        let list = if identity.is_some() { self.shown_provisioners()? } else { None };
        let (Some(identity), Some(list)) = (identity, list) else {
            return diagnosis::token(
                token,
                request,
                &self.settings.fingerprint,
                self.http.names_of_step_ca().as_deref(),
            );
        };
        let is_its = |one: &Provisioner| {
            let oidc = one.oidc()?.ok().filter(|oidc| identity.is_for(&oidc.client_id))?;
            Some((one.to_string(), oidc))
        };
        let Some((provisioner, oidc)) = list.iter().find_map(is_its) else {
            return Err(credential::unusable(
                format!("the ID token is for the client {}, which no provisioner of the CA has", identity.clients()),
                "on the admin's machine: warded token NAME --provisioner NAME, with --host, or for a person --user",
            ));
        };
        if let Some(finding) = identity.problem(&oidc, &provisioner, self.ca_time()) {
            return Err(credential::unusable(finding.cause, finding.next));
        }
        identity.no_admin(&oidc, &provisioner).map_or(Ok(()), |(cause, next)| Err(credential::unusable(cause, next)))
    }

    /// For how many more seconds an ID token is valid, by the CA's clock.
    #[must_use]
    pub fn left(&self, token: &IdToken) -> Option<u64> {
        token.left(self.ca_time())
    }

    /// Requests a certificate for the person in this token. `request.principals` only matter if the CA lets this person
    /// choose: the caller has to look at those in the certificate.
    ///
    /// # Errors
    /// The CA refuses, or its certificate cannot be used. A certificate without principals is reported as caused by the
    /// ID token.
    pub fn issue_signed_in(
        &self,
        request: &IssueRequest,
        token: &IdToken,
        sign_in: &SignIn,
    ) -> Result<Certificate, SignInError> {
        self.clock()?;
        let body = SignRequest::new(token.token().as_str(), request).map_err(|error| {
            credential::unusable(format!("the key to certify cannot be encoded: {error}"), "use another key")
        })?;
        let doing = Task::SigningIn { token, sign_in };
        let bytes = api::sign(&self.http, &body).map_err(|failure| self.not_signed_in(&failure, doing))?;
        let refused = |cause: String, next: String| CaError::Refused { ca: self.describe(), cause, next };
        let certificate = Certificate::from_bytes(&bytes).map_err(|unreadable| {
            refused(format!("its answer: {unreadable}"), "make sure that this is a step-ca".to_owned())
        })?;
        match verify::check_but_names(&certificate, request, self.ssh_roots()?.of(request.kind), now()) {
            Ok(()) => Ok(certificate),
            Err(CertificateFault::NoPrincipals) if token.email().is_none() => {
                let (cause, next) = token.without_email(&sign_in.oidc);
                Err(refused(
                    format!("the certificate that it gave has no names, and Warded threw it away: {cause}"),
                    next,
                )
                .into())
            }
            Err(wrong) => Err(CaError::from(wrong).into()),
        }
    }

    fn not_signed_in(&self, failure: &Failure, doing: Task<'_>) -> SignInError {
        let is_unexplained =
            failure.status() == Some(401) && !self.knowing(|known| diagnosis::is_certain(failure, doing, known));
        SignInError { error: self.diagnosed(failure, doing), is_unexplained }
    }

    /// A client for the servers of the single sign-on.
    ///
    /// # Errors
    /// The client cannot be created.
    #[cfg(feature = "sso")]
    pub fn web(&self) -> Result<super::http::Web, CaError> {
        super::http::Web::new(self.root(), self.settings.proxy.as_deref()).map_err(|problem| CaError::Unusable {
            ca: self.describe(),
            cause: problem.to_string(),
            next: "look at [step-ca] in the configuration".to_owned(),
        })
    }
}
