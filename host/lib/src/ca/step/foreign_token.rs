//! Checks a token that was made elsewhere before it is used: it can be used only once, and the CA does not say why it
//! refuses one. The signature is left to the CA.

use super::{fingerprint::Fingerprint, token::Token, url::CaUrl};
use crate::{
    ca::IssueRequest,
    text::{self, neutral},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use std::net::IpAddr;
use url::Url;

/// step-ca tolerates clocks that differ by a minute.
const LEEWAY: u64 = 60;

/// The claims of a token.
#[derive(Debug, Deserialize)]
pub struct TokenClaims {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    aud: Audience,
    #[serde(default)]
    nbf: Option<u64>,
    #[serde(default)]
    exp: Option<u64>,
    #[serde(default)]
    sha: Option<String>,
    #[serde(default)]
    step: Option<Step>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Audience {
    #[default]
    None,
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct Step {
    #[serde(default)]
    ssh: Option<Ssh>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ssh {
    #[serde(default)]
    cert_type: String,
    #[serde(default)]
    principals: Vec<String>,
}

impl TokenClaims {
    /// Parses a token's claims.
    ///
    /// # Errors
    /// The text is not a token.
    pub fn read(token: &Token) -> Result<Self, String> {
        let mut parts = token.as_str().split('.');
        let (Some(_), Some(body), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err("this is not a token: a token has three parts with a dot between them".to_owned());
        };
        let body =
            URL_SAFE_NO_PAD.decode(body).map_err(|_| "this is not a token: its claims are not base64url".to_owned())?;
        serde_json::from_slice(&body).map_err(|_| "this is not a token: its claims are not JSON".to_owned())
    }

    /// The token's CA and the fingerprint of its root: enough to establish trust in the CA.
    #[must_use]
    pub fn bootstrap(&self) -> Option<(CaUrl, Fingerprint)> {
        let url = self.audiences().into_iter().find_map(|audience| audience.parse().ok())?;
        Some((url, self.sha.as_deref()?.parse().ok()?))
    }

    /// The names for which the token gets a certificate, neutralised.
    #[must_use]
    pub fn principals(&self) -> Vec<String> {
        let named = self.step.as_ref().and_then(|step| step.ssh.as_ref()).map(|ssh| &ssh.principals);
        // Without names, the token is for its subject.
        let named = named.filter(|named| !named.is_empty());
        named.map_or_else(|| vec![neutral(&self.sub)], |named| named.iter().map(|name| neutral(name)).collect())
    }

    /// How long ago the token expired; `None`: it is still valid.
    #[must_use]
    pub fn expired(&self, now: u64) -> Option<String> {
        let exp = self.exp.filter(|exp| exp.saturating_add(LEEWAY) < now)?;
        Some(minutes(now - exp))
    }

    /// The provisioner that the token names, neutralised.
    #[must_use]
    pub fn provisioner(&self) -> String {
        neutral(&self.iss)
    }

    /// Why the token will not get the requested certificate; `None` if no reason can be seen. `names`: the CA's own
    /// names, if they are known.
    #[must_use]
    pub fn problem(
        &self,
        request: &IssueRequest,
        root: &Fingerprint,
        names: Option<&[String]>,
        now: u64,
    ) -> Option<String> {
        if let Some(ago) = self.expired(now) {
            return Some(format!("this token expired {ago} ago"));
        }
        if let Some(nbf) = self.nbf.filter(|nbf| *nbf > now.saturating_add(LEEWAY)) {
            return Some(format!("this token can be used only in {}", minutes(nbf - now)));
        }
        if let Some(sha) = self.sha.as_ref().filter(|sha| sha.parse() != Ok(*root)) {
            return Some(format!("this token is for a CA with the root {}; this CA has {root}", neutral(sha)));
        }
        let audiences = self.audiences();
        if let Some(audience) = audiences.iter().find(|audience| {
            Url::parse(audience)
                .is_ok_and(|url| !matches!(url.path(), "/1.0/ssh/sign" | "/ssh/sign" | "/1.0/sign" | "/sign"))
        }) {
            return Some(format!("this token is for another request, {}", neutral(audience)));
        }
        let hosts: Vec<String> =
            audiences.iter().filter_map(|audience| Some(audience.parse::<CaUrl>().ok()?.host().to_owned())).collect();
        if let Some(names) = names
            && !hosts.is_empty()
            && !hosts.iter().any(|host| names.iter().any(|name| is_same_host(name, host)))
        {
            let (hosts, names) = (hosts.join(", "), super::diagnosis::name_some(names));
            return Some(format!(
                "this token is for the CA {hosts}, and this CA is called {names} (the names have to be equal)"
            ));
        }
        // An ID token of single sign-on contains no claims about certificates.
        let Some(ssh) = self.step.as_ref().and_then(|step| step.ssh.as_ref()) else {
            return Some("this token is not for an SSH certificate: `step ca token` needs --ssh --host".to_owned());
        };
        let wanted = super::api::kind_name(request.kind);
        // Without a type, the token is for a user certificate (`jwk.go`, AuthorizeSSHSign).
        let says = if ssh.cert_type.is_empty() { "user" } else { &ssh.cert_type };
        if says != wanted {
            return Some(format!("this token is for a {} certificate", neutral(says)));
        }
        // Without names, it is for its subject.
        let subject = std::slice::from_ref(&self.sub);
        let principals = if ssh.principals.is_empty() { subject } else { ssh.principals.as_slice() };
        // The CA ignores case when it compares names, but then certifies them in the token's spelling.
        let missing = request.principals.iter().find(|name| !principals.iter().any(|held| held == name.as_str()));
        if let Some(missing) = missing {
            return Some(format!("this token is for {}; {missing} is needed", neutral(&text::list(principals))));
        }
        let extra = principals.iter().find(|name| !request.principals.contains(name));
        extra.map(|extra| format!("this token is also for {}, which was not asked for", neutral(extra)))
    }

    fn audiences(&self) -> Vec<String> {
        match &self.aud {
            Audience::None => Vec::new(),
            Audience::One(audience) => vec![audience.clone()],
            Audience::Several(audiences) => audiences.clone(),
        }
    }
}

/// step-ca compares names letter by letter, and addresses by value.
fn is_same_host(name: &str, host: &str) -> bool {
    let address = |text: &str| text.parse::<IpAddr>();
    name == host || matches!((address(name), address(host)), (Ok(one), Ok(other)) if one == other)
}

fn minutes(seconds: u64) -> String {
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::{Kind, Principals};
    use serde_json::{Value, json};

    fn token(claims: &Value) -> Token {
        Token::given(&format!("e30.{}.c2ln\n", URL_SAFE_NO_PAD.encode(claims.to_string())))
    }

    #[test]
    fn what_will_be_refused_is_seen_beforehand() {
        let key = ssh_key::PublicKey::from_openssh(
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti",
        )
        .unwrap();
        let principals = Principals::parse(Kind::Host, ["web1", "web2"]).unwrap();
        let request = IssueRequest { kind: Kind::Host, key, principals, key_id: "web1".to_owned() };
        let root = Fingerprint::of(b"root");
        let good = json!({
            "iss": "admin", "aud": "https://ca.example.org:9000/1.0/ssh/sign", "nbf": 1000, "exp": 1300,
            "sha": root.to_string(), "step": {"ssh": {"certType": "host", "principals": ["web2", "web1"]}},
        });
        let names = ["ca.example.org".to_owned(), "127.0.0.1".to_owned()];
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        let ssh = |value: Value| with("step", json!({"ssh": value}));
        let names_of = |list: &[&str]| ssh(json!({"certType": "host", "principals": list}));
        for (claims, now, expected) in [
            (good.clone(), 1000, None),
            (good.clone(), 940, None),
            (good.clone(), 1360, None),
            (good.clone(), 939, Some("only in 61 s")),
            (good.clone(), 1361, Some("expired 61 s ago")),
            (good.clone(), 5000, Some("expired 61 min ago")),
            (with("sha", json!("00")), 1000, Some("root 00")),
            (
                with("aud", json!("https://other/1.0/ssh/sign")),
                1000,
                Some("this CA is called ca.example.org, 127.0.0.1"),
            ),
            (with("aud", json!(["https://x", "https://127.0.0.1/ssh/sign"])), 1000, Some("another request")),
            (with("aud", json!(["https://127.0.0.1/ssh/sign"])), 1000, None),
            (with("aud", json!("https://ca.example.org/1.0/ssh/revoke")), 1000, Some("another request")),
            (with("step", Value::Null), 1000, Some("--ssh --host")),
            (ssh(json!({"principals": ["web1", "web2"]})), 1000, Some("user certificate")),
            (ssh(json!({"certType": "user", "principals": ["web1", "web2"]})), 1000, Some("user certificate")),
            (names_of(&["web1", "Web2"]), 1000, Some("; web2 is needed")),
            (names_of(&["web1"]), 1000, Some("; web2 is needed")),
            (names_of(&["web1", "web2", "bad\u{1b}"]), 1000, Some("also for bad\\u{1b}")),
        ] {
            let given = TokenClaims::read(&token(&claims)).unwrap();
            let problem = given.problem(&request, &root, Some(&names), now);
            match (&problem, expected) {
                (None, None) => {}
                (Some(problem), Some(expected)) => assert!(problem.contains(expected), "{claims}: {problem}"),
                _ => panic!("{claims} at {now}: {problem:?}, expected {expected:?}"),
            }
        }
        // Case matters, and the CA's names may be many, or unknown.
        let many: Vec<String> = (0..40).map(|number| format!("n{number}.lab.test")).collect();
        let of = |host: &str| {
            TokenClaims::read(&token(&with("aud", json!(format!("https://{host}/1.0/ssh/sign"))))).unwrap()
        };
        for (host, names, fits) in [
            ("n39.lab.test:9000", Some(&many[..]), true),
            ("N39.lab.test:9000", Some(&many[..]), false),
            ("CA.Lab.Test", Some(&["CA.Lab.Test".to_owned()][..]), true),
            ("[::1]:9000", Some(&["0:0::1".to_owned()][..]), true),
            ("ca.lab.test", None, true),
        ] {
            assert_eq!(of(host).problem(&request, &root, names, 1000).is_none(), fits, "{host}");
        }
        let (url, sha) = TokenClaims::read(&token(&good)).unwrap().bootstrap().unwrap();
        assert_eq!((url.to_string().as_str(), sha), ("https://ca.example.org:9000", root));
    }

    #[test]
    fn what_is_no_token_is_said_to_be_none() {
        for (text, why) in
            [("", "three parts"), ("a.b.c.d", "three parts"), ("a.!.c", "base64url"), ("a.e30x.c", "JSON")]
        {
            let error = TokenClaims::read(&Token::given(text)).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
