//! Correct requests to a CA, to test a CA without Warded.

use super::{
    https::Https,
    jwk::{Jwk, encode},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};
use ssh_key::rand_core::{OsRng, RngCore as _};

/// The claims of every token: who made it, when, and for which request.
pub(crate) fn claims(ca: &Https, provisioner: &str, request: &str) -> Value {
    let now = Timestamp::now().as_second();
    let mut random = [0; 32];
    OsRng.fill_bytes(&mut random);
    json!({
        "iss": provisioner, "sub": "web1", "aud": format!("https://{}:{}/1.0/ssh/{request}", ca.name, ca.port),
        "iat": now, "nbf": now, "exp": now + 300, "jti": encode(&random),
    })
}

/// Adds the names of the host certificate that is requested.
pub(crate) fn for_host(mut claims: Value, names: &[&str]) -> Value {
    claims["step"] = json!({ "ssh": { "certType": "host", "keyID": "web1", "principals": names } });
    claims
}

/// The body for `/ssh/sign`.
pub(crate) fn signing(token: &str, host_key: &Jwk) -> Value {
    let key = BASE64_STANDARD.encode(host_key.ssh().to_bytes().unwrap());
    json!({ "ott": token, "certType": "host", "publicKey": key })
}

/// The body for `/ssh/renew`, with the certificate as the CA returned it.
pub(crate) fn renewal(ca: &Https, provisioner: &str, host_key: &Jwk, certificate: &str) -> Value {
    json!({ "ott": by_host_key(ca, (provisioner, "renew"), host_key, certificate) })
}

/// The token that a host key signs, with its certificate, for `renew` or `rekey`.
pub(crate) fn by_host_key(
    ca: &Https,
    (provisioner, request): (&str, &str),
    host_key: &Jwk,
    certificate: &str,
) -> String {
    let mut claims = claims(ca, provisioner, request);
    claims["aud"] = format!("{}#sshpop/{provisioner}", claims["aud"].as_str().unwrap()).into();
    let header = json!({ "kid": host_key.id(), "sshpop": certificate });
    host_key.token_with(&header, &claims)
}
