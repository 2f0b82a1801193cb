//! The operator's settings for a step-ca: its address, and how this machine identifies itself to it.

use super::{fingerprint::Fingerprint, url::CaUrl};
use crate::machine::path::AbsolutePath;
use serde::Deserialize;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The table `[step-ca]` of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The CA's address.
    #[serde(deserialize_with = "parsed")]
    pub url: CaUrl,
    /// The fingerprint of the CA's root.
    #[serde(deserialize_with = "parsed")]
    pub fingerprint: Fingerprint,
    /// The file of the root certificate, in PEM.
    pub root: AbsolutePath,
    /// The provisioner for new certificates.
    #[serde(default)]
    pub provisioner: Option<String>,
    /// The SSHPOP provisioner for renewals; without it, the CA's list has to be fetched first.
    #[serde(default)]
    pub renewal_provisioner: Option<String>,
    #[serde(default)]
    pub provisioner_password_file: Option<AbsolutePath>,
    /// The file with the provisioner's private key: a JWK, encrypted or not, or PEM.
    #[serde(default)]
    pub provisioner_key_file: Option<AbsolutePath>,
    /// The file with this machine's X.509 certificate and its chain, in PEM.
    #[serde(default)]
    pub x5c_certificate: Option<AbsolutePath>,
    /// The file with its private key, in PEM.
    #[serde(default)]
    pub x5c_key: Option<AbsolutePath>,
    /// The proxy for connections to the CA, as `http://HOST:PORT`; proxies in the environment are ignored.
    #[serde(default)]
    pub proxy: Option<String>,
}

impl Settings {
    /// Settings with only an address and a root.
    #[must_use]
    pub fn new(url: CaUrl, fingerprint: Fingerprint, root: AbsolutePath) -> Self {
        Self {
            url,
            fingerprint,
            root,
            provisioner: None,
            renewal_provisioner: None,
            provisioner_password_file: None,
            provisioner_key_file: None,
            x5c_certificate: None,
            x5c_key: None,
            proxy: None,
        }
    }

    /// The files that the settings name: no procedure may touch them.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        [
            Some(&self.root),
            self.provisioner_password_file.as_ref(),
            self.provisioner_key_file.as_ref(),
            self.x5c_certificate.as_ref(),
            self.x5c_key.as_ref(),
        ]
        .into_iter()
        .flatten()
        .map(|path| path.as_path().to_owned())
    }
}

fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err = String>,
{
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// Asks the person at the terminal for the password of a provisioner.
pub type AskPassword = fn(provisioner: &str) -> std::io::Result<Zeroizing<String>>;

/// How this machine, or this person, identifies itself to the CA for one command. Takes precedence over the
/// configuration.
#[derive(Clone, Debug, Default)]
pub struct Identification {
    /// The provisioner to use, if several are suitable.
    pub provisioner: Option<String>,
    pub provisioner_password_file: Option<PathBuf>,
    /// File of the provisioner's private key (JWK or PEM), instead of a password.
    pub provisioner_key_file: Option<PathBuf>,
    /// File of one-time tokens, one a line; `-` is standard input.
    pub token_file: Option<PathBuf>,
    /// X.509 certificate of this machine, with its chain (PEM).
    pub x5c_cert: Option<PathBuf>,
    /// The private key of that certificate (PEM).
    pub x5c_key: Option<PathBuf>,
    /// How to ask a person; `None` if there is no terminal.
    pub ask_password: Option<AskPassword>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_strictly() {
        let good = "url = 'ca.example.org'\nroot = '/etc/warded/root_ca.crt'\nfingerprint = '";
        let fingerprint =
            "2F:47:ac:d7:e0:f3:e3:c1:a2:5b:06:cc:5a:1a:8e:43:e1:d1:d2:a8:c6:c7:0a:2d:7b:8d:3a:7a:57:c1:31:53";
        let settings: Settings = toml::from_str(&format!("{good}{fingerprint}'")).unwrap();
        assert_eq!(settings.url.to_string(), "https://ca.example.org");
        for (text, why) in [
            (format!("{good}{fingerprint}'\ncolour = 1"), "unknown field"),
            (format!("{good}00'"), "64 hexadecimal digits"),
            (format!("{good}{fingerprint}'").replace("'ca.", "'http://ca."), "https only"),
            (format!("{good}{fingerprint}'").replace("'/etc", "'etc"), "absolute"),
        ] {
            let error = toml::from_str::<Settings>(&text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
