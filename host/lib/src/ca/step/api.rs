//! step-ca's API: the requests and the answers. Causes of failures are diagnosed elsewhere.
//!
//! Source: step-ca 0.30 (`api/api.go`, `api/ssh.go`), and a running server.

use super::{
    fingerprint::Fingerprint,
    http::{Answer, Http, Problem},
    provisioner::Provisioner,
};
use crate::{ca::Kind, text::neutral};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use ssh_key::{Algorithm, PublicKey};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Servers silently limit pages to this size.
const PAGE: usize = 100;
/// More pages than any CA has: stops at a server that never ends its list.
const MAX_PAGES: usize = 10;
/// The time limit for all pages together.
const ALL_PAGES: Duration = Duration::from_secs(12);
/// More than a token with a chain of certificates needs.
const MAX_REQUEST: usize = 128 * 1024;
/// The longest text from a server that is shown.
const MAX_TEXT: usize = 400;

/// Why a question has no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No complete answer came.
    #[error("{0}")]
    Problem(#[from] Problem),
    /// The server refused.
    #[error("HTTP {status}: {text}")]
    Status {
        status: u16,
        /// The server's text, neutralised.
        text: String,
        /// How long the server asks clients to wait.
        retry_after: Option<Duration>,
    },
    /// The answer is not one that a step-ca gives.
    #[error("its answer to {question} is not what a step-ca answers: {why}")]
    NotStepCa { question: String, why: String },
}

impl Failure {
    /// Whether the server answered and will not soon answer otherwise: the resource is hidden, or does not exist.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 400..=428 | 430..=499),
            Self::NotStepCa { .. } | Self::Problem(Problem::Redirect) => true,
            Self::Problem(_) => false,
        }
    }

    /// The HTTP status, if the server refused.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        if let Self::Status { status, .. } = self { Some(*status) } else { None }
    }
}

/// A request for an SSH certificate. The names of the fields are the server's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignRequest<'a> {
    /// The wire form of the key, in base64.
    public_key: String,
    ott: &'a str,
    cert_type: &'a str,
    #[serde(rename = "keyID")]
    key_id: &'a str,
    principals: Vec<&'a str>,
}

impl<'a> SignRequest<'a> {
    /// Creates a request. It has to match the token's claims.
    ///
    /// # Errors
    /// The key cannot be encoded.
    pub fn new(token: &'a str, request: &'a crate::ca::IssueRequest) -> Result<Self, ssh_key::Error> {
        Ok(Self {
            public_key: STANDARD.encode(request.key.to_bytes()?),
            ott: token,
            cert_type: kind_name(request.kind),
            key_id: &request.key_id,
            principals: request.principals.iter().map(crate::ca::Principal::as_str).collect(),
        })
    }
}

/// step-ca's name for a kind.
#[must_use]
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Host => "host",
        Kind::User => "user",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RenewRequest<'a> {
    ott: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokeRequest<'a> {
    /// The serial number, in decimal.
    pub serial: &'a str,
    pub ott: &'a str,
    /// RFC 5280, 5.3.1: 0 unspecified, 1 key compromise, 4 superseded, 5 cessation of operation …
    pub reason_code: u8,
    /// A text for the CA's log.
    pub reason: &'a str,
    /// The CA accepts only `true`, which means that it will not renew the certificate; nobody else is informed.
    pub passive: bool,
}

#[derive(Deserialize)]
struct Root {
    ca: String,
}

#[derive(Deserialize)]
struct RootsReply {
    #[serde(default)]
    crts: Vec<String>,
}

#[derive(Deserialize)]
struct Status {
    status: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    provisioners: Option<Vec<Provisioner>>,
    #[serde(default)]
    next_cursor: String,
}

