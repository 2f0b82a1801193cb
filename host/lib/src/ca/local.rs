//! A CA in a directory on this machine, with one key for hosts and one for users. It is for a first try, a lab without
//! a network, and tests. A user who can read the directory can certify any name.

mod store;

use super::{
    CaError, CertificateAuthority, HeldKey, IssueRequest,
    certificate::Certificate,
    kind::Kind,
    now,
    principal::Principals,
    sign::{Window, sign},
    verify,
};
use crate::{
    error::{Error, Result},
    machine::keys,
};
use ssh_key::{Algorithm, HashAlg, PrivateKey, PublicKey};
use std::path::{Path, PathBuf};

const DAY: u64 = 24 * 3600;
/// As step-ca's defaults: 30 days for hosts, 16 hours for users, backdated by one minute.
const HOST_LIFE: u64 = 30 * DAY;
const USER_LIFE: u64 = 16 * 3600;
const BACKDATE: u64 = 60;
/// A renewal keeps the length of its predecessor's validity, up to this limit: otherwise an imported certificate of ten
/// years could be renewed for ever.
const MAX_LIFE: u64 = 400 * DAY;

/// The CA in a directory. Its keys are wiped from memory when it is dropped.
#[derive(Debug)]
pub struct LocalAuthority {
    directory: PathBuf,
    host: PrivateKey,
    user: PrivateKey,
}

impl LocalAuthority {
    /// Creates a CA: two new Ed25519 keys in `directory` (0700), `host_ca` and `user_ca` (0600), with `host_ca.pub` and
    /// `user_ca.pub`. The directory appears complete or not at all.
    ///
    /// # Errors
    /// The directory is not empty, or cannot be written.
    pub fn init(directory: &Path) -> Result<Self> {
        store::create(directory).map_err(Error::or_unchanged)?;
        Self::open(directory)
    }

    /// Opens a CA.
    ///
    /// # Errors
    /// The directory does not exist; or its keys can be read or changed by others, have a passphrase, or are of a type
    /// that this CA does not sign with.
    pub fn open(directory: &Path) -> Result<Self> {
        store::check_directory(directory)?;
        Ok(Self {
            host: store::load(directory, Kind::Host)?,
            user: store::load(directory, Kind::User)?,
            directory: directory.to_owned(),
        })
    }

    fn key(&self, kind: Kind) -> &PrivateKey {
        match kind {
            Kind::Host => &self.host,
            Kind::User => &self.user,
        }
    }

    fn refused(&self, cause: impl Into<String>, next: impl Into<String>) -> CaError {
        CaError::Refused { ca: self.describe(), cause: cause.into(), next: next.into() }
    }

    fn signed(&self, request: &IssueRequest, life: u64, now: u64) -> Result<Certificate, CaError> {
        if let Some(weakness) = weakness(&request.key) {
            return Err(self.refused(weakness, "use an Ed25519, ECDSA or RSA key of 2048 bits or more"));
        }
        let window = Window { after: now.saturating_sub(BACKDATE), before: now.saturating_add(life) };
        let certificate = sign(self.key(request.kind), request, window).map_err(|error| {
            self.refused(
                format!("a {} key could not be certified: {error}", request.key.algorithm()),
                "use another key",
            )
        })?;
        verify::check(&certificate, request, &[self.key(request.kind).public_key().clone()], now)?;
        Ok(certificate)
    }

    /// The request for a successor of `current`, if it may have one.
    fn succession(&self, current: &Certificate, key: &Path, now: u64) -> Result<IssueRequest, CaError> {
        let anew = "ask for a new certificate instead of a renewal";
        if current.kind() == Kind::User {
            return Err(self.refused("user certificates are not renewed", anew));
        }
        verify::signed_by(current, std::slice::from_ref(self.host.public_key()))
            .map_err(|wrong| self.refused(format!("the present certificate cannot be renewed: {wrong}"), anew))?;
        if let Some(wrong) = verify::problem(current, Kind::Host, std::slice::from_ref(current.key()), now) {
            return Err(self.refused(format!("the present certificate cannot be renewed: {wrong}"), anew));
        }
        let own = keys::read_public(key)
            .map_err(|error| self.refused(error.to_string(), "name the private key of the certificate"))?;
        if own.key_data() != current.key().key_data() {
            return Err(self.refused(
                format!("{} is not the key of the present certificate", key.display()),
                "the key was replaced: ask for a new certificate",
            ));
        }
        let principals =
            Principals::parse(Kind::Host, current.principals()).map_err(|error| self.refused(error, anew))?;
        Ok(IssueRequest { kind: Kind::Host, key: own, principals, key_id: current.key_id().to_owned() })
    }
}

impl CertificateAuthority for LocalAuthority {
    fn describe(&self) -> String {
        format!("the local CA in {}", self.directory.display())
    }

    fn roots(&self, kind: Kind) -> Result<Vec<PublicKey>, CaError> {
        Ok(vec![self.key(kind).public_key().clone()])
    }

    fn ready(&self, _requests: &[IssueRequest]) -> Result<(), CaError> {
        Ok(())
    }

    fn renews_expired(&self) -> Result<bool, CaError> {
        Ok(false)
    }

    fn issue(&self, request: &IssueRequest) -> Result<Certificate, CaError> {
        let life = match request.kind {
            Kind::Host => HOST_LIFE,
            Kind::User => USER_LIFE,
        };
        self.signed(request, life, now())
    }

    fn renew(&self, current: &Certificate, key: HeldKey<'_>) -> Result<Certificate, CaError> {
        let now = now();
        let request = self.succession(current, key.path, now)?;
        self.succeed(current, &request, now)
    }

    fn rekey(&self, current: &Certificate, key: HeldKey<'_>, new: &PublicKey) -> Result<Certificate, CaError> {
        let now = now();
        let request = IssueRequest { key: new.clone(), ..self.succession(current, key.path, now)? };
        self.succeed(current, &request, now)
    }
}

impl LocalAuthority {
    /// Signs a certificate with the same length of validity as `current`.
    fn succeed(&self, current: &Certificate, request: &IssueRequest, now: u64) -> Result<Certificate, CaError> {
        let whole = current.valid_before().saturating_sub(current.valid_after());
        if current.valid_before() == u64::MAX || whole > MAX_LIFE {
            return Err(self.refused(
                "the present certificate holds for more than 400 days",
                "ask for a new certificate instead of a renewal",
            ));
        }
        self.signed(request, whole.saturating_sub(BACKDATE).max(BACKDATE), now)
    }
}

/// Why a key is too weak to be certified; OpenSSH would reject it, too.
fn weakness(key: &PublicKey) -> Option<String> {
    let name = key.fingerprint(HashAlg::Sha256);
    if key.algorithm() == Algorithm::Dsa {
        return Some(format!("{name} is a DSA key"));
    }
    let modulus = key.key_data().rsa()?.n.as_positive_bytes()?;
    let bits = modulus.len() * 8;
    (bits < 2048).then(|| format!("{name} is an RSA key of only {bits} bits"))
}

#[cfg(test)]
mod tests;
