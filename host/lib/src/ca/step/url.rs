//! The address of a CA. As with `step`, only scheme, host and port matter: a path is dropped.

use std::{fmt, str::FromStr};
use url::{Host, Url};

/// `https://HOST[:PORT]`. The host keeps its original spelling: step-ca compares a token's audience letter by letter
/// with its "dnsNames".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaUrl {
    url: Url,
    host: String,
}

impl CaUrl {
    /// A URL at the CA; `path` begins with a slash.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{self}{path}")
    }

    /// The host as in a TLS certificate: a name, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The same address with the host in the spelling of `names`, if one of them differs from it only in case.
    #[must_use]
    pub fn spelled_as(&self, names: &[String]) -> Self {
        let bare = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
        let same = names.iter().find(|name| bare(name) == bare(&self.host));
        Self { url: self.url.clone(), host: same.unwrap_or(&self.host).clone() }
    }

    /// The address in lower case, so that two spellings of an address are equal.
    #[must_use]
    pub fn canonical(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }
}

impl fmt::Display for CaUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self.url.host(), Some(Host::Ipv6(_))) {
            write!(f, "https://[{}]", self.host)?;
        } else {
            write!(f, "https://{}", self.host)?;
        }
        self.url.port().map_or(Ok(()), |port| write!(f, ":{port}"))
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
        let parsed = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        if parsed.is_empty() {
            return Err(format!("{text:?} names no host"));
        }
        url.set_path("");
        url.set_query(None);
        url.set_fragment(None);
        let (_, rest) = whole.split_once("://").unwrap_or_default();
        let written = rest.get(..parsed.len()).filter(|written| written.eq_ignore_ascii_case(&parsed));
        Ok(Self { url, host: written.unwrap_or(&parsed).to_owned() })
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
            (" https://CA.example.org:443/a/b?c#d ", Ok("https://CA.example.org"), "CA.example.org"),
            ("HTTPS://CA.Example.Org:9000", Ok("https://CA.Example.Org:9000"), "CA.Example.Org"),
            ("CA", Ok("https://CA"), "CA"),
            ("https://B\u{fc}cher.example", Ok("https://xn--bcher-kva.example"), "xn--bcher-kva.example"),
            ("https://127.1:9000", Ok("https://127.0.0.1:9000"), "127.0.0.1"),
            ("https://[::1]", Ok("https://[::1]"), "::1"),
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

    #[test]
    fn letters_are_those_of_the_certificate() {
        let names = ["localhost", "CA.Lab.Test", "127.0.0.1"].map(str::to_owned);
        for (text, expected) in [
            ("ca.lab.test:9000", "https://CA.Lab.Test:9000"),
            ("CA.LAB.TEST.:9000", "https://CA.Lab.Test:9000"),
            ("Other.Lab.Test", "https://Other.Lab.Test"),
            ("127.0.0.1", "https://127.0.0.1"),
        ] {
            let url: CaUrl = text.parse().unwrap();
            assert_eq!(url.spelled_as(&names).to_string(), expected);
            assert_eq!(url.canonical(), url.to_string().to_lowercase(), "one machine's identity of a CA");
        }
    }
}
