//! One-time tokens: made with a provisioner's key, an X.509 key, or the host's own key (SSHPOP). Compact JSON
//! Web Signatures (RFC 7515) with the claims that step-ca wants (`authority/provisioner/{jwk,x5c,sshpop}.go`).

use super::{api::kind_name, fingerprint::Fingerprint, url::CaUrl};
use crate::{
    ca::{Certificate, IssueRequest, Kind, Principal, Principals},
    machine::keys::{KeyError, signing::Sign},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::Serialize;
use ssh_key::rand_core::{OsRng, RngCore as _};
use zeroize::Zeroizing;

/// How long a token of ours can be used, unless said otherwise: as those of `step`.
pub const LIFE: u64 = 300;

/// A token. Wiped when dropped; never shown.
pub struct Token(Zeroizing<String>);

impl Token {
    /// One that was made elsewhere.
    #[must_use]
    pub fn given(text: &str) -> Self {
        // A file may begin with a byte order mark.
        Self(Zeroizing::new(text.trim_start_matches('\u{feff}').trim().to_owned()))
    }

    /// What is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// How a token proves that it may ask.
#[derive(Debug)]
pub enum Proof<'a> {
    /// The provisioner's own key, with its ID.
    Jwk {
        /// The ID, by which the CA finds the provisioner.
        kid: &'a str,
    },
    /// A chain of X.509 certificates in DER, the one of the key first.
    X5c { chain: &'a [Vec<u8>] },
    /// The host certificate of the key.
    SshPop { certificate: &'a Certificate },
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A new certificate.
    Sign,
    Renew,
    /// A successor with another key.
    Rekey,
    /// A revocation.
    Revoke,
}

impl Use {
    fn path(self) -> &'static str {
        match self {
            Self::Sign => "/1.0/ssh/sign",
            Self::Renew => "/1.0/ssh/renew",
            Self::Rekey => "/1.0/ssh/rekey",
            Self::Revoke => "/1.0/ssh/revoke",
        }
    }
}

/// What certificate a token is for.
#[derive(Clone, Copy, Debug)]
pub struct CertificateSpec<'a> {
    /// Host or user.
    pub kind: Kind,
    pub key_id: &'a str,
    pub principals: &'a Principals,
}

impl<'a> From<&'a IssueRequest> for CertificateSpec<'a> {
    fn from(request: &'a IssueRequest) -> Self {
        Self { kind: request.kind, key_id: &request.key_id, principals: &request.principals }
    }
}

/// Everything that a token says, but who says it.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    pub ca: &'a CaUrl,
    pub root: &'a Fingerprint,
    /// The name of the provisioner.
    pub provisioner: &'a str,
    /// What it is for.
    pub purpose: Use,
    /// The key ID, or the serial number.
    pub subject: &'a str,
    /// What certificate it is for; none for what copies another.
    pub wanted: Option<CertificateSpec<'a>>,
    /// Seconds since 1970.
    pub now: u64,
    /// For how many seconds.
    pub life: u64,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x5c: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sshpop: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
    sha: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<Step<'a>>,
}

#[derive(Serialize)]
struct Step<'a> {
    ssh: Ssh<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ssh<'a> {
    cert_type: &'a str,
    #[serde(rename = "keyID")]
    key_id: &'a str,
    principals: Vec<&'a str>,
}

/// Makes a token: each can be used once.
///
/// # Errors
/// It cannot be signed.
pub fn make(key: &dyn Sign, proof: &Proof<'_>, claims: &Claims<'_>) -> Result<Token, KeyError> {
    // What is not the provisioner's own signature names the provisioner in the audience.
    let (audience, header) = match proof {
        Proof::Jwk { kid } => (String::new(), Header { kid: Some(kid), ..header(key) }),
        Proof::X5c { chain } => {
            let chain = chain.iter().map(|certificate| STANDARD.encode(certificate)).collect();
            (fragment("x5c", claims.provisioner), Header { x5c: Some(chain), ..header(key) })
        }
        Proof::SshPop { certificate } => {
            // Standard base64 with its padding: the server refuses the other.
            let certificate = STANDARD.encode(certificate.bytes());
            (fragment("sshpop", claims.provisioner), Header { sshpop: Some(certificate), ..header(key) })
        }
    };
    let body = Body {
        iss: claims.provisioner,
        sub: claims.subject,
        aud: format!("{}{audience}", claims.ca.at(claims.purpose.path())),
        iat: claims.now,
        nbf: claims.now,
        exp: claims.now.saturating_add(claims.life),
        jti: identifier(),
        sha: claims.root.to_string(),
        step: claims.wanted.map(|wanted| Step {
            ssh: Ssh {
                cert_type: kind_name(wanted.kind),
                key_id: wanted.key_id,
                principals: wanted.principals.iter().map(Principal::as_str).collect(),
            },
        }),
    };
    let json = |failed: serde_json::Error| KeyError::Generation(failed.to_string());
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).map_err(json)?),
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&body).map_err(json)?)
    );
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())?);
    Ok(Token(Zeroizing::new(format!("{signed}.{signature}"))))
}

