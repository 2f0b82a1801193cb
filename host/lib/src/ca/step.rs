//! A client of step-ca's HTTP API. It does everything for which SSH set-ups use the `step` program, without that
//! program.
//!
//! Renewals need no secret: the host's own key signs the token for them (SSHPOP). New certificates need a
//! [`Credential`]. TLS trusts the pinned root certificate, and nothing else.

pub mod api;
mod authority;
pub mod bootstrap;
pub mod code;
pub mod credential;
pub mod diagnosis;
pub mod fingerprint;
pub mod foreign_token;
pub mod http;
pub mod identity;
pub mod inspection;
mod jwe;
mod jwk;
pub mod provisioner;
mod renewer;
pub mod retries;
pub mod settings;
pub mod signed_in;
pub mod steppath;
pub mod token;
pub mod url;
pub mod x509;

pub use credential::Credential;
pub use fingerprint::Fingerprint;
pub use settings::{AskPassword, Identification, Settings};
pub use url::CaUrl;

use super::{CaError, Certificate, CertificateAuthority as _, HeldKey, now};
use api::{Failure, RevokeRequest, SshRoots};
use credential::Provisioners;
use diagnosis::{Evidence, Task};
use foreign_token::TokenClaims;
use http::{Http, Trust};
use provisioner::{Provisioner, Purpose};
use renewer::RenewerError;
use retries::Retries;
use std::cell::{Cell, OnceCell, RefCell};
use token::{CertificateSpec, Claims, LIFE, Token, Use};

/// A step-ca, and how this machine identifies itself to it.
#[derive(Debug)]
pub struct StepAuthority {
    settings: Settings,
    identification: Identification,
    root: Vec<u8>,
    http: Http,
    roots: OnceCell<SshRoots>,
    /// The CA's list, or the reason why it is not available.
    provisioners: OnceCell<Result<Vec<Provisioner>, Failure>>,
    /// The CA's address in the spelling that the CA compares with a token's audience.
    audience: OnceCell<CaUrl>,
    credential: OnceCell<Credential>,
    /// Whether a question is not repeated if no answer comes.
    asks_once: Cell<bool>,
}

impl StepAuthority {
    /// Reads the pinned root, and checks its fingerprint. Nothing is sent yet.
    ///
    /// # Errors
    /// The root is missing, or has another fingerprint.
    pub fn open(settings: &Settings, identification: &Identification) -> Result<Self, CaError> {
        Self::with_root(settings, identification, bootstrap::pinned(settings)?)
    }

