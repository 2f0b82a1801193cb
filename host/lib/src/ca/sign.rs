//! Signs certificates, for the local CA and for throw-away certificates.

use super::{IssueRequest, certificate::Certificate, kind::Kind, principal::Principal};
use ssh_key::{
    PrivateKey, PublicKey,
    certificate::Builder,
    rand_core::{OsRng, RngCore as _},
};

/// The extensions of a user certificate, as in step-ca's default template and with `ssh-keygen -s`.
const USER_EXTENSIONS: [&str; 5] =
    ["permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty", "permit-user-rc"];

/// The validity period, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) after: u64,
    pub(super) before: u64,
}

/// Signs the requested certificate, with a random nonce and a random 63-bit serial number (some tools read it as
/// signed).
pub(super) fn sign(ca: &PrivateKey, request: &IssueRequest, window: Window) -> Result<Certificate, ssh_key::Error> {
    let IssueRequest { kind, key, principals, key_id } = request;
    sign_for(ca, key, (*kind, key_id), principals.iter().map(Principal::as_str), window)
}

/// As [`sign`], but for names of any form.
pub(super) fn sign_for<'a>(
    ca: &PrivateKey,
    key: &PublicKey,
    (kind, key_id): (Kind, &str),
    names: impl Iterator<Item = &'a str>,
    window: Window,
) -> Result<Certificate, ssh_key::Error> {
    let mut builder = Builder::new_with_random_nonce(&mut OsRng, key.key_data().clone(), window.after, window.before)?;
    builder.serial(serial())?.cert_type(kind.into())?.key_id(key_id)?;
    for name in names {
        builder.valid_principal(name)?;
    }
    match kind {
        Kind::Host => {}
        Kind::User => {
            for extension in USER_EXTENSIONS {
                builder.extension(extension, "")?;
            }
        }
    }
    let certificate = builder.sign(ca)?;
    Certificate::try_from(&certificate).map_err(|_| ssh_key::Error::CertificateValidation)
}

fn serial() -> u64 {
    loop {
        let serial = OsRng.next_u64() >> 1;
        // A CA that does not number its certificates writes 0.
        if serial != 0 {
            return serial;
        }
    }
}