#[derive(Deserialize)]
struct EncryptedKey {
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keys {
    #[serde(default)]
    user_key: Vec<String>,
    #[serde(default)]
    host_key: Vec<String>,
}

#[derive(Deserialize)]
struct SignReply {
    crt: String,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// The CA's SSH keys. The first of each kind signs at present.
#[derive(Clone, Debug)]
pub struct SshRoots {
    /// The keys that sign host certificates.
    pub host: Vec<PublicKey>,
    /// The keys that sign user certificates.
    pub user: Vec<PublicKey>,
}

impl SshRoots {
    /// The keys of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> &[PublicKey] {
        match kind {
            Kind::Host => &self.host,
            Kind::User => &self.user,
        }
    }
}

/// The root certificate with this fingerprint, in PEM. The caller has to check the fingerprint of the bytes.
///
/// # Errors
/// There is no such answer.
pub fn root(http: &Http, fingerprint: &Fingerprint) -> Result<String, Failure> {
    Ok(get::<Root>(http, &format!("/root/{fingerprint}"))?.ca)
}

/// The root certificates that the CA lists, in PEM.
///
/// # Errors
/// There is no such answer.
pub fn roots(http: &Http) -> Result<Vec<String>, Failure> {
    Ok(get::<RootsReply>(http, "/roots")?.crts)
}

/// `ok`, if the CA is well.
///
/// # Errors
/// There is no such answer.
pub fn health(http: &Http) -> Result<String, Failure> {
    Ok(neutral(&get::<Status>(http, "/health")?.status))
}

/// The CA's version.
///
/// # Errors
/// There is no such answer.
pub fn version(http: &Http) -> Result<String, Failure> {
    Ok(neutral(&get::<Version>(http, "/version")?.version))
}

/// All provisioners, in the order of the CA's configuration.
///
/// # Errors
/// There is no such answer.
pub fn provisioners(http: &Http) -> Result<Vec<Provisioner>, Failure> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    let begun = Instant::now();
    for _ in 0..MAX_PAGES {
        if begun.elapsed() > ALL_PAGES {
            return Err(Problem::TimedOut.into());
        }
        let after = url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect::<String>();
        let page: Page = get(http, &format!("/provisioners?limit={PAGE}&cursor={after}"))?;
        found.extend(page.provisioners.unwrap_or_default());
        if page.next_cursor.is_empty() {
            return Ok(found);
        }
        cursor = page.next_cursor;
    }
    Err(Failure::NotStepCa { question: "/provisioners".to_owned(), why: "its list does not end".to_owned() })
}

/// A provisioner's private key as stored by the CA, encrypted with its password: a compact JWE.
///
/// # Errors
/// There is no such answer.
pub fn encrypted_key(http: &Http, kid: &str) -> Result<String, Failure> {
    Ok(get::<EncryptedKey>(http, &format!("/provisioners/{}/encrypted-key", path_segment(kid)))?.key)
}

/// Encodes a path segment, in which a blank is `%20`, and not `+` as in a query.
fn path_segment(text: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    encoded.replace('+', "%20")
}

/// The CA's SSH keys, of both kinds.
///
/// # Errors
/// There is no such answer; 404 means that this CA does not issue SSH certificates.
pub fn ssh_roots(http: &Http) -> Result<SshRoots, Failure> {
    const PATH: &str = "/ssh/roots";
    let keys: Keys = get(http, PATH)?;
    let decode = |keys: Vec<String>| -> Result<Vec<PublicKey>, Failure> {
        let wrong = |why: String| Failure::NotStepCa { question: PATH.to_owned(), why };
        keys.iter()
            .map(|key| {
                let bytes = STANDARD.decode(key).map_err(|_| wrong("a key is not base64".to_owned()))?;
                match PublicKey::from_bytes(&bytes) {
                    // An unknown type's name may contain anything, even a line for a file.
                    Ok(key) if matches!(key.algorithm(), Algorithm::Other(_)) => {
                        Err(wrong("a key is of an unknown type".to_owned()))
                    }
                    read => read.map_err(|error| wrong(format!("a key: {error}"))),
                }
            })
            .collect()
    };
    Ok(SshRoots { host: decode(keys.host_key)?, user: decode(keys.user_key)? })
}

/// A new certificate, in its wire form.
///
/// # Errors
/// The CA does not answer, or refuses.
pub fn sign(http: &Http, request: &SignRequest<'_>) -> Result<Vec<u8>, Failure> {
    certificate(http, "/ssh/sign", request)
}

