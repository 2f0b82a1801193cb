//! A host key that was made anew is certified on the word of another host key of this machine (SSHPOP `rekey`), because
//! an unattended renewal has no password and no token.
//!
//! This is never done for a key that had a certificate before. A CA that refuses to renew the certificate of a revoked
//! key does certify that key on the word of another one, which would undo the revocation.

pub mod certified;

use crate::{broker::session::Session, context::Context};
use certified::CertifiedKeys;
use ssh_key::PublicKey;
use std::path::PathBuf;
use warded_lib::{
    ca::{self, Certificate, Kind, Principals, certificate, verify},
    change_set::Request,
    error::Result,
    machine::{path::AbsolutePath, sshd::host_key::Standing},
};

/// A host certificate that is valid now, and the key that can vouch with it.
#[derive(Clone, Debug)]
pub struct Voucher {
    /// The path of the private key.
    pub key: AbsolutePath,
    /// The socket of the agent that has the private key; `None` if the key is in that file.
    pub agent: Option<PathBuf>,
    /// The certificate beside it.
    pub certificate: Certificate,
}

impl Voucher {
    /// A voucher for a key that was just certified.
    pub(super) fn of(request: &Request, certificate: Certificate) -> Self {
        Self { key: request.key.clone(), agent: request.agent.clone(), certificate }
    }

    /// Whether its certificate is valid for exactly these names.
    pub(super) fn has_names(&self, principals: &Principals) -> bool {
        let names = self.certificate.principals();
        names.len() == principals.iter().count() && names.iter().all(|name| principals.contains(name))
    }
}

/// The records about this machine's host keys and their certificates.
#[derive(Debug, Default)]
pub struct HostKeyRecords {
    vouchers: Vec<Voucher>,
    certified: CertifiedKeys,
}

impl HostKeyRecords {
    /// Looks at the host keys, and records those that have a certificate.
    #[must_use]
    pub fn look(context: &Context, session: &mut Session) -> Self {
        let mut certified = CertifiedKeys::load(&context.state);
        let mut vouchers = Vec::new();
        for (public, own) in own_certificates(session) {
            let Voucher { key, certificate, .. } = &own;
            if certificate.key().key_data() != public.key_data() {
                certified.note(key, certificate.key());
                continue;
            }
            certified.note(key, &public);
            if verify::problem(certificate, Kind::Host, std::slice::from_ref(&public), ca::now()).is_none() {
                vouchers.push(own);
            }
        }
        certified.save(&context.state);
        // A local CA needs no other key's word: it can be asked for a new certificate.
        if !context.authority.is_step() {
            vouchers.clear();
        }
        Self { vouchers, certified }
    }

    /// Why no key is certified on the word of another one, if the record of certified keys cannot be used.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.certified.fault().map(certified::warning)
    }

    /// Whether some host key has a certificate that is valid now.
    #[must_use]
    pub fn has_any(&self) -> bool {
        !self.vouchers.is_empty()
    }

    /// The keys that can vouch for a key that needs a certificate; `roots` are the CA's keys.
    ///
    /// # Errors
    /// No host key of this machine can vouch for the new one; the error says why.
    pub fn vouchers_for(&self, request: &Request, roots: &[PublicKey]) -> Result<Vec<Voucher>, &'static str> {
        if request.kind != Kind::Host || request.current.is_some() {
            return Err("only a new host certificate can be had on the word of another host key");
        }
        if self.certified.fault().is_some() {
            return Err("it is not known which keys had certificates before");
        }
        if self.certified.had(&request.public) {
            return Err("it had a certificate before, which the CA may have revoked");
        }
        if !self.certified.another_had(&request.key, &request.public) {
            return Err("no other key had a certificate in its place, so this key was not replaced here");
        }
        let speaks = |voucher: &&Voucher| {
            voucher.has_names(&request.principals)
                && roots.iter().any(|root| root.key_data() == voucher.certificate.signer().key_data())
        };
        match self.vouchers.iter().filter(speaks).cloned().collect::<Vec<_>>() {
            none if none.is_empty() => Err("no other host key has a valid certificate of this CA for the same names"),
            some => Ok(some),
        }
    }
}

/// The host keys that sshd offers and that have a certificate, whether or not it is for that key. An unreadable
/// certificate vouches for no key.
fn own_certificates(session: &mut Session) -> Vec<(PublicKey, Voucher)> {
    let keys = session.host_keys().unwrap_or_default();
    let named = session.values(&[], "hostcertificate").unwrap_or_default();
    keys.into_iter()
        .filter_map(|key| {
            let agent = match &key.standing {
                Standing::Loaded => None,
                Standing::InAgent { socket } => Some(socket.clone()),
                Standing::Ignored(_) => return None,
            };
            let public = key.public.as_ref()?.key()?;
            let path = AbsolutePath::spelled(&key.private_path()).ok()?;
            let file: AbsolutePath = certificate::whereabouts(&named, path.as_str(), Some(&public)).parse().ok()?;
            let place = session.place(&file, file.segments().count()).ok()??;
            let certificate = certificate::parse(&place.snapshot().ok()??.contents).ok()?;
            Some((public, Voucher { key: path, agent, certificate }))
        })
        .collect()
}
