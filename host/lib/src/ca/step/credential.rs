//! The credential for new certificates: a provisioner's password or key, one-time tokens, or an X.509 certificate. It
//! is opened when it is first needed; guests never see any of it.

mod source;

pub(super) use source::is_given;
pub use source::{Source, read_secret, read_trusted};

use super::{
    diagnosis::refusal::sshpop,
    foreign_token::TokenClaims,
    jwe, jwk,
    jwk::ProvisionerKey,
    provisioner::{self, ChoiceError, Provisioner, Purpose, choose},
    settings::{AskPassword, Identification, Settings},
    token::{self, Claims, Proof, Token},
};
use crate::{
    ca::CaError,
    machine::keys::{KeyError, signing::SigningKey},
    text::{count, neutral},
};
use std::{cell::RefCell, collections::VecDeque, path::Path};

/// An opened credential.
#[derive(Debug)]
pub enum Credential {
    /// Tokens that were made elsewhere; each can be used once.
    Tokens(RefCell<VecDeque<Token>>),
    /// A provisioner's private key.
    Key {
        key: SigningKey,
        /// The key's ID.
        kid: String,
        /// The provisioner's name.
        provisioner: String,
    },
    /// An X.509 certificate.
    X5c {
        key: SigningKey,
        /// The certificate and its intermediates, in DER.
        chain: Vec<Vec<u8>>,
        /// The provisioner's name.
        provisioner: String,
    },
}

/// The error that a credential cannot be used: `cause` says why, `next` what would help.
pub(super) fn unusable(cause: impl Into<String>, next: impl Into<String>) -> CaError {
    CaError::Credential { cause: cause.into(), next: next.into() }
}

/// Access to the CA's provisioners, from which one is chosen.
pub struct Provisioners<'a> {
    /// The CA's list; fetched only if it is needed.
    pub list: &'a dyn Fn() -> Result<&'a [Provisioner], CaError>,
    /// The same list; `None` if the CA answers but does not show it.
    pub shown: &'a dyn Fn() -> Result<Option<&'a [Provisioner]>, CaError>,
    /// The private key of one of them as stored by the CA, encrypted; `None` if the CA does not store it.
    pub encrypted_key: &'a dyn Fn(&str) -> Result<Option<String>, CaError>,
    pub ca: String,
}

impl Credential {
    /// Opens the credential that the operator named. A flag takes precedence over the configuration, and the
    /// configuration over the environment, a systemd credential and a question at the terminal.
    ///
    /// # Errors
    /// There is no credential, it cannot be read, or it does not fit the CA.
    pub fn open(
        settings: &Settings,
        identification: &Identification,
        provisioners: &Provisioners<'_>,
    ) -> Result<Self, CaError> {
        let named = identification.provisioner.as_deref().or(settings.provisioner.as_deref());
        let source = Source::of(settings, identification);
        source.refuse_others()?;
        match source {
            Source::Tokens(file) => {
                let tokens = source::tokens(&file)?;
                Ok(Self::Tokens(RefCell::new(tokens)))
            }
            Source::X5c { certificate, key } => {
                let chain = source::chain(&certificate)?;
                let key = SigningKey::read(&key).map_err(|error| {
                    unusable(error.to_string(), "name the private key of the X.509 certificate, without a passphrase")
                })?;
                let provisioner = ProvisionerChoice::of(provisioners, Purpose::IssueWithX5c, named)?.name().to_owned();
                Ok(Self::X5c { key, chain, provisioner })
            }
            Source::KeyFile(file) => {
                let chosen = ProvisionerChoice::of(provisioners, Purpose::IssueWithKey, named)?;
                let contents = source::read_private(&file)?;
                let key = key_of_file(&file, &contents, chosen.name(), identification.ask_password)?;
                if let (Some(theirs), Some(ours)) = (chosen.kid(), &key.kid)
                    && theirs != ours
                {
                    return Err(unusable(
                        format!("{} is not the key of the provisioner {}", file.display(), chosen.shown()),
                        "name the right key, or another provisioner with --provisioner NAME",
                    ));
                }
                Self::with_key(&chosen, key)
            }
            Source::PasswordFile(file) => {
                let provisioner = listed(provisioners, Purpose::IssueWithKey, named)?;
                let encrypted = Self::encrypted(provisioner, provisioners)?;
                Self::unlock(provisioner, &encrypted, &source::password_file(&file)?)
            }
            Source::Password => {
                let provisioner = listed(provisioners, Purpose::IssueWithKey, named)?;
                let encrypted = Self::encrypted(provisioner, provisioners)?;
                Self::unlock(
                    provisioner,
                    &encrypted,
                    &source::password(provisioner.name(), identification.ask_password)?,
                )
            }
        }
    }

