//! step-ca over its HTTP API: everything that the `step` program is used for in SSH, without it.
//!
//! Renewals need no secret: the host's own key signs for them (SSHPOP). For something new there is a
//! [`Credential`]. TLS trusts the pinned root, and nothing else.

pub mod api;
pub mod bootstrap;
pub mod credential;
pub mod diagnosis;
pub mod fingerprint;
pub mod given;
pub mod http;
mod jwe;
mod jwk;
pub mod provisioner;
mod retries;
pub mod settings;
pub mod steppath;
pub mod token;
pub mod url;

pub use credential::Credential;
pub use fingerprint::Fingerprint;
pub use settings::{AskPassword, Identification, Settings};
pub use url::CaUrl;

use super::{
    CaError, Certificate, CertificateAuthority, IssueRequest, Kind, Principals, now,
    verify::{self, Wrong},
};
use crate::machine::keys::signing::SigningKey;
use api::{Failure, RevokeRequest, SignRequest, SshRoots};
use credential::Provisioners;
use diagnosis::{Doing, Known};
use given::Given;
use http::{Http, Trust};
use provisioner::{NotChosen, Provisioner, Purpose, choose};
use retries::Retries;
use ssh_key::PublicKey;
use std::{cell::OnceCell, path::Path};
use token::{Claims, LIFE, Proof, Token, Use, Wanted};

/// A step-ca, and who this machine is to it.
#[derive(Debug)]
pub struct StepAuthority {
    settings: Settings,
    identification: Identification,
    root: Vec<u8>,
    http: Http,
    roots: OnceCell<SshRoots>,
    provisioners: OnceCell<Vec<Provisioner>>,
    credential: OnceCell<Credential>,
}

impl StepAuthority {
    /// Reads the pinned root, and holds it against its fingerprint. Nothing is sent yet.
    ///
    /// # Errors
    /// The root is not there, or is another.
    pub fn open(settings: &Settings, identification: &Identification) -> Result<Self, CaError> {
        Self::with_root(settings, identification, bootstrap::pinned(settings)?)
    }

    /// The same with a root (DER) that was held against its fingerprint already.
    ///
    /// # Errors
    /// It cannot be trusted as a root.
    pub fn with_root(settings: &Settings, identification: &Identification, root: Vec<u8>) -> Result<Self, CaError> {
        let http = Http::new(&settings.url, Trust::Root(&root), settings.proxy.as_deref()).map_err(|problem| {
            CaError::Unreachable {
                ca: describe(settings),
                cause: problem.to_string(),
                next: "look at [step-ca] in the configuration".to_owned(),
            }
        })?;
        Ok(Self {
            settings: settings.clone(),
            identification: identification.clone(),
            root,
            http,
            roots: OnceCell::new(),
            provisioners: OnceCell::new(),
            credential: OnceCell::new(),
        })
    }

    /// The connection, for those who only look.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// The pinned root certificate, in DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// The CA's SSH keys, asked for once.
    ///
    /// # Errors
    /// The CA does not answer, or does not do SSH.
    pub fn ssh_roots(&self) -> Result<&SshRoots, CaError> {
        self.once(&self.roots, Doing::ReadingSshKeys, api::ssh_roots)
    }

    /// The CA's provisioners, asked for once.
    ///
    /// # Errors
    /// The CA does not answer.
    pub fn provisioners(&self) -> Result<&[Provisioner], CaError> {
        self.once(&self.provisioners, Doing::Reading("its provisioners"), api::provisioners).map(Vec::as_slice)
    }

