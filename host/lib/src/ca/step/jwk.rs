//! A provisioner's private key: a JSON Web Key (RFC 7517, 7518, 8037), or a key file of another format.

use crate::{
    machine::keys::{
        KeyError,
        signing::{Curve, SigningKey},
    },
    text::neutral,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Only the fields that signing needs. Wiped when dropped.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    d: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    p: String,
    #[serde(default)]
    q: String,
}

#[derive(Debug)]
pub(super) struct ProvisionerKey {
    /// The private key.
    pub(super) key: SigningKey,
    /// The key's ID, if it has one.
    pub(super) kid: Option<String>,
}

/// Parses a private key in JSON.
///
/// # Errors
/// It is not a private key, or its type is not used for signing tokens.
pub(super) fn parse(json: &[u8]) -> Result<ProvisionerKey, KeyError> {
    // The error of serde is dropped, since it could quote the key.
    let jwk: Jwk = serde_json::from_slice(json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json))
        .map_err(|_| wrong("it is not a JSON Web Key"))?;
    if jwk.d.is_empty() {
        return Err(wrong("it has no private part"));
    }
    let key = match (jwk.kty.as_str(), jwk.crv.as_str()) {
        ("EC", "P-256") => SigningKey::ecdsa(Curve::P256, &number(&jwk.d)?),
        ("EC", "P-384") => SigningKey::ecdsa(Curve::P384, &number(&jwk.d)?),
        ("EC", "P-521") => SigningKey::ecdsa(Curve::P521, &number(&jwk.d)?),
        ("OKP", "Ed25519") => SigningKey::ed25519(&number(&jwk.d)?),
        ("RSA", _) if jwk.p.is_empty() || jwk.q.is_empty() => {
            Err(wrong("an RSA key without its primes p and q is not supported"))
        }
        ("RSA", _) => {
            SigningKey::rsa([&number(&jwk.n)?, &number(&jwk.e)?, &number(&jwk.d)?, &number(&jwk.p)?, &number(&jwk.q)?])
        }
        (kty, "") => Err(KeyError::NotAKey(format!("keys of the type {} are not supported", neutral(kty)))),
        (kty, crv) => Err(KeyError::NotAKey(format!(
            "keys of the type {} on the curve {} are not supported",
            neutral(kty),
            neutral(crv)
        ))),
    }?;
    let kid = Some(jwk.kid.clone()).filter(|kid| !kid.is_empty());
    Ok(ProvisionerKey { key, kid })
}

fn number(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).map_err(|_| wrong("one of its numbers is not base64url"))
}

fn wrong(why: &str) -> KeyError {
    KeyError::NotAKey(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of RFC 7515, A.3.1, and RFC 8037, A.1.
    const EC: &str = r#"{"kty":"EC","crv":"P-256","kid":"one","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
    const OKP: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    #[test]
    fn keys_of_the_standards_examples() {
        let ec = parse(EC.as_bytes()).unwrap();
        assert_eq!((ec.kid.as_deref(), ec.key.jws_algorithm()), (Some("one"), "ES256"));
        let okp = parse(OKP.as_bytes()).unwrap();
        assert_eq!((okp.kid, okp.key.jws_algorithm()), (None, "EdDSA"));
        // The signature in RFC 8037, A.4.
        let signed = okp.key.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc").unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.encode(signed),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    #[test]
    fn an_error_never_quotes_the_key() {
        let private = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
        for (text, why) in [
            (EC.replace("\"d\":", "\"D\":"), "no private part"),
            (EC.replace("P-256", "secp256k1"), "the type EC on the curve secp256k1 are not supported"),
            (OKP.replace("Ed25519", "Ed448"), "the type OKP on the curve Ed448 are not supported"),
            (r#"{"kty":"RSA","n":"AQ","e":"AQ","d":"AQ"}"#.to_owned(), "primes p and q"),
            (r#"{"kty":"AKP","alg":"ML-DSA-44","d":"AQ"}"#.to_owned(), "the type AKP are not supported"),
            (EC.replace("-YBI", "+YBI"), "base64url"),
            (EC.replace("\"d\":\"", "\"d\":\"AAEC"), "longer"),
            (EC.replace("\"d\":", "\"d\":1,\"d\":"), "JSON"),
            (EC.replace('}', ""), "JSON"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains(private), "{text}: {error}");
        }
    }
}
