//! The cause behind a status.

use super::{Doing, ENABLE_SSH, Finding, Known, clock, distance};
use crate::ca::{
    Certificate, Kind,
    step::{
        credential::Credential,
        provisioner::{Provisioner, Type},
    },
    verify::{self, Wrong},
};
use std::time::Duration;

/// step-ca's answer to everything that is wrong with a token (`errs.Unauthorized`).
const GENERIC: &str = "The request lacked necessary authorization";
const LOG: &str = "look at the CA's log: it has the reason";

pub(super) fn finding(status: u16, text: &str, doing: Doing<'_>, known: &Known<'_>) -> Finding {
    match status {
        404 if matches!(doing, Doing::Reading(_)) || !no_such_page(text) => {
            Finding::certain("this CA does not issue SSH certificates", ENABLE_SSH)
        }
        404 | 405 => Finding::certain(format!("HTTP {status}: {}", said(text)), "make sure that this is a step-ca"),
        401 => unauthorized(text, doing, known),
        // Here the CA says what it dislikes: a policy, a duration, a name.
        403 => Finding::certain(
            format!("it does not allow this: {}", said(text)),
            "ask for something else, or change the CA's policy or the provisioner's claims",
        ),
        400 => Finding::certain(format!("it does not understand the request: {}", said(text)), LOG),
        501 => Finding::certain(format!("it cannot do this: {}", said(text)), ENABLE_SSH),
        500 => Finding::likely(format!("it failed itself: {}", said(text)), LOG),
        status => Finding::likely(format!("HTTP {status}: {}", said(text)), LOG),
    }
}

fn no_such_page(text: &str) -> bool {
    text.contains("page not found")
}

fn said(text: &str) -> &str {
    if text.is_empty() { "(no text)" } else { text }
}

fn unauthorized(text: &str, doing: Doing<'_>, known: &Known<'_>) -> Finding {
    if let Some(error) = clock(&known.ca, known.http.ahead())
        && let crate::ca::CaError::Refused { cause, next, .. } = error
    {
        return Finding::certain(cause, next);
    }
    if !text.is_empty() && !text.starts_with(GENERIC) {
        return Finding::certain(text, LOG);
    }
    match doing {
        Doing::Renewing { current, rekey } => renewing(current, rekey, known),
        Doing::Issuing { credential, .. } => issuing(credential, known),
        Doing::Revoking => Finding::likely("it does not accept who asks for this", LOG),
        Doing::Reading(what) => Finding::likely(format!("{what} cannot be read without authorization"), LOG),
    }
}

fn renewing(current: &Certificate, rekey: bool, known: &Known<'_>) -> Finding {
    let anew = "ask for a new certificate: warded apply certify-host";
    if let Some(roots) = (known.roots)()
        && let Err(Wrong::UnknownSigner(signer)) = verify::signed_by(current, roots.of(Kind::Host))
    {
        return Finding::certain(
            format!("the certificate was signed by {signer}, which is no key of this CA any more"),
            anew,
        );
    }
    let name = known.settings.renewal_provisioner.as_deref();
    let provisioners = (known.provisioners)().unwrap_or_default();
    let used = provisioners
        .iter()
        .find(|found| found.of_type() == Type::SshPop && name.is_none_or(|name| name == found.name()));
    let Some(used) = used else {
        return Finding::certain(
            name.map_or_else(
                || "it has no SSHPOP provisioner, which renewals need".to_owned(),
                |name| format!("it has no SSHPOP provisioner {name:?}"),
            ),
            sshpop(""),
        );
    };
    if let Some(state) = used.state() {
        return Finding::certain(format!("its provisioner {used} is not initialised: {state}"), LOG);
    }
    let now = crate::ca::now();
    if current.valid_before() <= now {
        let ago = distance(Duration::from_secs(now - current.valid_before()));
        return Finding::certain(
            format!("the certificate expired {ago} ago, and its provisioner {used} does not renew after expiry"),
            sshpop(r#", "allowRenewalAfterExpiry": true"#),
        );
    }
    if !rekey && let Some(why) = used.unfit(crate::ca::step::provisioner::Purpose::Renew) {
        return Finding::certain(format!("its provisioner {used}: {why}"), "take that claim out of its ca.json");
    }
    Finding::likely(
        "nothing that can be seen from here is wrong, so the certificate was most likely revoked",
        format!("if it was not, {LOG}; otherwise {anew}"),
    )
}

fn issuing(credential: &Credential, known: &Known<'_>) -> Finding {
    if let Credential::Tokens(_) = credential {
        return Finding::likely(
            "the one-time token fits, so it was most likely used already, made before the CA was last started, \
             or its provisioner was removed",
            "make a new one: warded token NAME --host",
        );
    }
    let named = |found: &&Provisioner| credential.provisioner() == Some(found.name());
    let Some(used) = (known.provisioners)().unwrap_or_default().iter().find(named) else {
        return Finding::certain("the provisioner is gone", "warded ca show lists those that are there");
    };
    if let Some(state) = used.state() {
        return Finding::certain(format!("its provisioner {used} is not initialised: {state}"), LOG);
    }
    if matches!(credential, Credential::X5c { .. }) {
        return Finding::likely(
            format!("its provisioner {used} does not accept this X.509 certificate, or does not do SSH"),
            "the certificate has to lead to a root of the provisioner, and to hold digitalSignature; \
             the claim \"enableSSHCA\": true makes it serve for SSH",
        );
    }
    Finding::likely(
        format!("its provisioner {used} does not do SSH, or the CA was restarted just now"),
        "on the CA, put the claim \"enableSSHCA\": true to that provisioner; or try again",
    )
}

/// The provisioner that renewals need, as `ca.json` has it.
fn sshpop(claims: &str) -> String {
    format!(
        "on the CA, put this into \"provisioners\" of ca.json and restart it:\n\
         {{\"type\": \"SSHPOP\", \"name\": \"sshpop\", \"claims\": {{\"enableSSHCA\": true{claims}}}}}"
    )
}
