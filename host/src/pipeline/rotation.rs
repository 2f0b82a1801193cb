//! Certificates that the CA signs with another key than the certificates that they replace. They are put off: clients
//! that know only the CA's former key accept the present certificates as long as these are valid.

use super::{PlannedRun, Work};
use crate::context::Context;
use jiff::Timestamp;
use ssh_key::PublicKey;
use warded_lib::{
    ca::{
        self, Certificate,
        rotation::{self, NewSigner},
    },
    change_set::{Request, RequestId},
    error::Error,
    moment,
};

/// What would end if this request's certificate, signed by `signer` of a CA with these `roots`, were installed.
pub(super) fn of_request(
    context: &Context,
    work: &Work,
    (id, request): (RequestId, &Request),
    (signer, roots): (&PublicKey, &[PublicKey]),
) -> Option<NewSigner> {
    of_present(context, &work.present(id), request, (signer, roots))
}

fn of_present(
    context: &Context,
    present: &[Certificate],
    request: &Request,
    (signer, roots): (&PublicKey, &[PublicKey]),
) -> Option<NewSigner> {
    // Replacing a certificate of another CA is shown in a line of its own in the plan.
    let is_ours = |present: &&Certificate| {
        request.current.is_some() || roots.iter().any(|root| root.key_data() == present.signer().key_data())
    };
    // A certificate for a key that sshd no longer has serves nobody.
    let serves = |present: &&Certificate| {
        let succeeded = request.current.as_ref().map_or(&request.public, Certificate::key);
        present.key().key_data() == succeeded.key_data()
    };
    present
        .iter()
        .filter(serves)
        .filter(is_ours)
        .find_map(|present| rotation::new_signer(present, signer, ca::now(), context.rotation_terms()))
}

impl PlannedRun<'_> {
    /// Which of the requested certificates a new key of the CA would sign, as far as the CA's list of keys shows.
    #[must_use]
    pub fn new_signers(&self, context: &Context) -> Vec<NewSigner> {
        let mut found = Vec::new();
        for (id, request) in self.session.changes.requests() {
            // A CA that cannot be asked now fails when it is asked for the certificates.
            let Ok(roots) = self.session.authority.open().and_then(|authority| authority.roots(request.kind)) else {
                return found;
            };
            let present: Vec<_> = self.session.changes.present(id).collect();
            let change = roots.first().and_then(|signer| of_present(context, &present, request, (signer, &roots)));
            found.extend(change.filter(|change| !found.contains(change)));
        }
        found
    }
}

/// The refusal to install certificates that a new key of the CA signed.
#[must_use]
pub fn refusal(changes: &[NewSigner]) -> Error {
    let is_urgent = changes.iter().any(|change| change.is_urgent(ca::now()));
    let message = if is_urgent {
        "the CA's new key is not accepted on this machine, and the present certificates end soon"
    } else {
        "certificates of the CA's new key are put off"
    };
    let mut settings: Vec<String> = changes.iter().map(NewSigner::setting).collect();
    settings.dedup();
    let error = changes.iter().fold(Error::put_off(message), Error::cause);
    error
        .state("the present certificates stay")
        .next(rotation::NEXT)
        .next(format!("then accept it: --accept-risk=new-ca-key{}", otherwise(changes)))
        .next(format!("or for unattended renewals: {}", settings.join("; ")))
}

/// What a renewal does if nobody accepts the new key.
#[must_use]
pub fn otherwise(changes: &[NewSigner]) -> String {
    let end = changes.iter().map(|change| change.until).max().and_then(|end| i64::try_from(end).ok());
    let end = end.and_then(|end| Timestamp::from_second(end).ok());
    end.map_or_else(String::new, |end| {
        let end = moment::when(end, Timestamp::now());
        format!("; otherwise `warded renew` installs them once the present ones have ended, {end}")
    })
}