    /// The provisioner's encrypted key from the CA; fetched before a person is asked for the password.
    fn encrypted(provisioner: &Provisioner, provisioners: &Provisioners<'_>) -> Result<String, CaError> {
        if let Some(encrypted) = provisioner.encrypted_key() {
            return Ok(encrypted.to_owned());
        }
        (provisioners.encrypted_key)(provisioner.kid().unwrap_or_default())?.ok_or_else(|| {
            unusable(
                format!("the CA does not keep the key of the provisioner {provisioner}, so no password unlocks it"),
                "give the key itself: --provisioner-key-file FILE",
            )
        })
    }

    fn unlock(provisioner: &Provisioner, encrypted: &str, password: &[u8]) -> Result<Self, CaError> {
        let failed = |why: &dyn std::fmt::Display, next: &str| {
            unusable(format!("cannot unlock the key of the provisioner {provisioner}: {why}"), next)
        };
        let json = jwe::decrypt(encrypted, password).map_err(|error| match &error {
            jwe::JweError::Password => match source::oddity(password) {
                Some(oddity) => {
                    failed(&format!("{error}: {oddity}"), "write the password in UTF-8, with nothing around it")
                }
                None => failed(&error, "give the right password"),
            },
            jwe::JweError::Unsupported(_) => failed(
                &error,
                "give the key itself, which `step crypto jwe decrypt` prints: --provisioner-key-file FILE",
            ),
            jwe::JweError::Damaged(_) | jwe::JweError::Rounds(_) => {
                failed(&error, "look at the provisioner's encryptedKey in the CA's ca.json")
            }
        })?;
        let key = jwk::parse(&json).map_err(|error| {
            unusable(format!("the key of the provisioner {provisioner}: {error}"), "look at it in the CA's ca.json")
        })?;
        Self::with_key(&ProvisionerChoice::Listed(provisioner), key)
    }

    fn with_key(chosen: &ProvisionerChoice<'_>, ProvisionerKey { key, kid }: ProvisionerKey) -> Result<Self, CaError> {
        let kid = chosen.kid().map(str::to_owned).or(kid).ok_or_else(|| {
            unusable(
                format!("the key of the provisioner {} has no ID (kid)", chosen.shown()),
                "give it as a JSON Web Key with its \"kid\"; in ca.json it stands beside the public key",
            )
        })?;
        Ok(Self::Key { key, kid, provisioner: chosen.name().to_owned() })
    }

    /// Whether this credential can provide another token if one is refused.
    #[must_use]
    pub fn can_repeat(&self) -> bool {
        matches!(self, Self::Key { .. } | Self::X5c { .. })
    }

    /// The provisioner's name, if it is known.
    #[must_use]
    pub fn provisioner(&self) -> Option<&str> {
        match self {
            Self::Tokens(_) => None,
            Self::Key { provisioner, .. } | Self::X5c { provisioner, .. } => Some(provisioner),
        }
    }

    /// A token for one request. Replaces the provisioner in `claims`.
    ///
    /// # Errors
    /// No token is left, or a new one cannot be signed.
    pub fn token(&self, claims: Claims<'_>) -> Result<Token, CaError> {
        let signed = |token: Result<Token, KeyError>| {
            token.map_err(|error| unusable(format!("a token could not be signed: {error}"), "try again"))
        };
        match self {
            Self::Tokens(tokens) => tokens.borrow_mut().pop_front().ok_or_else(|| {
                unusable("all the one-time tokens that were given have been used", "make one for each host key")
            }),
            Self::Key { key, kid, provisioner } => {
                signed(token::make(key, &Proof::Jwk { kid }, &Claims { provisioner, ..claims }))
            }
            Self::X5c { key, chain, provisioner } => {
                signed(token::make(key, &Proof::X5c { chain }, &Claims { provisioner, ..claims }))
            }
        }
    }

    /// Checks that the credential can be used `times` times.
    ///
    /// # Errors
    /// There are fewer tokens than that.
    pub fn suffices_for(&self, times: usize) -> Result<(), CaError> {
        let Self::Tokens(tokens) = self else { return Ok(()) };
        let tokens = tokens.borrow();
        let there = tokens.len();
        if there >= times {
            return Ok(());
        }
        let names = tokens.front().and_then(|token| TokenClaims::read(token).ok()).map(|given| given.principals());
        Err(unusable(
            format!("{} needed, and {there} given", count(times, "one-time token")),
            more_tokens(&names.unwrap_or_default(), times),
        ))
    }
}

/// The commands that make tokens for `keys` host keys of the machine with these names.
fn more_tokens(names: &[String], keys: usize) -> String {
    let is_plain = |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-_".contains(&byte));
    // The names come from a token: only plain names may appear in a command that a person copies into a shell.
    let names = if names.iter().all(is_plain) { names } else { &[] };
    let name = names.first().map_or("NAME", String::as_str);
    let with = |names: &[String]| names.iter().map(|name| format!(" -n {name}")).collect::<String>();
    let (all, others) =
        if names.len() > 1 { (with(names), with(names.get(1..).unwrap_or_default())) } else { Default::default() };
    format!(
        "on the admin's machine: warded token {name} --host{all} --count {keys}, or for `warded enrol`: warded invite \
         {name}{others} --keys {keys}"
    )
}

