//! Signing, for the local CA and for throw-away certificates.

use super::{IssueRequest, certificate::Certificate, kind::Kind};
use ssh_key::{
    PrivateKey,
    certificate::Builder,
    rand_core::{OsRng, RngCore as _},
};

/// What a user certificate allows, as step-ca's default template and `ssh-keygen -s` have it.
const USER_EXTENSIONS: [&str; 5] =
    ["permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty", "permit-user-rc"];

/// When a certificate holds, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) after: u64,
    pub(super) before: u64,
}

/// Signs what is asked for, with a random 63-bit serial (some tools read it as signed) and nonce.
pub(super) fn sign(ca: &PrivateKey, request: &IssueRequest, window: Window) -> Result<Certificate, ssh_key::Error> {
    let key = request.key.key_data().clone();
    let mut builder = Builder::new_with_random_nonce(&mut OsRng, key, window.after, window.before)?;
    builder.serial(serial())?.cert_type(request.kind.into())?.key_id(&request.key_id)?;
    for principal in request.principals.iter() {
        builder.valid_principal(principal.as_str())?;
    }
    match request.kind {
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
        // 0 is what a CA writes that does not number its certificates.
        if serial != 0 {
            return serial;
        }
    }
}