/// The fragment of an audience as Go writes it (`net/url`, `shouldEscape` for fragments): step-ca compares the texts of
/// URLs, so an escape too many counts as another provisioner, as one too few does.
fn fragment(kind: &str, provisioner: &str) -> String {
    use std::fmt::Write as _;
    let mut out = format!("#{kind}/");
    for byte in provisioner.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=?@!()*".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _always = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn header(key: &dyn Sign) -> Header<'static> {
    Header { alg: key.jws_algorithm(), typ: "JWT", kid: None, x5c: None, sshpop: None }
}

/// 256 random bits in hexadecimal: the CA remembers it, and takes it once.
fn identifier() -> String {
    use std::fmt::Write as _;
    let mut bytes = [0; 32];
    OsRng.fill_bytes(&mut bytes);
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String does not fail.
        let _always = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::keys::signing::SigningKey;

    /// What `url.URL{Fragment: "sshpop/" + name}.String()` gives in Go.
    #[test]
    fn a_provisioners_name_is_escaped_as_the_ca_does() {
        for (name, expected) in [
            ("sshpop", "sshpop"),
            ("100% Renewal", "100%25%20Renewal"),
            ("%41", "%2541"),
            ("Bob's [prod]", "Bob%27s%20%5Bprod%5D"),
            ("a#b?c/d", "a%23b?c/d"),
            ("me@example.org (old)!*~", "me@example.org%20(old)!*~"),
            ("Größe", "Gr%C3%B6%C3%9Fe"),
            ("\"<\\^`{|}>", "%22%3C%5C%5E%60%7B%7C%7D%3E"),
        ] {
            assert_eq!(fragment("sshpop", name), format!("#sshpop/{expected}"));
        }
    }
    use crate::ca::testing::Certifies as _;
    use crate::machine::keys::testing::{TYPES, Workshop};
    use serde_json::{Value, json};

    fn part(token: &Token, at: usize) -> Value {
        let part = token.as_str().split('.').nth(at).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn each_proof_has_its_header_and_its_audience() {
        let workshop = Workshop::new();
        let public = workshop.key("key", TYPES[0]);
        workshop.key("ca", TYPES[0]);
        let certificate = workshop.certify("ca", "key", &["-h", "-n", "web1"]);
        let key = SigningKey::read(&workshop.path("key")).unwrap();
        let request = IssueRequest {
            kind: Kind::Host,
            key: public,
            principals: Principals::parse(Kind::Host, ["web1", "web1.example.org"]).unwrap(),
            key_id: "web1".to_owned(),
        };
        let (ca, root): (CaUrl, _) = ("ca.example.org:9000".parse().unwrap(), Fingerprint::of(b"root"));
        let wanted = CertificateSpec::from(&request);
        let claims = |purpose, wanted| Claims {
            ca: &ca,
            root: &root,
            provisioner: "the name",
            purpose,
            subject: "web1",
            wanted,
            now: 1000,
            life: LIFE,
        };
        let sign = |proof, claims| make(&key, &proof, &claims).unwrap();

        let token = sign(Proof::Jwk { kid: "kid" }, claims(Use::Sign, Some(wanted)));
        assert_eq!(part(&token, 0), json!({"alg": "EdDSA", "typ": "JWT", "kid": "kid"}));
        let mut body = part(&token, 1);
        let identifier = body["jti"].take();
        assert_eq!(identifier.as_str().unwrap().len(), 64);
        assert_eq!(
            body,
            json!({
                "iss": "the name", "sub": "web1", "aud": "https://ca.example.org:9000/1.0/ssh/sign",
                "iat": 1000, "nbf": 1000, "exp": 1300, "jti": null, "sha": root.to_string(),
                "step": {"ssh": {"certType": "host", "keyID": "web1", "principals": ["web1", "web1.example.org"]}},
            })
        );
        let again = sign(Proof::Jwk { kid: "kid" }, claims(Use::Sign, Some(wanted)));
        assert_ne!(part(&again, 1)["jti"], identifier);
        assert_eq!(format!("{token:?}"), "Token(…)");

        let chain = [vec![255, 254, 253]];
        let token = sign(Proof::X5c { chain: &chain }, claims(Use::Sign, Some(wanted)));
        assert_eq!(part(&token, 0)["x5c"], json!(["//79"]));
        assert_eq!(part(&token, 1)["aud"], "https://ca.example.org:9000/1.0/ssh/sign#x5c/the%20name");

        let token = sign(Proof::SshPop { certificate: &certificate }, claims(Use::Renew, None));
        assert_eq!(part(&token, 0)["sshpop"], STANDARD.encode(certificate.bytes()));
        assert_eq!(part(&token, 1)["aud"], "https://ca.example.org:9000/1.0/ssh/renew#sshpop/the%20name");
        assert_eq!(part(&token, 1).get("step"), None);
    }
}
