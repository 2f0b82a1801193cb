//! What a provisioner of the type OIDC says of its single sign-on, to anybody who asks (step-ca 0.30,
//! `authority/provisioner/oidc.go`).

use super::{Provisioner, Type};
use serde::Deserialize;

/// How the path of a provider's configuration ends.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// A single sign-on, as the CA knows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Oidc {
    /// What the provider calls the CA.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// No secret, although it is called so: every client has it. Public clients have none.
    #[serde(default, rename = "clientSecret")]
    pub client_secret: String,
    #[serde(rename = "configurationEndpoint")]
    configuration_endpoint: String,
    /// Where a login listens for the browser, where the provider allows one address alone: `:10000`, `HOST:PORT`.
    #[serde(default, rename = "listenAddress")]
    pub listen_address: String,
    /// What is asked of the provider; empty: `openid email`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Who may ask for any certificate: addresses, or groups.
    #[serde(default)]
    pub admins: Vec<String>,
    /// The only domains of addresses, if there are any.
    #[serde(default)]
    pub domains: Vec<String>,
    /// The only groups, if there are any.
    #[serde(default)]
    pub groups: Vec<String>,
}

impl Oidc {
    /// Where the provider's configuration is.
    #[must_use]
    pub fn configuration(&self) -> String {
        let configured = &self.configuration_endpoint;
        if configured.contains("/.well-known/") {
            configured.clone()
        } else {
            format!("{}{WELL_KNOWN}", configured.trim_end_matches('/'))
        }
    }
}

impl Provisioner {
    /// Its single sign-on, if it is one.
    ///
    /// # Errors
    /// It is one, and cannot be understood.
    #[must_use]
    pub fn oidc(&self) -> Option<Result<Oidc, String>> {
        let read =
            || serde_json::from_value(self.rest.clone().into()).map_err(|error: serde_json::Error| error.to_string());
        (self.of_type() == Type::Oidc).then(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_single_sign_on_is_read_from_the_list() {
        let listed = json!({
            "type": "OIDC", "name": "sso", "clientID": "step-cli", "clientSecret": "", "listenAddress": ":10000",
            "configurationEndpoint": "https://auth.test/.well-known/openid-configuration",
            "domains": ["lab.test"], "claims": {"enableSSHCA": true}, "options": {"x509": {}, "ssh": {}},
        });
        let read = |value: serde_json::Value| serde_json::from_value::<Provisioner>(value).unwrap().oidc();
        let found = read(listed.clone()).unwrap().unwrap();
        assert_eq!((found.client_id.as_str(), found.listen_address.as_str()), ("step-cli", ":10000"));
        assert_eq!((found.domains.as_slice(), found.groups.len()), (&["lab.test".to_owned()][..], 0));
        for (endpoint, expected) in [
            ("https://a/.well-known/openid-configuration", "https://a/.well-known/openid-configuration"),
            ("https://a/realms/x", "https://a/realms/x/.well-known/openid-configuration"),
            ("https://a/", "https://a/.well-known/openid-configuration"),
        ] {
            let mut listed = listed.clone();
            listed["configurationEndpoint"] = endpoint.into();
            assert_eq!(read(listed).unwrap().unwrap().configuration(), expected);
        }
        assert!(read(json!({"type": "OIDC", "name": "broken"})).unwrap().unwrap_err().contains("clientID"));
        assert!(read(json!({"type": "JWK", "name": "admin", "groups": 1})).is_none());
    }
}
