//! step-ca over its HTTP API: everything that the `step` program is used for in SSH, without it.
//!
//! Renewals need no secret: the host's own key signs for them (SSHPOP). For something new there is a
//! [`Credential`]. TLS trusts the pinned root, and nothing else.

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

/// A step-ca, and who this machine is to it.
#[derive(Debug)]
pub struct StepAuthority {
    settings: Settings,
    identification: Identification,
    root: Vec<u8>,
    http: Http,
    roots: OnceCell<SshRoots>,
    /// Or why there is no such list.
    provisioners: OnceCell<Result<Vec<Provisioner>, Failure>>,
    /// The address, with the letters that the CA compares tokens with.
    audience: OnceCell<CaUrl>,
    credential: OnceCell<Credential>,
    /// Whether a question without an answer is asked once.
    asks_once: Cell<bool>,
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

    /// The same CA, asked with one-time tokens that are in memory alone.
    #[must_use]
    pub fn with_tokens(self, tokens: Vec<Token>) -> Self {
        Self { credential: OnceCell::from(Credential::Tokens(RefCell::new(tokens.into()))), ..self }
    }

    /// Whether the CA certifies further host keys of a machine on the word of its first (SSHPOP): then one token is
    /// enough for all of them.
    ///
    /// # Errors
    /// The CA does not answer.
    pub fn certifies_on_word(&self) -> Result<bool, CaError> {
        Ok(self.renewer(Purpose::Rekey, self.shown_provisioners()?).is_ok())
    }

    /// From now on, nothing is asked again for want of an answer.
    pub fn ask_once(&self) {
        self.asks_once.set(true);
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
        if let Some(known) = self.roots.get() {
            return Ok(known);
        }
        let asked = self.repeated(api::ssh_roots).map_err(|failure| self.diagnosed(&failure, Task::ReadingSshKeys))?;
        Ok(self.roots.get_or_init(|| asked))
    }

    /// The CA's provisioners, asked for once.
    ///
    /// # Errors
    /// The CA does not answer, or something in front of it hides them.
    pub fn provisioners(&self) -> Result<&[Provisioner], CaError> {
        let asked = self.provisioners.get_or_init(|| self.repeated(api::provisioners));
        match asked {
            Ok(list) => Ok(list),
            Err(failure) => Err(self.diagnosed(failure, Task::Reading("its provisioners"))),
        }
    }

    /// The CA's provisioners; none where the CA answers and does not show them: a proxy may let only some paths through.
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

    /// Asks for what needs no login, again where that may help.
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

    /// Hands on all that can be looked at to find the cause of a refusal.
    fn knowing<T>(&self, act: impl FnOnce(&Evidence<'_>) -> T) -> T {
        act(&Evidence {
            ca: self.describe(),
            settings: &self.settings,
            http: &self.http,
            provisioners: &|| self.provisioners().ok(),
            roots: &|| self.ssh_roots().ok(),
        })
    }

    /// The credential, opened once: this may ask a person.
    ///
    /// # Errors
    /// There is no credential, or it does not fit.
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

    /// A token for one certificate, for another machine or person to use within `life` seconds.
    ///
    /// # Errors
    /// There is no credential that can make one.
    pub fn token_for(&self, wanted: CertificateSpec<'_>, life: u64) -> Result<Token, CaError> {
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
        wanted: Option<CertificateSpec<'a>>,
        life: u64,
    ) -> Claims<'a> {
        let (ca, root) = (self.audience(), &self.settings.fingerprint);
        Claims { ca, root, provisioner, purpose, subject, wanted, now: self.ca_time(), life }
    }

    /// The CA's address as the CA writes it, once there was an answer: it compares the audience letter by letter.
    fn audience(&self) -> &CaUrl {
        self.audience.get_or_init(|| {
            let names = self.http.names_of_step_ca().unwrap_or_default();
            self.settings.url.spelled_as(&names)
        })
    }

    /// Has the CA renew a certificate no more. `own`: this machine's own, and its key, which asks for
    /// it; else the credential does.
    ///
    /// # Errors
    /// There is no credential, or the CA refuses: it has revoked it already, say.
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

    /// Refuses to go on where the CA would: with a clock that is off by more than a minute.
    fn clock(&self) -> Result<(), CaError> {
        if self.http.ahead().is_none() {
            self.ssh_roots()?;
        }
        diagnosis::clock(&self.describe(), self.http.ahead()).map_or(Ok(()), Err)
    }
}

/// Which CA, for messages.
#[must_use]
pub fn describe(settings: &Settings) -> String {
    format!("the CA {}", settings.url)
}

/// What a token that was made elsewhere says of itself, or why it cannot be read.
///
/// # Errors
/// It is no token.
pub fn read_token(text: &str) -> Result<TokenClaims, String> {
    TokenClaims::read(&Token::given(text))
}
