//! The provisioners of a CA: who may ask it for certificates, and how.

use super::super::{jwk::Jwk, x509::Authority};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

/// The password that encrypts every JWK provisioner's key.
pub(crate) const PASSWORD: &str = "open sesame, says Ali";

/// One entry of a CA's configuration.
#[derive(Clone, Debug)]
pub(crate) struct Provisioner {
    pub(crate) name: String,
    kind: Kind,
    claims: Map<String, Value>,
    more: Value,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Jwk,
    Sshpop,
    X5c,
    Acme,
    Unreachable,
    Oidc,
}

impl Provisioner {
    /// For clients that have the key, or the password of its encrypted form.
    pub(crate) fn jwk(name: &str) -> Self {
        Self::new(name, Kind::Jwk)
    }

    /// For clients that have a certificate already.
    pub(crate) fn sshpop(name: &str) -> Self {
        Self::new(name, Kind::Sshpop)
    }

    /// For clients that have an X.509 certificate of another authority.
    pub(crate) fn x5c(name: &str) -> Self {
        Self::new(name, Kind::X5c)
    }

    /// For TLS only.
    pub(crate) fn acme(name: &str) -> Self {
        Self::new(name, Kind::Acme)
    }

    /// An OpenID Connect provisioner whose issuer the CA cannot reach: it stays uninitialised.
    pub(crate) fn unreachable(name: &str) -> Self {
        Self::new(name, Kind::Unreachable)
    }

    /// An OpenID Connect provisioner with this issuer and client; `more` is added to its entry.
    pub(crate) fn oidc(name: &str, issuer: &str, client: &str, more: &Value) -> Self {
        let mut provisioner = Self::new(name, Kind::Oidc);
        let endpoint = format!("{issuer}/.well-known/openid-configuration");
        provisioner.more = json!({ "clientID": client, "clientSecret": "", "configurationEndpoint": endpoint });
        for (name, value) in more.as_object().unwrap() {
            provisioner.more[name] = value.clone();
        }
        provisioner
    }

    /// An OpenID Connect provisioner from this entry of a ca.json.
    pub(crate) fn entry(entry: &Value) -> Self {
        let mut provisioner = Self::new(entry["name"].as_str().unwrap(), Kind::Oidc);
        assert_eq!(entry["type"], "OIDC");
        provisioner.more = entry.clone();
        provisioner
    }

    fn new(name: &str, kind: Kind) -> Self {
        let claims = Map::from_iter([("enableSSHCA".to_owned(), true.into())]);
        Self { name: name.to_owned(), kind, claims, more: json!({}) }
    }

    /// Sets a claim that differs from the CA's default.
    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the default duration of host certificates; the minimum is five seconds.
    pub(crate) fn lasting(self, time: &str) -> Self {
        self.claim("minHostSSHCertDuration", "5s").claim("defaultHostSSHCertDuration", time)
    }

    /// Its entry in the CA's configuration, and its key, if it has one.
    pub(super) fn configured(&self, iterations: u32, others: &Authority) -> (Value, Option<Jwk>) {
        let mut entry = json!({ "name": self.name, "claims": self.claims });
        for (name, value) in self.more.as_object().unwrap() {
            entry[name] = value.clone();
        }
        let mut key = None;
        entry["type"] = match self.kind {
            Kind::Jwk => {
                let jwk = Jwk::random();
                entry["key"] = jwk.public();
                entry["encryptedKey"] = jwk.encrypted(PASSWORD, iterations, iterations.into()).into();
                key = Some(jwk);
                "JWK"
            }
            Kind::Sshpop => "SSHPOP",
            Kind::X5c => {
                entry["roots"] = BASE64_STANDARD.encode(others.root()).into();
                "X5C"
            }
            Kind::Acme => "ACME",
            Kind::Oidc => "OIDC",
            Kind::Unreachable => {
                entry["clientID"] = "nobody".into();
                // Nothing listens on this port.
                entry["configurationEndpoint"] = "https://127.0.0.1:1/.well-known/openid-configuration".into();
                "OIDC"
            }
        }
        .into();
        (entry, key)
    }
}
