//! The CA that the operator chose, opened when it is first needed.

use super::{
    CaError, CertificateAuthority,
    local::LocalAuthority,
    step::{Identification, Settings, StepAuthority},
};
use crate::error::{Error, Label};
use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
};

/// The configured CA, if any.
#[derive(Debug)]
pub struct Authority {
    choice: Choice,
    opened: OnceCell<OpenAuthority>,
}

#[derive(Debug)]
enum Choice {
    /// Contains the address of the machine's CA, if there is one and only root may use it.
    None(Option<String>),
    Broken(Error),
    /// Several CAs are configured, and none was selected.
    Unchosen(Error),
    Other,
    Local(PathBuf),
    Step(Box<(Settings, Identification)>),
}

enum OpenAuthority {
    Other(Box<dyn CertificateAuthority>),
    Local(Box<LocalAuthority>),
    Step(Box<StepAuthority>),
}

impl OpenAuthority {
    fn authority(&self) -> &dyn CertificateAuthority {
        match self {
            Self::Local(authority) => authority.as_ref(),
            Self::Step(authority) => authority.as_ref(),
            Self::Other(authority) => authority.as_ref(),
        }
    }
}

impl std::fmt::Debug for OpenAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({})", self.authority().describe())
    }
}

impl Authority {
    /// No CA: an operation that needs one fails, and says how to configure one.
    #[must_use]
    pub fn none() -> Self {
        Self::choose(Choice::None(None))
    }

    /// No CA for the user who runs this, although the machine has one, at this address.
    #[must_use]
    pub fn of_root_only(address: String) -> Self {
        Self::choose(Choice::None(Some(address)))
    }

    /// A CA whose configuration is not usable: an operation that needs it fails with this error.
    #[must_use]
    pub fn broken(error: Error) -> Self {
        Self::choose(Choice::Broken(error))
    }

    /// Several CAs, of which none is selected: an operation that needs one fails with this error.
    #[must_use]
    pub fn unchosen(error: Error) -> Self {
        Self::choose(Choice::Unchosen(error))
    }

    /// Whether a CA is configured, even if it is not usable.
    #[must_use]
    pub fn is_there(&self) -> bool {
        !matches!(self.choice, Choice::None(_) | Choice::Unchosen(_))
    }

    /// A CA in a local directory.
    #[must_use]
    pub fn local(directory: &Path) -> Self {
        Self::choose(Choice::Local(directory.to_owned()))
    }

    /// A step-ca, and how this machine identifies itself to it.
    #[must_use]
    pub fn step(settings: Settings, identification: Identification) -> Self {
        Self::choose(Choice::Step(Box::new((settings, identification))))
    }

    /// A step-ca that has been opened already.
    #[must_use]
    pub fn of_step(settings: Settings, identification: Identification, opened: StepAuthority) -> Self {
        let opened = OnceCell::from(OpenAuthority::Step(Box::new(opened)));
        Self { choice: Choice::Step(Box::new((settings, identification))), opened }
    }

    /// A CA of another implementation.
    #[must_use]
    pub fn of(authority: Box<dyn CertificateAuthority>) -> Self {
        Self { choice: Choice::Other, opened: OnceCell::from(OpenAuthority::Other(authority)) }
    }

    fn choose(choice: Choice) -> Self {
        Self { choice, opened: OnceCell::new() }
    }

    /// Identifies the CA, without contacting it: a machine that was enrolled with one CA must not be renewed by
    /// another. The address alone would not identify it.
    #[must_use]
    pub fn identity(&self) -> String {
        match &self.choice {
            Choice::Local(directory) => format!("the local CA in {}", directory.display()),
            Choice::Step(step) => format!("the CA {} with the root {}", step.0.url.canonical(), step.0.fingerprint),
            Choice::None(_) | Choice::Broken(_) | Choice::Unchosen(_) | Choice::Other => {
                self.opened.get().map_or_else(|| "no CA".to_owned(), |opened| opened.authority().describe())
            }
        }
    }

    /// The address of a step-ca, without contacting it.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        match &self.choice {
            Choice::Step(step) => Some(step.0.url.canonical().to_owned()),
            Choice::None(_) | Choice::Broken(_) | Choice::Unchosen(_) | Choice::Other | Choice::Local(_) => None,
        }
    }

    /// The name that an administrator knows it by: its URL or directory; `None` if there is no CA.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        match &self.choice {
            Choice::Local(directory) => Some(directory.display().to_string()),
            Choice::Step(step) => Some(step.0.url.canonical().to_string()),
            Choice::Other => self.opened.get().map(|opened| opened.authority().describe()),
            Choice::None(_) | Choice::Broken(_) | Choice::Unchosen(_) => None,
        }
    }

    /// Whether it is a step-ca; does not contact it.
    #[must_use]
    pub fn is_step(&self) -> bool {
        matches!(self.choice, Choice::Step(_))
    }

    /// Opens the CA on the first call.
    ///
    /// # Errors
    /// No CA is configured, or it cannot be opened.
    pub fn open(&self) -> Result<&dyn CertificateAuthority, CaError> {
        Ok(self.opened()?.authority())
    }

    /// The step-ca; `None` if the CA is of another type.
    ///
    /// # Errors
    /// As for [`Authority::open`].
    pub fn open_step(&self) -> Result<Option<&StepAuthority>, CaError> {
        Ok(match self.opened()? {
            OpenAuthority::Local(_) | OpenAuthority::Other(_) => None,
            OpenAuthority::Step(authority) => Some(authority),
        })
    }

    fn opened(&self) -> Result<&OpenAuthority, CaError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = match &self.choice {
            Choice::Broken(error) | Choice::Unchosen(error) => {
                let next = error.notes_of(Label::Next).next();
                return Err(CaError::Credential {
                    cause: error.brief(),
                    next: next.unwrap_or("warded bootstrap --ca-url URL --fingerprint HEX").to_owned(),
                });
            }
            Choice::None(Some(address)) => {
                return Err(CaError::OfRootOnly { address: address.clone() });
            }
            Choice::None(None) | Choice::Other => {
                return Err(CaError::NotConfigured {
                    next: "warded bootstrap --ca-url URL --fingerprint HEX for a step-ca; \
                           `warded ca init DIR` and --ca DIR for one of your own"
                        .to_owned(),
                });
            }
            Choice::Step(step) => OpenAuthority::Step(Box::new(StepAuthority::open(&step.0, &step.1)?)),
            Choice::Local(directory) => {
                OpenAuthority::Local(Box::new(LocalAuthority::open(directory).map_err(|error| {
                    CaError::Unreachable {
                        ca: format!("the local CA in {}", directory.display()),
                        answered: false,
                        cause: error.message().to_owned(),
                        next: "name the right directory with --ca DIR".to_owned(),
                    }
                })?))
            }
        };
        Ok(self.opened.get_or_init(|| opened))
    }
}
