//! The cause behind a status.

use super::{Doing, ENABLE_SSH, Finding, Known, clock, distance};
use crate::ca::{
    Certificate, Kind,
    step::{
        credential::Credential,
        provisioner::{Provisioner, Purpose, Type},
    },
    verify::{self, Wrong},
};
use crate::text::neutral;
use std::time::Duration;

/// step-ca's answer to everything that is wrong with a token (`errs.Unauthorized`).
const GENERIC: &str = "The request lacked necessary authorization";
const LOG: &str = "look at the CA's log: it has the reason";

pub(super) fn finding(status: u16, text: &str, doing: Doing<'_>, known: &Known<'_>) -> Finding {
    match status {
        404 if matches!(doing, Doing::ReadingSshKeys) => {
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
        // What a policy for the other kind alone gives (`authority/ssh.go`).
        500 if text.contains("error creating ssh certificate") => Finding::likely(
            format!("it failed to make the certificate, perhaps because its policy says nothing of this kind: {text}"),
            "on the CA, let \"policy\".\"ssh\" name both host and user, or neither",
        ),
        500 => Finding::likely(format!("it failed itself: {}", said(text)), LOG),
        status => Finding::likely(format!("HTTP {status}: {}", said(text)), LOG),
    }
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
        Doing::Renewing { current, rekey, provisioner } => renewing(current, rekey, provisioner, known),
        Doing::Issuing { credential, .. } => issuing(credential, known),
        Doing::Revoking => Finding::likely("it does not accept who asks for this", LOG),
        Doing::ReadingSshKeys => Finding::likely("its SSH keys cannot be read without authorization", LOG),
        Doing::Reading(what) => Finding::likely(format!("{what} cannot be read without authorization"), LOG),
    }
}

fn renewing(current: &Certificate, rekey: bool, provisioner: &str, known: &Known<'_>) -> Finding {
    let anew = "ask for a new certificate: warded apply certify-host";
    if let Some(roots) = (known.roots)()
        && let Err(Wrong::UnknownSigner(signer)) = verify::signed_by(current, roots.of(Kind::Host))
    {
        return Finding::certain(
            format!("the certificate was signed by {signer}, which is no key of this CA any more"),
            anew,
        );
    }
    let provisioners = (known.provisioners)().unwrap_or_default();
    let used = provisioners.iter().find(|found| found.of_type() == Type::SshPop && found.name() == provisioner);
    let Some(used) = used else {
        let cause = format!("it has no SSHPOP provisioner {:?}", neutral(provisioner));
        let there = provisioners.iter().find(|found| found.unfit(Purpose::Renew).is_none());
        return Finding::certain(
            cause,
            there.map_or_else(
                || sshpop(provisioner, ""),
                |there| format!("in the configuration: renewal-provisioner = {:?}", neutral(there.name())),
            ),
        );
    };
    if let Some(state) = used.state() {
        return Finding::certain(format!("its provisioner {used} is not initialised: {state}"), LOG);
    }
    let now = crate::ca::now();
    let expired = current.valid_before() <= now;
    if expired && let Some(why) = used.unfit(Purpose::RenewExpired) {
        let ago = distance(Duration::from_secs(now - current.valid_before()));
        return Finding::certain(
            format!("the certificate expired {ago} ago, and its provisioner {used} does not renew that: {why}"),
            claim(used, r#""allowRenewalAfterExpiry": true"#),
        );
    }
    if !rekey && let Some(why) = used.unfit(Purpose::Renew) {
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
            format!(
                "its provisioner {used} does not accept this X.509 certificate, or does not do SSH, or the key is another certificate's"
            ),
            "the certificate has to lead to a root of the provisioner, and to hold digitalSignature; \
             the claim \"enableSSHCA\": true makes it serve for SSH",
        );
    }
    Finding::likely(
        format!("its provisioner {used} does not do SSH, or this is not its key, or the CA was restarted just now"),
        "on the CA, put the claim \"enableSSHCA\": true to that provisioner; or try again",
    )
}

/// A provisioner that renewals need and that is not there, as `ca.json` has it. Never for one that is: the CA does
/// not start with two of one name.
pub(in crate::ca::step) fn sshpop(name: &str, claims: &str) -> String {
    format!(
        "on the CA, put this into \"provisioners\" of ca.json and restart it:\n\
         {{\"type\": \"SSHPOP\", \"name\": {:?}, \"claims\": {{\"enableSSHCA\": true{claims}}}}}",
        neutral(name)
    )
}

/// A claim of a provisioner that is there.
pub(in crate::ca::step) fn claim(provisioner: &Provisioner, claim: &str) -> String {
    format!("on the CA, put this into \"claims\" of the provisioner {provisioner} in ca.json and restart it: {claim}")
}
