//! Makes one-time tokens, signed with a provisioner's key, an X.509 key, or the host's own key (SSHPOP). They are
//! compact JSON Web Signatures (RFC 7515) with the claims that step-ca requires
//! (`authority/provisioner/{jwk,x5c,sshpop}.go`).

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

/// The default validity of a token in seconds, as with `step`.
pub const LIFE: u64 = 300;

/// A token. Wiped when dropped; never shown.
pub struct Token(Zeroizing<String>);

impl Token {
    /// A token that was made elsewhere.
    #[must_use]
    pub fn given(text: &str) -> Self {
        // The file that it comes from may begin with a byte order mark.
        Self(Zeroizing::new(text.trim_start_matches('\u{feff}').trim().to_owned()))
    }

    /// The text to send.
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

/// How a token proves the right to request.
#[derive(Debug)]
pub enum Proof<'a> {
    /// With the provisioner's own key, which has an ID.
    Jwk {
        /// The ID by which the CA finds the provisioner.
        kid: &'a str,
    },
    /// With an X.509 key: its chain of certificates in DER, the key's own first.
    X5c { chain: &'a [Vec<u8>] },
    /// With a host key: its host certificate.
    SshPop { certificate: &'a Certificate },
}

/// The operation that a token is for.
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

/// The certificate that a token is for.
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

/// The claims of a token, apart from the proof.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    pub ca: &'a CaUrl,
    pub root: &'a Fingerprint,
    /// The name of the provisioner.
    pub provisioner: &'a str,
    /// The operation that the token is for.
    pub purpose: Use,
    /// The key ID, or a certificate's serial number.
    pub subject: &'a str,
    /// The requested certificate; `None` for operations on an existing one.
    pub wanted: Option<CertificateSpec<'a>>,
    /// The present time, in seconds since 1970.
    pub now: u64,
    /// The validity in seconds.
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

/// Makes a token, which can be used once.
///
/// # Errors
/// The key cannot sign.
pub fn make(key: &dyn Sign, proof: &Proof<'_>, claims: &Claims<'_>) -> Result<Token, KeyError> {
    // If the provisioner's own key does not sign, the audience has to name the provisioner.
    let (audience, header) = match proof {
        Proof::Jwk { kid } => (String::new(), Header { kid: Some(kid), ..header(key) }),
        Proof::X5c { chain } => {
            let chain = chain.iter().map(|certificate| STANDARD.encode(certificate)).collect();
            (fragment("x5c", claims.provisioner), Header { x5c: Some(chain), ..header(key) })
        }
        Proof::SshPop { certificate } => {
            // Standard base64 with padding: the server rejects base64url.
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

/// The fragment of an audience, escaped as in Go (`net/url`, `shouldEscape` for fragments). step-ca compares URLs as
/// text, so one escape too many or too few would name another provisioner.
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

/// 256 random bits in hexadecimal. The CA remembers this ID, and accepts it once.
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

    /// The results of `url.URL{Fragment: "sshpop/" + name}.String()` in Go.
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