/// A successor with the same key; that key signed the token.
///
/// # Errors
/// As for [`sign`].
pub fn renew(http: &Http, token: &str) -> Result<Vec<u8>, Failure> {
    certificate(http, "/ssh/renew", &RenewRequest { ott: token, public_key: None })
}

/// A successor with another key; the old key signed the token.
///
/// # Errors
/// As for [`sign`].
pub fn rekey(http: &Http, token: &str, key: &PublicKey) -> Result<Vec<u8>, Failure> {
    let key = key
        .to_bytes()
        .map_err(|error| Failure::Problem(Problem::Local(format!("the new key cannot be encoded: {error}"))))?;
    certificate(http, "/ssh/rekey", &RenewRequest { ott: token, public_key: Some(STANDARD.encode(key)) })
}

/// Whether the CA has ever certified a machine with this name, even if that certificate is no longer valid.
///
/// # Errors
/// The server does not say.
pub fn check_host(http: &Http, name: &str) -> Result<bool, Failure> {
    #[derive(Serialize)]
    struct Question<'a> {
        r#type: &'a str,
        principal: &'a str,
    }
    #[derive(Deserialize)]
    struct Found {
        exists: bool,
    }
    let found: Found = post(http, "/ssh/check-host", &Question { r#type: "host", principal: name })?;
    Ok(found.exists)
}

/// Makes the CA refuse to renew a certificate. Neither sshd nor any client is informed.
///
/// # Errors
/// As for [`sign`].
pub fn revoke(http: &Http, request: &RevokeRequest<'_>) -> Result<(), Failure> {
    let answer: Status = post(http, "/ssh/revoke", request)?;
    if answer.status == "ok" {
        return Ok(());
    }
    Err(Failure::NotStepCa { question: "/ssh/revoke".to_owned(), why: neutral(&answer.status) })
}

fn certificate(http: &Http, path: &str, request: &impl Serialize) -> Result<Vec<u8>, Failure> {
    let signed: SignReply = post(http, path, request)?;
    STANDARD
        .decode(&signed.crt)
        .map_err(|_| Failure::NotStepCa { question: path.to_owned(), why: "the certificate is not base64".to_owned() })
}

fn get<T: DeserializeOwned>(http: &Http, path: &str) -> Result<T, Failure> {
    let question = path.split_once('?').map_or(path, |(question, _)| question);
    understand(question, &http.get(path)?)
}

fn post<T: DeserializeOwned>(http: &Http, path: &str, request: &impl Serialize) -> Result<T, Failure> {
    // Allocated for the largest request: growing would leave copies of the token in freed memory.
    let mut json = Zeroizing::new(Vec::with_capacity(MAX_REQUEST));
    serde_json::to_writer(&mut *json, request).map_err(|error| Problem::Local(error.to_string()))?;
    understand(path, &http.post(path, json)?)
}

/// Success is 200 or 201, every other status is a refusal. The body of a refusal need not be JSON.
fn understand<T: DeserializeOwned>(question: &str, answer: &Answer) -> Result<T, Failure> {
    if matches!(answer.status, 200 | 201) {
        let wrong = |why: String| Failure::NotStepCa { question: question.to_owned(), why };
        return match serde_json::from_slice(&answer.body) {
            // serde would accept a list in place of an object.
            _ if !answer.body.trim_ascii_start().starts_with(b"{") => Err(wrong("it is no JSON object".to_owned())),
            // The error of serde quotes the server's text.
            Err(error) if error.is_data() => Err(wrong(neutral(&error.to_string()).chars().take(MAX_TEXT).collect())),
            Err(_) => Err(wrong("it is no JSON, or cut off".to_owned())),
            Ok(read) => Ok(read),
        };
    }
    let text = serde_json::from_slice::<Refusal>(&answer.body).map_or_else(
        |_| String::from_utf8_lossy(&answer.body).lines().next().unwrap_or_default().to_owned(),
        |refusal| refusal.message,
    );
    let text = neutral(text.trim()).chars().take(MAX_TEXT).collect();
    Err(Failure::Status { status: answer.status, text, retry_after: answer.retry_after })
}

#[cfg(test)]
mod tests;
