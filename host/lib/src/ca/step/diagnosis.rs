//! Finds out why a CA refused. step-ca gives the same answer for everything that can be wrong with a token, and writes
//! the reason only to its own log. So the reason is derived here from what both sides can see.

pub(super) mod refusal;

use super::{
    api::{Failure, SshRoots},
    credential::Credential,
    fingerprint::Fingerprint,
    foreign_token::TokenClaims,
    http::{Http, Problem, Trust},
    identity::IdToken,
    provisioner::Provisioner,
    settings::Settings,
    signed_in::SignIn,
    token::Token,
    x509::X509,
};
use crate::{
    ca::{CaError, Certificate, IssueRequest, now},
    moment::distance,
};
use std::time::Duration;

/// At most this many names of a server are shown.
const MOST_NAMES: usize = 20;
/// step-ca tolerates a difference of one minute.
const CLOCK: i64 = 60_000;

/// How to enable SSH on the CA.
pub const ENABLE_SSH: &str = "on the CA: `step ca init --ssh` for a new one; else put \"ssh\": {\"hostKey\": …, \
                              \"userKey\": …} into ca.json, and the claim \"enableSSHCA\": true to its provisioners";

/// The task that failed.
#[derive(Clone, Copy, Debug)]
pub enum Task<'a> {
    /// Reading the CA's SSH keys, which needs no login.
    ReadingSshKeys,
    /// Reading something else that needs no login.
    Reading(&'a str),
    /// Requesting a new certificate.
    Issuing {
        /// The request.
        request: &'a IssueRequest,
        credential: &'a Credential,
    },
    Renewing {
        /// The certificate to be renewed.
        current: &'a Certificate,
        /// Whether the successor is for another key.
        rekey: bool,
        /// The provisioner that was used.
        provisioner: &'a str,
    },
    /// Requesting a certificate for a person who uses single sign-on.
    SigningIn { token: &'a IdToken, sign_in: &'a SignIn },
    /// Revoking a certificate.
    Revoking,
}

/// The facts from which a diagnosis finds the cause.
pub struct Evidence<'a> {
    pub ca: String,
    /// The settings for the CA on this machine.
    pub settings: &'a Settings,
    pub http: &'a Http,
    /// The CA's provisioners, if they are available.
    pub provisioners: &'a dyn Fn() -> Option<&'a [Provisioner]>,
    /// The CA's SSH keys, if they are available.
    pub roots: &'a dyn Fn() -> Option<&'a SshRoots>,
}

/// A cause, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub cause: String,
    pub next: String,
    /// Whether the cause is certain; if not, repeating the request may help.
    pub certain: bool,
}

impl Finding {
    pub(super) fn certain(cause: impl Into<String>, next: impl Into<String>) -> Self {
        Self { cause: cause.into(), next: next.into(), certain: true }
    }

    pub(super) fn unknown(cause: impl Into<String>, next: impl Into<String>) -> Self {
        Self { cause: cause.into(), next: next.into(), certain: false }
    }
}

/// Converts a failure to an error that includes its cause.
#[must_use]
pub fn of(failure: &Failure, doing: Task<'_>, known: &Evidence<'_>) -> CaError {
    let ca = known.ca.clone();
    match failure {
        Failure::Problem(problem) => {
            let (cause, next) = of_connection(problem, known);
            CaError::Unreachable { ca, answered: problem.is_an_answer(), cause, next }
        }
        Failure::NotStepCa { .. } => CaError::Unreachable {
            ca,
            answered: true,
            cause: failure.to_string(),
            next: "make sure that the address and the port are the CA's".to_owned(),
        },
        Failure::Status { status: 429 | 502..=504, text, retry_after } => CaError::Unreachable {
            ca,
            answered: true,
            cause: busy(failure.status().unwrap_or_default(), text, *retry_after),
            next: "try again later".to_owned(),
        },
        Failure::Status { status, text, .. } => {
            let Finding { cause, next, .. } = refusal::finding(*status, text, doing, known);
            CaError::Refused { ca, cause, next }
        }
    }
}

/// Whether the cause is certain, so that repeating the request is pointless.
#[must_use]
pub fn is_certain(failure: &Failure, doing: Task<'_>, known: &Evidence<'_>) -> bool {
    match failure {
        Failure::Status { status, text, .. } => refusal::finding(*status, text, doing, known).certain,
        Failure::Problem(_) | Failure::NotStepCa { .. } => true,
    }
}

