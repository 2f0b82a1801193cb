//! A certificate for a person who comes with the ID token of a single sign-on. The CA chooses the principals.

use super::{
    CaError, Certificate, StepAuthority,
    api::{self, Failure, SignRequest},
    credential,
    diagnosis::{self, Doing},
    identity::IdToken,
    now,
    provisioner::{NotChosen, Oidc, Provisioner, Purpose, Type, choose},
};
use crate::ca::{CertificateAuthority as _, IssueRequest, Wrong, verify};

/// A provisioner with its single sign-on.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The provisioner's name and type, neutralised.
    pub provisioner: String,
    /// The single sign-on.
    pub oidc: Oidc,
}

/// Why there is no certificate, and whether another ID token may get one.
#[derive(Debug)]
pub struct NotSignedIn {
    /// Why.
    pub error: CaError,
    /// The CA refused the token, and nothing is seen that is wrong with it: it may have been restarted since.
    pub is_unexplained: bool,
}

impl From<CaError> for NotSignedIn {
    fn from(error: CaError) -> Self {
        Self { error, is_unexplained: false }
    }
}

impl StepAuthority {
    /// The single sign-on to use: the named provisioner's, or that of the only one that has one; none where another
    /// credential is given, the named provisioner has none, or no provisioner has.
    ///
    /// # Errors
    /// Several would do, or the one that would cannot be used.
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
            .map_err(|why: NotChosen| credential::not_chosen(&self.describe(), &why, Purpose::SignIn))?;
        let oidc = chosen.oidc().transpose().map_err(|why| CaError::Refused {
            ca: self.describe(),
            cause: format!("its provisioner {chosen} cannot be understood: {why}"),
            next: "look at it: warded ca show".to_owned(),
        })?;
        Ok(oidc.map(|oidc| SignIn { provisioner: chosen.to_string(), oidc }))
    }

    /// A certificate for the person of this token. The principals in `request` are only for those whom the CA lets
    /// choose: which ones the certificate has is to be looked at.
    ///
    /// # Errors
    /// The CA refuses, or what it gives cannot be used: a certificate without principals is no error of the CA's.
    pub fn issue_signed_in(
        &self,
        request: &IssueRequest,
        token: &IdToken,
        sign_in: &SignIn,
    ) -> Result<Certificate, NotSignedIn> {
        self.clock()?;
        let body = SignRequest::new(token.token().as_str(), request).map_err(|error| {
            credential::unusable(format!("the key to certify cannot be encoded: {error}"), "use another key")
        })?;
        let doing = Doing::SigningIn { token, sign_in };
        let bytes = api::sign(&self.http, &body).map_err(|failure| self.not_signed_in(&failure, doing))?;
        let refused = |cause: String, next: String| CaError::Refused { ca: self.describe(), cause, next };
        let certificate = Certificate::from_bytes(&bytes).map_err(|unreadable| {
            refused(format!("its answer: {unreadable}"), "make sure that this is a step-ca".to_owned())
        })?;
        match verify::check_but_names(&certificate, request, self.ssh_roots()?.of(request.kind), now()) {
            Ok(()) => Ok(certificate),
            Err(Wrong::NoPrincipals) if token.email().is_none() => {
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

    fn not_signed_in(&self, failure: &Failure, doing: Doing<'_>) -> NotSignedIn {
        let is_unexplained =
            failure.status() == Some(401) && !self.knowing(|known| diagnosis::is_certain(failure, doing, known));
        NotSignedIn { error: self.diagnosed(failure, doing), is_unexplained }
    }

    /// A connection to the servers of the single sign-on.
    ///
    /// # Errors
    /// It cannot be made here.
    #[cfg(feature = "sso")]
    pub fn web(&self) -> Result<super::http::Web, CaError> {
        super::http::Web::new(self.root(), self.settings.proxy.as_deref()).map_err(|problem| CaError::Unusable {
            ca: self.describe(),
            cause: problem.to_string(),
            next: "look at [step-ca] in the configuration".to_owned(),
        })
    }
}
