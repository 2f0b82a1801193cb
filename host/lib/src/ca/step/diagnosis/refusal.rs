//! Finds the cause behind an HTTP status.

use super::{ENABLE_SSH, Evidence, Finding, Task, clock};
use crate::ca::{
    Certificate, IssueRequest, Kind, Principal,
    step::{
        api,
        credential::Credential,
        identity::IdToken,
        provisioner::{Provisioner, Purpose, Type},
        signed_in::SignIn,
    },
    verify::{self, CertificateFault},
};
use crate::{moment::distance, text::neutral};
use std::time::Duration;

/// step-ca's answer for everything that can be wrong with a token (`errs.Unauthorized`).
const GENERIC: &str = "The request lacked necessary authorization";
const LOG: &str = "look at the CA's log: it has the reason";
/// The CA gave no reason, and none could be derived.
const NOT_KNOWN: &str = "the cause is not known";

pub(super) fn finding(status: u16, text: &str, doing: Task<'_>, known: &Evidence<'_>) -> Finding {
    match status {
        404 if matches!(doing, Task::ReadingSshKeys) => {
            Finding::certain("this CA does not issue SSH certificates", ENABLE_SSH)
        }
        404 | 405 => Finding::certain(format!("HTTP {status}: {}", said(text)), "make sure that this is a step-ca"),
        401 => unauthorized(text, doing, known),
        // For this status the CA says what it rejects: a policy, a duration, a name.
        403 => forbidden(text),
        // Also the status if a provisioner's template refuses with words of its own.
        400 => Finding::certain(format!("it does not accept the request: {}", said(text)), LOG),
        501 => Finding::certain(format!("it cannot do this: {}", said(text)), ENABLE_SSH),
        // One reason among others: a policy that only covers the other kind (`authority/ssh.go`).
        500 if text.contains("error creating ssh certificate") => Finding::unknown(
            format!("it failed to make the certificate: {text}"),
            "look at the CA's log; if \"policy\".\"ssh\" in its ca.json names only host or only user, add the other",
        ),
        500 => Finding::unknown(format!("it reports an internal error: {}", said(text)), LOG),
        status => Finding::unknown(format!("HTTP {status}: {}", said(text)), LOG),
    }
}

/// step-ca reports an unreachable webhook with the same status as one that refuses. It then quotes Go's error for a
/// failed request (`net/url`, `Error`): `Post "https://…": …`.
fn forbidden(text: &str) -> Finding {
    if text.contains("Post \"http") {
        return Finding::unknown(
            format!("it got no answer from a webhook of its provisioner: {text}"),
            "make sure that the webhook's server runs and that the CA can reach it, then run this again",
        );
    }
    Finding::certain(
        format!("it does not allow this: {}", said(text)),
        "ask for something else, or change the CA's policy or the provisioner's claims",
    )
}

fn said(text: &str) -> &str {
    if text.is_empty() { "(no text)" } else { text }
}

fn unauthorized(text: &str, doing: Task<'_>, known: &Evidence<'_>) -> Finding {
    if let Some(error) = clock(&known.ca, known.http.ahead())
        && let crate::ca::CaError::Refused { cause, next, .. } = error
    {
        return Finding::certain(cause, next);
    }
    if !text.is_empty() && !text.starts_with(GENERIC) {
        return Finding::certain(text, LOG);
    }
    match doing {
        Task::Renewing { current, rekey, provisioner } => renewing(current, rekey, provisioner, known),
        Task::Issuing { request, credential: Credential::Tokens(_) } => of_token(request, known),
        Task::Issuing { credential, .. } => issuing(credential, known),
        Task::SigningIn { token, sign_in } => signing_in(token, sign_in, known),
        Task::Revoking => Finding::unknown(format!("{NOT_KNOWN}: it does not say why"), LOG),
        Task::ReadingSshKeys => Finding::unknown("its SSH keys cannot be read without authorization", LOG),
        Task::Reading(what) => Finding::unknown(format!("{what} cannot be read without authorization"), LOG),
    }
}