    fn once<'a, T>(
        &self,
        cell: &'a OnceCell<T>,
        doing: Doing<'_>,
        ask: impl Fn(&Http) -> Result<T, Failure>,
    ) -> Result<&'a T, CaError> {
        if let Some(known) = cell.get() {
            return Ok(known);
        }
        let mut retries = Retries::new();
        let answer = loop {
            match ask(&self.http) {
                Ok(answer) => break answer,
                Err(failure) if retries.of_a_question(&failure) => {}
                Err(failure) => return Err(self.diagnosed(&failure, doing)),
            }
        };
        Ok(cell.get_or_init(|| answer))
    }

    fn diagnosed(&self, failure: &Failure, doing: Doing<'_>) -> CaError {
        self.knowing(|known| diagnosis::of(failure, doing, known))
    }

    /// Hands on all that can be looked at to find the cause of a refusal.
    fn knowing<T>(&self, act: impl FnOnce(&Known<'_>) -> T) -> T {
        act(&Known {
            ca: self.describe(),
            settings: &self.settings,
            http: &self.http,
            provisioners: &|| self.provisioners().ok(),
            roots: &|| self.ssh_roots().ok(),
        })
    }

    /// Why no provisioner serves, as an error.
    #[must_use]
    pub fn explain(&self, why: &NotChosen, purpose: Purpose) -> CaError {
        credential::not_chosen(&self.describe(), why, purpose)
    }

    /// The credential, opened once: this may ask a person.
    ///
    /// # Errors
    /// There is none, or it does not fit.
    pub fn credential(&self) -> Result<&Credential, CaError> {
        if let Some(credential) = self.credential.get() {
            return Ok(credential);
        }
        let list = || self.provisioners();
        let encrypted_key = |kid: &str| match api::encrypted_key(&self.http, kid) {
            Ok(key) => Ok(Some(key)),
            Err(Failure::Status { status: 404, .. }) => Ok(None),
            Err(failure) => Err(self.diagnosed(&failure, Doing::Reading("the provisioner's encrypted key"))),
        };
        let provisioners = Provisioners { list: &list, encrypted_key: &encrypted_key, ca: self.describe() };
        let opened = Credential::open(&self.settings, &self.identification, &provisioners)?;
        Ok(self.credential.get_or_init(|| opened))
    }

    /// A token for one certificate, for somebody else to use within `life` seconds.
    ///
    /// # Errors
    /// There is no credential that can make one.
    pub fn token_for(&self, wanted: Wanted<'_>, life: u64) -> Result<Token, CaError> {
        self.clock()?;
        self.credential()?.token(self.claims("", Use::Sign, wanted.key_id, Some(wanted), life))
    }

    /// The time as the CA has it, in seconds since 1970: it refuses tokens that are older than its own start, by its
    /// own clock. That the clocks are close is seen to before.
    fn ca_time(&self) -> u64 {
        now().saturating_add_signed(self.http.ahead().unwrap_or_default() / 1000)
    }

    fn claims<'a>(
        &'a self,
        provisioner: &'a str,
        purpose: Use,
        subject: &'a str,
        wanted: Option<Wanted<'a>>,
        life: u64,
    ) -> Claims<'a> {
        let (ca, root) = (&self.settings.url, &self.settings.fingerprint);
        Claims { ca, root, provisioner, purpose, subject, wanted, now: self.ca_time(), life }
    }

    /// Has the CA renew a certificate no more. `own`: this machine's own, and its key, which asks for
    /// it; else the credential does.
    ///
    /// # Errors
    /// There is no credential, or the CA refuses: it has revoked it already, say.
    pub fn revoke(&self, serial: u64, own: Option<(&Certificate, &Path)>, reason: u8) -> Result<(), CaError> {
        self.clock()?;
        let serial = serial.to_string();
        let token = match own {
            Some((certificate, key)) => {
                self.sshpop(self.renewing(Purpose::Renew)?, Use::Revoke, certificate, &Self::host_key(key)?)?
            }
            None => self.credential()?.token(self.claims("", Use::Revoke, &serial, None, LIFE))?,
        };
        let (ott, reason_code) = (token.as_str(), reason);
        let request = RevokeRequest { serial: &serial, ott, reason_code, reason: "warded revoke", passive: true };
        api::revoke(&self.http, &request).map_err(|failure| self.diagnosed(&failure, Doing::Revoking))
    }

    /// Refuses to go on where the CA would: with a clock that is off by more than a minute.
    fn clock(&self) -> Result<(), CaError> {
        if self.http.ahead().is_none() {
            self.ssh_roots()?;
        }
        diagnosis::clock(&self.describe(), self.http.ahead()).map_or(Ok(()), Err)
    }

    fn chosen(&self, purpose: Purpose, named: Option<&str>) -> Result<&str, CaError> {
        choose(self.provisioners()?, purpose, named).map(Provisioner::name).map_err(|why| self.explain(&why, purpose))
    }

    /// The provisioner that renews.
    fn renewing(&self, purpose: Purpose) -> Result<&str, CaError> {
        match (self.settings.renewal_provisioner.as_deref(), purpose) {
            // Nothing to choose: the list is not asked for.
            (Some(named), Purpose::Renew) => Ok(named),
            // Whichever renews what has expired will do.
            (_, Purpose::RenewExpired) => self.chosen(purpose, None),
            (named, _) => self.chosen(purpose, named),
        }
    }

    /// A token that the host's own key signs.
    fn sshpop(&self, name: &str, what: Use, current: &Certificate, key: &SigningKey) -> Result<Token, CaError> {
        let serial = current.serial().to_string();
        let claims = self.claims(name, what, &serial, None, LIFE);
        token::make(key, &Proof::SshPop { certificate: current }, &claims)
            .map_err(|error| credential::unusable(format!("the host key cannot sign: {error}"), "look at that key"))
    }

    /// Asks for a certificate until there is one, or there is no use in asking.
    fn ask(
        &self,
        doing: Doing<'_>,
        repeat: bool,
        wanted: &IssueRequest,
        mut once: impl FnMut() -> Result<Result<Vec<u8>, Failure>, CaError>,
    ) -> Result<Certificate, CaError> {
        let mut retries = Retries::new();
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

    /// What a successor of `current` has to be.
    fn successor(&self, current: &Certificate, key: PublicKey) -> Result<IssueRequest, CaError> {
        let anew = "ask for a new certificate instead of a renewal: warded apply certify-host";
        let refused = |cause: String| CaError::Refused { ca: self.describe(), cause, next: anew.to_owned() };
        if current.kind() == Kind::User {
            return Err(refused("user certificates are not renewed".to_owned()));
        }
        if current.valid_before() == u64::MAX {
            // step-ca 0.30 panics on it, and closes the connection.
            return Err(refused(format!("the present certificate cannot be renewed: {}", Wrong::NoEnd)));
        }
        if now() < current.valid_after() {
            return Err(refused(format!(
                "the present certificate cannot be renewed: {}",
                Wrong::NotYetValid(current.valid_after())
            )));
        }
        verify::signed_by(current, self.ssh_roots()?.of(Kind::Host))
            .map_err(|wrong| refused(format!("the present certificate cannot be renewed: {wrong}")))?;
        let principals =
            Principals::parse(Kind::Host, current.principals()).map_err(|error| refused(error.to_string()))?;
        Ok(IssueRequest { kind: Kind::Host, key, principals, key_id: current.key_id().to_owned() })
    }

    fn host_key(path: &Path) -> Result<SigningKey, CaError> {
        SigningKey::read(path).map_err(|error| {
            credential::unusable(format!("the host key cannot sign for its renewal: {error}"), "look at that file")
        })
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
                diagnosis::token(&self.describe(), token, request, &self.settings.fingerprint, &self.http.names())?;
            }
        }
        Ok(())
    }

    fn renews_expired(&self) -> Result<bool, CaError> {
        Ok(choose(self.provisioners()?, Purpose::RenewExpired, None).is_ok())
    }

    fn issue(&self, request: &IssueRequest) -> Result<Certificate, CaError> {
        self.clock()?;
        let credential = self.credential()?;
        let doing = Doing::Issuing { request, credential };
        self.ask(doing, credential.can_repeat(), request, || {
            let token = credential.token(self.claims("", Use::Sign, &request.key_id, Some(request.into()), LIFE))?;
            if let Credential::Tokens(_) = credential {
                diagnosis::token(&self.describe(), &token, request, &self.settings.fingerprint, &self.http.names())?;
            }
            let body = SignRequest::new(token.as_str(), request).map_err(|error| {
                credential::unusable(format!("the key to certify cannot be encoded: {error}"), "use another key")
            })?;
            Ok(api::sign(&self.http, &body))
        })
    }

    fn renew(&self, current: &Certificate, key: &Path) -> Result<Certificate, CaError> {
        let wanted = self.successor(current, current.key().clone())?;
        self.clock()?;
        let purpose = if current.valid_before() <= now() { Purpose::RenewExpired } else { Purpose::Renew };
        let (key, provisioner) = (Self::host_key(key)?, self.renewing(purpose)?);
        self.ask(Doing::Renewing { current, rekey: false, provisioner }, true, &wanted, || {
            Ok(api::renew(&self.http, self.sshpop(provisioner, Use::Renew, current, &key)?.as_str()))
        })
    }

    fn rekey(&self, current: &Certificate, key: &Path, new: &PublicKey) -> Result<Certificate, CaError> {
        let wanted = self.successor(current, new.clone())?;
        self.clock()?;
        let (key, provisioner) = (Self::host_key(key)?, self.renewing(Purpose::Rekey)?);
        self.ask(Doing::Renewing { current, rekey: true, provisioner }, true, &wanted, || {
            Ok(api::rekey(&self.http, self.sshpop(provisioner, Use::Rekey, current, &key)?.as_str(), new))
        })
    }
}

/// Which CA, for messages.
#[must_use]
pub fn describe(settings: &Settings) -> String {
    format!("the CA {}", settings.url)
}

/// What a token that somebody made says of itself, or why it cannot be read.
///
/// # Errors
/// It is no token.
pub fn read_token(text: &str) -> Result<Given, String> {
    Given::read(&Token::given(text))
}
