//! The key of a JWK provisioner: the part in a CA's configuration, the part that its owner keeps, and the one-time
//! tokens that it signs.

use aes_gcm::{AeadInPlace as _, Aes256Gcm, KeyInit as _};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use p256::{
    EncodedPoint,
    ecdsa::{Signature, SigningKey},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use signature::Signer as _;
use ssh_key::{
    PublicKey,
    public::{EcdsaPublicKey, KeyData},
    rand_core::{OsRng, RngCore as _},
};

const WRAPPING: &str = "PBES2-HS256+A128KW";

/// A key on P-256, with its public half as a JWK.
#[derive(Debug)]
pub(crate) struct Jwk {
    key: SigningKey,
    public: Value,
}

impl Jwk {
    /// A new key.
    pub(crate) fn random() -> Self {
        Self::of(SigningKey::random(&mut OsRng))
    }

    /// A key that exists already.
    pub(crate) fn of(key: SigningKey) -> Self {
        let public = public(&key.verifying_key().to_encoded_point(false));
        Self { key, public }
    }

    /// The public part.
    pub(crate) fn public(&self) -> Value {
        self.public.clone()
    }

    /// The key ID by which a CA finds it.
    pub(crate) fn id(&self) -> &str {
        self.public["kid"].as_str().unwrap()
    }

    /// The public half of a machine's key: any key on P-256 can be one.
    pub(crate) fn ssh(&self) -> PublicKey {
        let point = self.key.verifying_key().to_encoded_point(false);
        KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)).into()
    }

    /// The whole key, as an administrator keeps it in a file.
    pub(crate) fn private(&self) -> Value {
        let mut private = self.public();
        private["d"] = encode(&self.key.to_bytes()).into();
        private
    }

    /// The whole key, encrypted, as a CA gives it to everybody who asks. `claimed` is the number of iterations that the
    /// header names.
    pub(crate) fn encrypted(&self, password: &str, iterations: u32, claimed: u64) -> String {
        let mut salt = [0; 16];
        let mut content_key = [0; 32];
        let mut nonce = [0; 12];
        for random in [&mut salt[..], &mut content_key, &mut nonce] {
            OsRng.fill_bytes(random);
        }
        let header = json!({
            "alg": WRAPPING, "cty": "jwk+json", "enc": "A256GCM", "p2c": claimed, "p2s": encode(&salt),
        });
        let header = encode(header.to_string().as_bytes());
        let salted = [WRAPPING.as_bytes(), b"\0", &salt].concat();
        let mut wrapping_key = [0; 16];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salted, iterations, &mut wrapping_key);
        let mut wrapped = [0; 40];
        aes_kw::KekAes128::from(wrapping_key).wrap(&content_key, &mut wrapped).unwrap();
        let mut text = self.private().to_string().into_bytes();
        let cipher = Aes256Gcm::new(&content_key.into());
        let tag = cipher.encrypt_in_place_detached(&nonce.into(), header.as_bytes(), &mut text).unwrap();
        [header, encode(&wrapped), encode(&nonce), encode(&text), encode(&tag)].join(".")
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({ "kid": self.id() }), claims)
    }

    /// A token with these members in its header in addition to the usual ones.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let mut header = header.clone();
        header["alg"] = "ES256".into();
        header["typ"] = "JWT".into();
        let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let signature: Signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", encode(&signature.to_bytes()))
    }
}

/// Encodes bytes as JOSE does everywhere.
pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A line with an SSH public key on P-256, as a JWK.
pub(crate) fn public_of(line: &str) -> Value {
    match PublicKey::from_openssh(line).unwrap().key_data() {
        KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)) => public(point),
        other => panic!("{:?} is not on P-256", other.algorithm()),
    }
}

fn public(point: &EncodedPoint) -> Value {
    let (x, y) = (encode(point.x().unwrap()), encode(point.y().unwrap()));
    // RFC 7638: the members in this order, without blanks.
    let thumbprint = Sha256::digest(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#));
    json!({
        "use": "sig", "kty": "EC", "alg": "ES256", "crv": "P-256", "kid": encode(&thumbprint), "x": x, "y": y,
    })
}