fn renewing(current: &Certificate, rekey: bool, provisioner: &str, known: &Evidence<'_>) -> Finding {
    let anew = "ask for a new certificate: warded apply certify-host --force";
    if let Some(roots) = (known.roots)()
        && let Err(CertificateFault::UnknownSigner(signer)) = verify::signed_by(current, roots.of(Kind::Host))
    {
        return Finding::certain(
            format!("the certificate was signed by {signer}, which is no longer a key of this CA"),
            anew,
        );
    }
    let Some(provisioners) = (known.provisioners)() else {
        return Finding::unknown(
            format!("{NOT_KNOWN}: the CA does not say why, and does not show its provisioners"),
            format!("{LOG}; the CA needs a provisioner {:?} of the type SSHPOP", neutral(provisioner)),
        );
    };
    let used = provisioners.iter().find(|found| found.of_type() == Type::SshPop && found.name() == provisioner);
    let Some(used) = used else {
        let cause = format!("it has no SSHPOP provisioner {:?}", neutral(provisioner));
        let there = provisioners.iter().find(|found| found.unfit(Purpose::Renew).is_none());
        return Finding::certain(
            cause,
            there.map_or_else(
                || sshpop(provisioner, ""),
                |there| format!("run warded bootstrap: it configures the provisioner that the CA has, {there}"),
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
        return Finding::certain(format!("its provisioner {used}: {why}"), "remove that claim from the CA's ca.json");
    }
    Finding::unknown(
        format!("{NOT_KNOWN}: the CA does not say why, and Warded finds no fault from here"),
        format!("{LOG}; a certificate that was revoked is not renewed: {anew}"),
    )
}

/// The token was compared with the request before it was sent, so a typing error is not the cause.
fn of_token(request: &IssueRequest, known: &Evidence<'_>) -> Finding {
    let certified = |name: &&Principal| api::check_host(known.http, name.as_str()) == Ok(true);
    let certified: Vec<&str> = match request.kind {
        Kind::Host => request.principals.iter().filter(certified).map(Principal::as_str).collect(),
        Kind::User => Vec::new(),
    };
    let seen = if certified.is_empty() {
        String::new()
    } else {
        format!(". The CA has given a certificate for {} before", certified.join(", "))
    };
    Finding::unknown(
        format!(
            "{NOT_KNOWN}: the CA does not say why, and the one-time token fits as far as it can be read. A token serves \
             once: another person may have used this one{seen}"
        ),
        "see which certificates there are for these names: on the CA, the lines of its log with \"/ssh/sign\" have the \
         serial, the names and the key of each; warded revoke SERIAL for one that is not yours. Then make a new token \
         (warded token, warded invite): a token made before the CA was last started is refused, too",
    )
}

fn issuing(credential: &Credential, known: &Evidence<'_>) -> Finding {
    let named = |found: &&Provisioner| credential.provisioner() == Some(found.name());
    let Some(provisioners) = (known.provisioners)() else {
        return Finding::unknown(
            format!("{NOT_KNOWN}: the CA does not say why, and does not show its provisioners"),
            format!("{LOG}; the provisioner must exist, have this key, and be enabled for SSH"),
        );
    };
    let Some(used) = provisioners.iter().find(named) else {
        return Finding::certain("the provisioner is gone", "warded ca show lists those that are there");
    };
    if let Some(state) = used.state() {
        return Finding::certain(format!("its provisioner {used} is not initialised: {state}"), LOG);
    }
    if matches!(credential, Credential::X5c { .. }) {
        return Finding::unknown(
            format!("{NOT_KNOWN}: the CA does not say why it refuses this X.509 certificate to its provisioner {used}"),
            "the certificate has to lead to a root of the provisioner, to hold digitalSignature, and to be of that key; \
             the claim \"enableSSHCA\": true makes the provisioner serve for SSH",
        );
    }
    Finding::unknown(
        format!("{NOT_KNOWN}: the CA does not say why it refuses its provisioner {used}"),
        format!(
            "{LOG}; the provisioner has to have this key, and on the CA the claim \"enableSSHCA\": true makes it serve for SSH"
        ),
    )
}

fn signing_in(token: &IdToken, sign_in: &SignIn, known: &Evidence<'_>) -> Finding {
    let now = crate::ca::now().saturating_add_signed(known.http.ahead().unwrap_or_default() / 1000);
    token.problem(&sign_in.oidc, &sign_in.provisioner, now).unwrap_or_else(|| {
        let who = token.email().map_or_else(String::new, |email| format!(" of {}", neutral(email)));
        Finding::unknown(
            format!(
                "{NOT_KNOWN}: the CA does not say why, and the ID token{who} fits as far as it can be read. An ID token \
                 serves once, and none from before the CA was last started"
            ),
            format!("sign in again: warded login; else {LOG}"),
        )
    })
}

/// The entry in `ca.json` for a missing provisioner that renewals need. Not for an existing one: the CA does not start
/// with two provisioners of the same name.
pub(in crate::ca::step) fn sshpop(name: &str, claims: &str) -> String {
    format!(
        "on the CA, put this into \"provisioners\" of ca.json and restart it:\n\
         {{\"type\": \"SSHPOP\", \"name\": {}, \"claims\": {{\"enableSSHCA\": true{claims}}}}}",
        serde_json::Value::from(neutral(name))
    )
}

/// Advice to add a claim to an existing provisioner.
pub(in crate::ca::step) fn claim(provisioner: &Provisioner, claim: &str) -> String {
    format!("on the CA, put this into \"claims\" of the provisioner {provisioner} in ca.json and restart it: {claim}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_that_is_not_reached_is_no_refusal() {
        let prefix = "The request was forbidden by the certificate authority: ";
        for (text, cause, certain) in [
            ("dns name \"web1.lab.test\" not allowed", "it does not allow this: ", true),
            ("webhook server did not allow request", "it does not allow this: ", true),
            (
                "Post \"https://127.0.0.1:9/\": dial tcp 127.0.0.1:9: connect: connection refused",
                "it got no answer from a webhook of its provisioner: ",
                false,
            ),
        ] {
            let found = forbidden(&format!("{prefix}{text}"));
            assert_eq!((found.cause, found.certain), (format!("{cause}{prefix}{text}"), certain));
        }
        assert_eq!(forbidden("").cause, "it does not allow this: (no text)");
    }
}