/// An error if this machine's clock differs too much from the CA's. `ahead`: by how many milliseconds the CA's is
/// ahead.
#[must_use]
pub fn clock(ca: &str, ahead: Option<i64>) -> Option<CaError> {
    let ahead = ahead.filter(|ahead| ahead.abs() > CLOCK)?;
    Some(CaError::Refused { ca: ca.to_owned(), cause: off(ahead), next: SET_CLOCK.to_owned() })
}

const SET_CLOCK: &str = "set this machine's clock (timedatectl set-ntp true), or the CA's if that is the wrong one";

fn off(ahead: i64) -> String {
    let far = distance(Duration::from_millis(ahead.unsigned_abs()));
    let direction = if ahead > 0 { "behind" } else { "ahead of" };
    format!("this machine's clock is {far} {direction} the CA's")
}

/// Rejects a token that the CA would refuse, before it is used up. `names`: the CA's own names, if they are known.
///
/// # Errors
/// The token will not get the requested certificate.
pub fn token(
    token: &Token,
    request: &IssueRequest,
    root: &Fingerprint,
    names: Option<&[String]>,
) -> Result<(), CaError> {
    let refused = |cause: String| {
        let names: Vec<&str> = request.principals.iter().map(crate::ca::Principal::as_str).collect();
        CaError::Credential {
            cause,
            next: format!("on the admin's machine: warded token {} --host -n {}", request.key_id, names.join(" -n ")),
        }
    };
    let given = TokenClaims::read(token).map_err(&refused)?;
    given.problem(request, root, names, now()).map_or(Ok(()), |cause| Err(refused(cause)))
}

fn busy(status: u16, text: &str, retry_after: Option<Duration>) -> String {
    let asks = retry_after.map(|time| format!("; it asks clients to wait {}", distance(time))).unwrap_or_default();
    let says = if text.is_empty() { String::new() } else { format!(": {text}") };
    format!("it answered with HTTP {status}{says}{asks}")
}

/// Explains a chain (the server's own certificate first) that is not valid now. Names the certificate that is not valid
/// by the CA's clock; if there is none, this machine's clock is wrong. `ahead`: by how many milliseconds the CA's clock
/// is ahead, if the CA says what time it has.
fn out_of_time(chain: &[X509], ahead: Option<i64>, now: u64, problem: &Problem) -> (String, String) {
    let off_by = ahead.filter(|ahead| ahead.abs() > CLOCK);
    let time = now.saturating_add_signed(ahead.unwrap_or_default() / 1000);
    let by_ca = chain.iter().enumerate().find_map(|(at, shown)| Some((at, shown, shown.out_of_time(time)?)));
    match (by_ca, off_by) {
        (None, Some(ahead)) => (off(ahead), SET_CLOCK.to_owned()),
        (None, None) => (problem.to_string(), "compare this machine's clock with the CA's".to_owned()),
        (Some((at, shown, fault)), _) => {
            let what = if at == 0 { "TLS" } else { "intermediate" };
            let clocks = match ahead {
                Some(_) => "",
                None => " by this machine's clock; the CA does not say what time it has",
            };
            let next = if at == 0 {
                "restart the CA, which then makes a new one; if a proxy presents this certificate, renew it there"
            } else {
                "on the CA, make a new intermediate certificate, and restart it"
            };
            (format!("its {what} certificate {} {fault}{clocks}", shown.subject), next.to_owned())
        }
    }
}

