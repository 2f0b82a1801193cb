//! The correct answers of a CA. It checks no token: everybody who asks for a certificate gets one.

use super::{
    super::{jwk::Jwk, step_ca::PASSWORD, x509::Authority},
    fault::Fault,
    signer::{CertificateSpec, Signer},
    wire::{Answer, Pace, Request},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use ssh_key::{Certificate, PublicKey, certificate::CertType};

/// The text of a real CA that gives no reason.
pub(super) const UNAUTHORIZED: &str = "The request lacked necessary authorization to be completed. Please see the certificate authority logs for more info.";

/// A CA that does what it should, apart from the lie in its certificates.
#[derive(Debug)]
pub(super) struct HonestCa {
    /// Its TLS certificates.
    pub(super) tls: Authority,
    /// The TLS certificates of another party.
    pub(super) others: Authority,
    /// Its SSH certificates.
    pub(super) signer: Signer,
    /// The key of its provisioner.
    pub(super) jwk: Jwk,
    encrypted: String,
    fault: Fault,
}

impl HonestCa {
    pub(super) fn new(fault: Fault) -> Self {
        let lie = if let Fault::Certificate(lie) = fault { Some(lie) } else { None };
        let claimed = if let Fault::Iterations(claimed) = fault { claimed } else { 10_000 };
        let jwk = Jwk::random();
        let encrypted = jwk.encrypted(PASSWORD, 10_000, claimed);
        let (tls, others) = (Authority::new("Test CA"), Authority::new("Other CA"));
        Self { tls, others, signer: Signer::new(lie), jwk, encrypted, fault }
    }

    pub(super) fn answer(&self, request: &Request) -> Answer {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let (status, answer) = match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/health") | ("POST", "/ssh/revoke") => (200, json!({ "status": "ok" })),
            ("GET", "/version") => (200, json!({ "version": "0.30.2" })),
            ("GET", "/roots") => (201, json!({ "crts": [self.tls.root()] })),
            ("GET", "/provisioners") => (200, self.provisioners()),
            ("GET", "/ssh/roots") => {
                (200, json!({ "hostKey": [self.public("host_ca")], "userKey": [self.public("user_ca")] }))
            }
            ("POST", "/ssh/sign") => certified(self.signer.certificate(&asked(&body))),
            ("POST", "/ssh/renew") => certified(self.signer.certificate(&shown(&body))),
            ("POST", "/ssh/rekey") => {
                certified(self.signer.certificate(&CertificateSpec { key: key_of(&body), ..shown(&body) }))
            }
            ("GET", path) if path == format!("/root/{}", self.tls.fingerprint()) => {
                let authority = if self.fault == Fault::OtherRoot { &self.others } else { &self.tls };
                (200, json!({ "ca": authority.root() }))
            }
            ("GET", path) if path == format!("/provisioners/{}/encrypted-key", self.jwk.id()) => {
                (200, json!({ "key": self.encrypted }))
            }
            _ => (404, json!({ "status": 404, "message": "The requested resource was not found." })),
        };
        Answer::json(status, &answer)
    }

    fn provisioners(&self) -> Value {
        let claims = json!({ "enableSSHCA": true });
        json!({
            "provisioners": [
                { "type": "JWK", "name": "admin", "key": self.jwk.public(), "encryptedKey": self.encrypted, "claims": claims },
                { "type": "SSHPOP", "name": "sshpop", "claims": claims },
            ],
            "nextCursor": if self.fault == Fault::Pages { "again" } else { "" },
        })
    }

    fn public(&self, name: &str) -> String {
        self.signer.public(name).split(' ').nth(1).unwrap().trim_end().to_owned()
    }
}

impl Answer {
    /// A correct JSON answer.
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let head = vec!["Content-Type: application/json".to_owned()];
        Self { status, head, body: body.to_string().into_bytes(), pace: Pace::Whole }
    }
}

fn certified(certificate: Option<String>) -> (u16, Value) {
    (201, certificate.map_or_else(|| json!({}), |certificate| json!({ "crt": certificate })))
}

/// The certificate that the token of a request asks for.
fn asked(body: &Value) -> CertificateSpec {
    let claims = token(body, 1);
    let ssh = &claims["step"]["ssh"];
    let principals = ssh["principals"].as_array().into_iter().flatten();
    CertificateSpec {
        key: key_of(body),
        host: ssh["certType"] == "host",
        principals: principals.map(|name| name.as_str().unwrap().to_owned()).collect(),
        id: ssh["keyID"].as_str().or(claims["sub"].as_str()).unwrap().to_owned(),
    }
}

/// The certificate with which a token was signed.
fn shown(body: &Value) -> CertificateSpec {
    let blob = BASE64_STANDARD.decode(token(body, 0)["sshpop"].as_str().unwrap()).unwrap();
    let certificate = Certificate::from_bytes(&blob).unwrap();
    CertificateSpec {
        key: PublicKey::new(certificate.public_key().clone(), "").to_openssh().unwrap(),
        host: certificate.cert_type() == CertType::Host,
        principals: certificate.valid_principals().to_vec(),
        id: certificate.key_id().to_owned(),
    }
}

fn key_of(body: &Value) -> String {
    let blob = BASE64_STANDARD.decode(body["publicKey"].as_str().unwrap()).unwrap();
    PublicKey::from_bytes(&blob).unwrap().to_openssh().unwrap()
}

/// The header (0) or the claims (1) of a request's token.
fn token(body: &Value, part: usize) -> Value {
    let part = body["ott"].as_str().unwrap().split('.').nth(part).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
