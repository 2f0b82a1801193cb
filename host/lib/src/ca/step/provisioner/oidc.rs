//! The public settings of an OIDC provisioner, which describe its single sign-on (step-ca 0.30,
//! `authority/provisioner/oidc.go`).

use super::{Provisioner, Type};
use serde::Deserialize;

/// The end of the path of a provider's configuration document.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// A single sign-on, as configured on the CA.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Oidc {
    /// The CA's client ID at the provider.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// Not a secret despite its name: every client of the CA gets it. Empty for public clients.
    #[serde(default, rename = "clientSecret")]
    pub client_secret: String,
    #[serde(rename = "configurationEndpoint")]
    configuration_endpoint: String,
    /// The listener's address during a login, if the provider allows only one redirect URI: `:10000`, `HOST:PORT`.
    #[serde(default, rename = "listenAddress")]
    pub listen_address: String,
    /// The scopes to request from the provider; empty: `openid email`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The addresses or groups of those who may request any certificate.
    #[serde(default)]
    pub admins: Vec<String>,
    /// The allowed domains of e-mail addresses; empty: all.
    #[serde(default)]
    pub domains: Vec<String>,
    /// The allowed groups; empty: all.
    #[serde(default)]
    pub groups: Vec<String>,
}

impl Oidc {
    /// The URL of the provider's configuration document.
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
    /// The single sign-on, if this is an OIDC provisioner.
    ///
    /// # Errors
    /// It is one, but its settings cannot be parsed.
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