    /// As [`Self::open`], with a root (DER) whose fingerprint has been checked already.
    ///
    /// # Errors
    /// The certificate cannot serve as a root.
    pub fn with_root(settings: &Settings, identification: &Identification, root: Vec<u8>) -> Result<Self, CaError> {
        let http = Http::new(&settings.url, Trust::Root(&root), settings.proxy.as_deref()).map_err(|problem| {
            CaError::Unusable {
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
            audience: OnceCell::new(),
            credential: OnceCell::new(),
            asks_once: Cell::new(false),
        })
    }

    /// The same CA, with one-time tokens that are in memory only.
    #[must_use]
    pub fn with_tokens(self, tokens: Vec<Token>) -> Self {
        Self { credential: OnceCell::from(Credential::Tokens(RefCell::new(tokens.into()))), ..self }
    }

    /// Whether this CA can rekey: then a machine's first host certificate vouches for its further host keys (SSHPOP),
    /// and one token is enough for all of them.
    ///
    /// # Errors
    /// The CA does not answer.
    pub fn certifies_on_word(&self) -> Result<bool, CaError> {
        Ok(self.renewer(Purpose::Rekey, self.shown_provisioners()?).is_ok())
    }

    /// From now on, a question is not repeated if no answer comes.
    pub fn ask_once(&self) {
        self.asks_once.set(true);
    }

    /// The connection, for questions that change nothing.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// The pinned root certificate, in DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// The CA's SSH keys, fetched once.
    ///
    /// # Errors
    /// The CA does not answer, or does not issue SSH certificates.
    pub fn ssh_roots(&self) -> Result<&SshRoots, CaError> {
        if let Some(known) = self.roots.get() {
            return Ok(known);
        }
        let asked = self.repeated(api::ssh_roots).map_err(|failure| self.diagnosed(&failure, Task::ReadingSshKeys))?;
        Ok(self.roots.get_or_init(|| asked))
    }

    /// The CA's provisioners, fetched once.
    ///
    /// # Errors
    /// The CA does not answer, or a proxy in front of it hides them.
    pub fn provisioners(&self) -> Result<&[Provisioner], CaError> {
        let asked = self.provisioners.get_or_init(|| self.repeated(api::provisioners));
        match asked {
            Ok(list) => Ok(list),
            Err(failure) => Err(self.diagnosed(failure, Task::Reading("its provisioners"))),
        }
    }

    /// The CA's provisioners; `None` if the CA answers but does not show them, since a proxy may allow only some paths.
    ///
    /// # Errors
    /// The CA does not answer.
    pub fn shown_provisioners(&self) -> Result<Option<&[Provisioner]>, CaError> {
        match self.provisioners() {
            Ok(list) => Ok(Some(list)),
            Err(error) => match self.provisioners.get() {
                Some(Err(failure)) if failure.is_answer() => Ok(None),
                Some(_) | None => Err(error),
            },
        }
    }

    /// Sends a question that needs no login. Repeats it if that may help.
    fn repeated<T>(&self, ask: impl Fn(&Http) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut retries = Retries::new(self.asks_once.get());
        loop {
            match ask(&self.http) {
                Err(failure) if retries.of_a_question(&failure) => {}
                ended => return ended,
            }
        }
    }

    fn diagnosed(&self, failure: &Failure, doing: Task<'_>) -> CaError {
        self.knowing(|known| diagnosis::of(failure, doing, known))
    }

    /// Calls `act` with everything that can help to find the cause of a refusal.
    fn knowing<T>(&self, act: impl FnOnce(&Evidence<'_>) -> T) -> T {
        act(&Evidence {
            ca: self.describe(),
            settings: &self.settings,
            http: &self.http,
            provisioners: &|| self.provisioners().ok(),
            roots: &|| self.ssh_roots().ok(),
        })
    }

    /// The credential, opened once; this may ask a person.
    ///
    /// # Errors
    /// There is no credential, or it does not fit the CA.
    pub fn credential(&self) -> Result<&Credential, CaError> {
        if let Some(credential) = self.credential.get() {
            return Ok(credential);
        }
        let (list, shown) = (|| self.provisioners(), || self.shown_provisioners());
        let encrypted_key = |kid: &str| match api::encrypted_key(&self.http, kid) {
            Ok(key) => Ok(Some(key)),
            Err(Failure::Status { status: 404, .. }) => Ok(None),
            Err(failure) => Err(self.diagnosed(&failure, Task::Reading("the provisioner's encrypted key"))),
        };
        let provisioners =
            Provisioners { list: &list, shown: &shown, encrypted_key: &encrypted_key, ca: self.describe() };
        let opened = Credential::open(&self.settings, &self.identification, &provisioners)?;
        Ok(self.credential.get_or_init(|| opened))
    }

    /// A token for one certificate, for use by another machine or person within `life` seconds.
    ///
    /// # Errors
    /// There is no credential that can make tokens.
    pub fn token_for(&self, wanted: CertificateSpec<'_>, life: u64) -> Result<Token, CaError> {
        self.clock()?;
        self.credential()?.token(self.claims("", Use::Sign, wanted.key_id, Some(wanted), life))
    }

    /// The CA's present time, in seconds since 1970. By that clock the CA refuses tokens that are older than its own
    /// start. Callers have checked with [`Self::clock`] that the two clocks are close.
    fn ca_time(&self) -> u64 {
        now().saturating_add_signed(self.http.ahead().unwrap_or_default() / 1000)
    }

    fn claims<'a>(
        &'a self,
        provisioner: &'a str,
        purpose: Use,
        subject: &'a str,
        wanted: Option<CertificateSpec<'a>>,
        life: u64,
    ) -> Claims<'a> {
        let (ca, root) = (self.audience(), &self.settings.fingerprint);
        Claims { ca, root, provisioner, purpose, subject, wanted, now: self.ca_time(), life }
    }

    /// The CA's address as the CA itself spells it, known once it has answered: it compares the audience letter by
    /// letter.
    fn audience(&self) -> &CaUrl {
        self.audience.get_or_init(|| {
            let names = self.http.names_of_step_ca().unwrap_or_default();
            self.settings.url.spelled_as(&names)
        })
    }

    /// Makes the CA refuse to renew a certificate. `own`: a certificate of this machine and its key, which then signs
    /// the request; otherwise the credential does.
    ///
    /// # Errors
    /// There is no credential, or the CA refuses, for example because the certificate is revoked already.
    pub fn revoke(&self, serial: u64, own: Option<(&Certificate, HeldKey<'_>)>, reason: u8) -> Result<(), CaError> {
        self.clock()?;
        let serial = serial.to_string();
        let ask = |token: Token| {
            let (ott, reason_code) = (token.as_str(), reason);
            let request = RevokeRequest { serial: &serial, ott, reason_code, reason: "warded revoke", passive: true };
            api::revoke(&self.http, &request).map_err(|failure| self.diagnosed(&failure, Task::Revoking))
        };
        let Some((certificate, key)) = own else {
            return ask(self.credential()?.token(self.claims("", Use::Revoke, &serial, None, LIFE))?);
        };
        let mut read = None;
        let key = Self::signer(key, &mut read)?;
        self.by_renewer(Purpose::Renew, |name| ask(self.sshpop(name, Use::Revoke, certificate, key)?))
    }

    /// Fails early, where the CA would refuse anyway, if the clocks differ by more than a minute.
    fn clock(&self) -> Result<(), CaError> {
        if self.http.ahead().is_none() {
            self.ssh_roots()?;
        }
        diagnosis::clock(&self.describe(), self.http.ahead()).map_or(Ok(()), Err)
    }
}

/// The CA's name in messages.
#[must_use]
pub fn describe(settings: &Settings) -> String {
    format!("the CA {}", settings.url)
}

/// The claims of a token that was made elsewhere, or why they cannot be read.
///
/// # Errors
/// The text is not a token.
pub fn read_token(text: &str) -> Result<TokenClaims, String> {
    TokenClaims::read(&Token::given(text))
}
