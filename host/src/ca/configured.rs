//! The CA that the operator chose, opened when it is first needed.

use super::{CaError, CertificateAuthority, local::LocalAuthority};
use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
};

/// Which CA, if any.
pub struct Authority {
    directory: Option<PathBuf>,
    opened: OnceCell<Box<dyn CertificateAuthority>>,
}

impl Authority {
    /// None: what needs one says how to get one.
    #[must_use]
    pub fn none() -> Self {
        Self { directory: None, opened: OnceCell::new() }
    }

    /// A local CA.
    #[must_use]
    pub fn local(directory: &Path) -> Self {
        Self { directory: Some(directory.to_owned()), opened: OnceCell::new() }
    }

    /// One of another kind.
    #[must_use]
    pub fn of(authority: Box<dyn CertificateAuthority>) -> Self {
        Self { directory: None, opened: OnceCell::from(authority) }
    }

    /// Which CA this is, whether it can be reached or not.
    #[must_use]
    pub fn describe(&self) -> String {
        match (&self.directory, self.opened.get()) {
            (Some(directory), _) => format!("the local CA in {}", directory.display()),
            (None, Some(authority)) => authority.describe(),
            (None, None) => "no CA".to_owned(),
        }
    }

    /// Opens it, once.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    pub fn open(&self) -> Result<&dyn CertificateAuthority, CaError> {
        if let Some(authority) = self.opened.get() {
            return Ok(authority.as_ref());
        }
        let Some(directory) = &self.directory else {
            return Err(CaError::Unreachable {
                ca: "a certificate authority".to_owned(),
                cause: "none is configured".to_owned(),
                next: "name one with --ca DIR or `ca = \"DIR\"` in the configuration; `warded ca init DIR` makes one"
                    .to_owned(),
            });
        };
        let opened = LocalAuthority::open(directory).map_err(|error| CaError::Unreachable {
            ca: format!("the local CA in {}", directory.display()),
            cause: error.message().to_owned(),
            next: "name the right directory with --ca DIR".to_owned(),
        })?;
        Ok(self.opened.get_or_init(|| Box::new(opened)).as_ref())
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Authority").field(&self.directory).finish()
    }
}
