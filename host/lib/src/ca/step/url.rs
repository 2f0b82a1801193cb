//! The address of a CA. Only scheme, host and port count, as for `step`: a path is dropped.

use std::{fmt, str::FromStr};
use url::Url;

/// `https://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaUrl(Url);

impl CaUrl {
    /// An address at the CA; `path` begins with a slash.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{self}{path}")
    }

    /// The host as a TLS certificate names it: a name, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for CaUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl FromStr for CaUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let mut url = Url::parse(&whole).map_err(|error| format!("{text:?} is not an address of a CA: {error}"))?;
        if url.scheme() != "https" {
            return Err(format!("{text:?}: a CA is asked over https only"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an address of a CA has no user and no password".to_owned());
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(format!("{text:?} names no host"));
        }
        url.set_path("");
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self(url))
    }
}

impl TryFrom<String> for CaUrl {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_host_and_port_count() {
        for (text, expected, host) in [
            ("ca.example.org", Ok("https://ca.example.org"), "ca.example.org"),
            ("ca.example.org:9000", Ok("https://ca.example.org:9000"), "ca.example.org"),
            (" https://CA.example.org:443/a/b?c#d ", Ok("https://ca.example.org"), "ca.example.org"),
            ("https://[::1]:8443", Ok("https://[::1]:8443"), "::1"),
            ("127.0.0.1:1", Ok("https://127.0.0.1:1"), "127.0.0.1"),
            ("http://ca.example.org", Err("https only"), ""),
            ("https://me:secret@ca.example.org", Err("no password"), ""),
            ("https://", Err("not an address"), ""),
            ("a b", Err("not an address"), ""),
        ] {
            match (text.parse::<CaUrl>(), expected) {
                (Ok(url), Ok(expected)) => {
                    assert_eq!(url.to_string(), expected, "{text}");
                    assert_eq!(url.host(), host, "{text}");
                    assert_eq!(url.at("/health"), format!("{expected}/health"));
                }
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{text}: {error}"),
                (got, expected) => panic!("{text}: {got:?}, expected {expected:?}"),
            }
        }
    }
}
