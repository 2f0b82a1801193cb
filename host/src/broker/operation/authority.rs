//! `authority.*`: certificates, which the host asks the CA for after the review.

use super::{Failure, Operation, key::KeyPair};
use crate::broker::{granted::Granted, recording::Answer as _, session::Session};
use serde_json::{Value, json};
use ssh_key::PublicKey;
use warded_lib::{
    ca::{self, Certificate, Kind, Principals},
    change_set::{Request, RequestId, staged::After},
    machine::path::AbsolutePath,
    policy::need::Need,
};

/// The CA's public keys of one kind.
#[derive(Debug)]
pub struct Roots(pub Kind);

impl Operation for Roots {
    type Output = Vec<PublicKey>;

    fn need(&self) -> Need {
        Need::Roots(self.0)
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<Self::Output, Failure> {
        session.roots(granted.operation().0)
    }
}

/// The certificate in a file.
#[derive(Debug)]
pub struct Read(pub AbsolutePath);

impl Operation for Read {
    type Output = Option<Certificate>;

    fn need(&self) -> Need {
        Need::ReadCertificate(self.0.clone())
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<Self::Output, Failure> {
        let path = &granted.operation().0;
        let Some(place) = session.place(path, granted.literal())? else { return Ok(None) };
        let Some(there) = session.changes.look(&place)? else { return Ok(None) };
        let certificate = ca::certificate::parse(&there.contents)
            .map_err(|error| Failure::new("not-a-certificate", format!("{path}: {error}")).about("path", path))?;
        Ok(Some(certificate))
    }
}

/// A certificate for a key.
#[derive(Debug)]
pub struct Issue {
    pub key: KeyPair,
    /// Host or user.
    pub kind: Kind,
    /// The names; the broker has checked that the operator confirmed them.
    pub principals: Principals,
}

impl Operation for Issue {
    type Output = RequestId;

    fn need(&self) -> Need {
        Need::Issue(self.kind, self.principals.clone())
    }

    fn arguments(&self) -> Value {
        json!({ "key": self.key.path.as_str(), "public": self.key.public.written() })
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<RequestId, Failure> {
        let Self { key, kind, principals } = granted.operation();
        let KeyPair { path, agent, public, .. } = key.clone();
        Ok(session.changes.request(Request {
            key: path,
            agent,
            public,
            kind: *kind,
            principals: principals.clone(),
            current: None,
        }))
    }
}

/// A new certificate with the same names.
#[derive(Debug)]
pub struct Renew {
    pub key: KeyPair,
    /// The certificate to replace.
    pub current: Certificate,
    pub kind: Kind,
    /// The certificate's names.
    pub principals: Principals,
}

impl Operation for Renew {
    type Output = RequestId;

    fn need(&self) -> Need {
        Need::Renew(self.kind, self.principals.clone())
    }

    fn arguments(&self) -> Value {
        of_successor(&self.key, &self.current)
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<RequestId, Failure> {
        let Self { key, current, kind, principals } = granted.operation();
        if current.key().key_data() != key.public.key_data() {
            let message = format!("the certificate beside {} is for another key", key.path);
            return Err(Failure::new("not-a-certificate", message).about("path", &key.path));
        }
        let is_there = |session: &Session| session.issued.iter().any(|one| one.key_data() == key.public.key_data());
        let is_over = current.valid_before() <= session.renewal.now;
        let may_be_over = is_over && (is_there(session) || session.renews_expired()?);
        successor(session, key, current, *kind, principals, may_be_over)
    }
}

/// A new certificate with the same names, for a key that replaced another one.
#[derive(Debug)]
pub struct Rekey {
    /// The key that is staged in place of the certified one.
    pub key: KeyPair,
    /// The certificate to replace.
    pub current: Certificate,
    pub kind: Kind,
    /// The certificate's names.
    pub principals: Principals,
}

impl Operation for Rekey {
    type Output = RequestId;

    fn need(&self) -> Need {
        Need::Rekey(self.kind, self.principals.clone())
    }

    fn arguments(&self) -> Value {
        of_successor(&self.key, &self.current)
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<RequestId, Failure> {
        let Self { key, current, kind, principals } = granted.operation();
        let failure = |code, message| Err(Failure::new(code, message).about("path", &key.path));
        match &key.replaces {
            None => failure("not-replaced", format!("{} is not replaced in this run", key.path)),
            Some(old) if old.key_data() != current.key().key_data() => failure(
                "not-a-certificate",
                format!("the certificate is for another key than the one that {} replaces", key.path),
            ),
            // No CA accepts an expired certificate as proof for this.
            Some(_) => successor(session, key, current, *kind, principals, false),
        }
    }
}

/// Requests a certificate in place of another: only for confirmed names, only if this CA signed the present one, and
/// only if that has not expired, unless `may_be_over`.
fn successor(
    session: &mut Session,
    key: &KeyPair,
    current: &Certificate,
    kind: Kind,
    principals: &Principals,
    may_be_over: bool,
) -> Result<RequestId, Failure> {
    let failure = |code, message: String| Err(Failure::new(code, message).about("path", &key.path));
    if let Some(principal) = principals.iter().find(|name| !session.circumstances.confirmed.contains(name.as_str())) {
        let message = format!("{principal} is not a name that the operator confirmed for this machine");
        return failure("unconfirmed", message);
    }
    if current.valid_before() <= session.renewal.now && !may_be_over {
        return failure("expired", format!("the certificate beside {} has expired", key.path));
    }
    let roots = session.roots(kind)?;
    if !roots.iter().any(|root| root.key_data() == current.signer().key_data()) {
        return failure("foreign", format!("the certificate beside {} was signed by another CA", key.path));
    }
    let KeyPair { path, agent, public, .. } = key.clone();
    let current = Some(current.clone());
    Ok(session.changes.request(Request { key: path, agent, public, kind, principals: principals.clone(), current }))
}

/// Stages a certificate file.
#[derive(Debug)]
pub struct Write {
    pub path: AbsolutePath,
    /// The request whose certificate the file will hold.
    pub request: RequestId,
}

impl Operation for Write {
    type Output = bool;

    fn need(&self) -> Need {
        Need::WriteCertificate(self.path.clone())
    }

    fn arguments(&self) -> Value {
        json!({ "request": self.request })
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<bool, Failure> {
        let Self { path, request } = granted.operation();
        let place = session.existing_place(path, granted.literal())?;
        let after = After::Certificate { request: *request };
        Ok(session.changes.stage(path.clone(), place, after, granted.grant().to_owned())?)
    }
}

impl From<ca::CaError> for Failure {
    fn from(error: ca::CaError) -> Self {
        // An error detail of this name becomes the next step in the error message.
        match &error {
            ca::CaError::NotConfigured { next }
            | ca::CaError::Unusable { next, .. }
            | ca::CaError::Unreachable { next, .. }
            | ca::CaError::Refused { next, .. }
            | ca::CaError::Credential { next, .. } => Self::new(error.code(), error.to_string()).about("next", next),
            ca::CaError::OfRootOnly { .. } => {
                Self::new(error.code(), error.to_string()).about("next", warded_lib::text::by_sudo())
            }
            ca::CaError::Wrong(wrong) => Self::new(error.code(), error.to_string()).about("next", wrong.advice()),
        }
    }
}

fn of_successor(key: &KeyPair, current: &Certificate) -> Value {
    json!({ "key": key.path.as_str(), "public": key.public.written(), "current": current.serial() })
}