/// The provisioner to use.
enum ProvisionerChoice<'a> {
    /// A provisioner in the CA's list.
    Listed(&'a Provisioner),
    /// The provisioner that the operator named, if the CA does not show its list.
    Named(String),
}

impl<'a> ProvisionerChoice<'a> {
    fn of(provisioners: &Provisioners<'a>, purpose: Purpose, named: Option<&str>) -> Result<Self, CaError> {
        if let (None, Some(named)) = ((provisioners.shown)()?, named) {
            return Ok(Self::Named(named.to_owned()));
        }
        listed(provisioners, purpose, named).map(Self::Listed)
    }

    fn name(&self) -> &str {
        match self {
            Self::Listed(provisioner) => provisioner.name(),
            Self::Named(name) => name,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Listed(provisioner) => provisioner.to_string(),
            Self::Named(name) => neutral(name),
        }
    }

    fn kid(&self) -> Option<&str> {
        match self {
            Self::Listed(provisioner) => provisioner.kid(),
            Self::Named(_) => None,
        }
    }
}

fn listed<'a>(
    provisioners: &Provisioners<'a>,
    purpose: Purpose,
    named: Option<&str>,
) -> Result<&'a Provisioner, CaError> {
    if (provisioners.shown)()?.is_none() {
        // Fails with the reason why the CA does not show it.
        (provisioners.list)().map_err(|error| match error {
            CaError::Refused { ca, cause, .. } | CaError::Unreachable { ca, cause, .. } => CaError::Refused {
                ca,
                cause,
                next: "without that list, give the provisioner's name and key: \
                       --provisioner NAME --provisioner-key-file FILE"
                    .to_owned(),
            },
            other @ (CaError::NotConfigured { .. }
            | CaError::OfRootOnly { .. }
            | CaError::Unusable { .. }
            | CaError::Credential { .. }
            | CaError::Wrong(_)) => other,
        })?;
    }
    choose((provisioners.list)()?, purpose, named).map_err(|why| not_chosen(&provisioners.ca, &why, purpose))
}

/// The error that no provisioner could be chosen, with what to do.
pub(super) fn not_chosen(ca: &str, why: &ChoiceError, purpose: Purpose) -> CaError {
    let (cause, next) = (why.cause(purpose), remedy(why, purpose));
    match why {
        // The CA would issue a certificate: the operator only has to say through which provisioner.
        ChoiceError::Several(_) => CaError::Credential { cause: format!("{ca}: {cause}"), next },
        ChoiceError::Unknown(..) | ChoiceError::Unfit(..) | ChoiceError::None(_) => {
            CaError::Refused { ca: ca.to_owned(), cause, next }
        }
    }
}

/// What to do if no provisioner could be chosen.
pub(super) fn remedy(why: &ChoiceError, purpose: Purpose) -> String {
    let renewal = matches!(purpose, Purpose::Renew | Purpose::RenewExpired | Purpose::Rekey);
    let claims = if purpose == Purpose::RenewExpired { r#", "allowRenewalAfterExpiry": true"# } else { "" };
    match why {
        ChoiceError::Several(found) => {
            let first = found.first().map_or("NAME", |found| found.name.as_str());
            format!("name one: --provisioner {first:?}")
        }
        ChoiceError::Unknown(_, found) if !found.is_empty() => {
            format!("name one of these: {}", provisioner::list(found))
        }
        ChoiceError::None(there) if renewal && there.is_empty() => sshpop("sshpop", claims),
        ChoiceError::None(_) | ChoiceError::Unfit(..) if renewal => {
            "change that provisioner's claims in the CA's ca.json, and restart it".to_owned()
        }
        ChoiceError::None(_) | ChoiceError::Unfit(..) | ChoiceError::Unknown(..) => {
            "warded ca show lists the provisioners; on the CA, the claim \"enableSSHCA\": true makes one serve for SSH"
                .to_owned()
        }
    }
}

/// The key in a file: JSON, JSON encrypted with a password, or PEM.
fn key_of_file(
    file: &Path,
    contents: &[u8],
    provisioner: &str,
    ask: Option<AskPassword>,
) -> Result<ProvisionerKey, CaError> {
    let wrong = |why: String| unusable(format!("{}: {why}", file.display()), "name the provisioner's private key");
    let contents = source::without_mark(contents);
    let text = std::str::from_utf8(contents).map_err(|_| wrong("it is not text in UTF-8".to_owned()))?.trim();
    if text.contains("-----BEGIN") {
        let key = SigningKey::parse(contents).map_err(|error| wrong(error.to_string()))?;
        return Ok(ProvisionerKey { key, kid: None });
    }
    let compact = match jwe::compact_of(text) {
        Some(compact) => compact,
        None if text.starts_with('{') => return jwk::parse(contents).map_err(|error| wrong(error.to_string())),
        None => text.to_owned(),
    };
    let password = source::password(provisioner, ask)?;
    let json = jwe::decrypt(&compact, &password).map_err(|error| wrong(error.to_string()))?;
    jwk::parse(&json).map_err(|error| wrong(error.to_string()))
}