/// The first names of a server, for a message.
pub(super) fn name_some(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(MOST_NAMES).map(String::as_str).collect();
    let more = names.len().saturating_sub(shown.len());
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// Explains why the connection failed. If the server's certificate was the problem, connects once more without
/// verifying it; the result is only used for the message.
fn of_connection(problem: &Problem, known: &Evidence<'_>) -> (String, String) {
    let unverified = || {
        let http = Http::new(&known.settings.url, Trust::Anybody, known.settings.proxy.as_deref()).ok()?;
        http.get("/health").ok()?;
        Some(http)
    };
    match problem {
        Problem::OtherTime => {
            out_of_time(&known.http.chain(), unverified().and_then(|http| http.ahead()), now(), problem)
        }
        Problem::OtherName => {
            let names = Some(name_some(&known.http.names())).filter(|names| !names.is_empty());
            let (host, is) = (known.settings.url.host(), names.map(|names| format!("; it is for {names}")));
            (
                format!("its TLS certificate is not for {host}{}", is.unwrap_or_default()),
                format!("use one of its names, or put {host} into \"dnsNames\" of its ca.json and restart it"),
            )
        }
        Problem::OtherRoot => (
            format!("{problem} ({})", known.settings.fingerprint.short()),
            "if the CA has a new root, ask the CA's operator for its fingerprint, and run `warded bootstrap --ca-url … \
             --fingerprint … --force`; otherwise another server answers at this address"
                .to_owned(),
        ),
        Problem::NoConnection(_) => {
            (problem.to_string(), "make sure that the CA runs, and that this machine reaches it".to_owned())
        }
        Problem::TimedOut | Problem::Broken(_) => {
            (problem.to_string(), "look at the CA's log; try again later".to_owned())
        }
        Problem::Unsupported(_) => (
            problem.to_string(),
            "use RSA, Ed25519 or ECDSA keys (P-256, P-384, P-521) and SHA-256 or better for the CA's root and \
             intermediate"
                .to_owned(),
        ),
        Problem::Invalid(_) => (problem.to_string(), "look at the certificates that the CA shows".to_owned()),
        Problem::Tls(_) | Problem::Redirect | Problem::TooLong(_) => {
            (problem.to_string(), "make sure that the address and the port are the CA's".to_owned())
        }
        Problem::Local(_) => (problem.to_string(), "look at [step-ca] in the configuration".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_may_be_off_by_a_minute() {
        for (ahead, expected) in [
            (None, None),
            (Some(0), None),
            (Some(60_000), None),
            (Some(-60_000), None),
            (Some(90_400), Some("this machine's clock is 90 s behind the CA's")),
            (Some(-90_400), Some("this machine's clock is 90 s ahead of the CA's")),
            (Some(3_600_000), Some("this machine's clock is 60 min behind the CA's")),
            (Some(-200_000_000), Some("this machine's clock is 2 days ahead of the CA's")),
        ] {
            let error = clock("the CA", ahead).map(|error| error.to_string());
            assert_eq!(error, expected.map(|cause| format!("the CA refused: {cause}")), "{ahead:?}");
        }
    }

    /// The CA's clock decides whether a certificate has expired, or this machine's clock is wrong.
    #[test]
    fn what_does_not_hold_is_the_certificate_or_the_clock() {
        let now = 1_700_000_000;
        let shown = |subject: &str, from: u64, until: u64| X509 {
            der: Vec::new(),
            pem: String::new(),
            subject: format!("CN={subject}"),
            key: "ECDSA",
            from,
            until,
            names: Vec::new(),
        };
        let good = |subject| shown(subject, now - 1000, now + 1000);
        let over = |subject| shown(subject, 0, now - 500);
        for (chain, ahead, cause, next) in [
            (
                vec![good("Leaf"), over("Middle")],
                Some(0),
                "its intermediate certificate CN=Middle expired on 2023-11-14",
                "intermediate",
            ),
            (vec![over("Leaf"), good("Middle")], Some(100), "its TLS certificate CN=Leaf expired on", "restart the CA"),
            // The certificate is valid by the CA's own clock.
            (vec![good("Leaf"), over("Middle")], Some(-600_000), "10 min ahead of the CA's", "timedatectl"),
            // Certificate and clock are both wrong: setting the clock here would not help.
            (vec![over("Leaf")], Some(3_600_000), "expired on", "restart"),
            (vec![shown("Leaf", now + 50_000, now + 90_000)], Some(60_000_000), "16 h behind the CA's", "timedatectl"),
            (vec![over("Leaf")], None, "by this machine's clock; the CA does not say", "restart"),
            (vec![], Some(0), "is not valid at this machine's time", "compare"),
        ] {
            let (said, then) = out_of_time(&chain, ahead, now, &Problem::OtherTime);
            assert!(said.contains(cause) && then.contains(next), "{cause}: {said}; {then}");
        }
    }
}
