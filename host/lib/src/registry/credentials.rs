//! Authentication to a registry: with the user and password that podman or docker keep for it, or with a token for
//! which they are exchanged.

use crate::{
    ca::step::http::header::HeaderValue,
    error::{Error, Result},
    text::neutral,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer};
use std::{collections::BTreeMap, fmt};
use zeroize::Zeroizing;

/// A user and a password, as they are sent: encoded in Base64.
#[derive(Clone)]
pub struct Credentials(Zeroizing<String>);

/// How a request to a registry authenticates.
#[derive(Debug)]
pub enum Access {
    /// User and password.
    Basic(Credentials),
    /// A token from the registry's token server.
    Bearer(Credentials),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    /// The helper for all registries.
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
    /// The helpers for single registries.
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

impl File {
    fn parse(bytes: &[u8]) -> Result<Self> {
        // serde would take a JSON array for the fields in their order. The error of serde is dropped, since it may
        // quote a part of the file.
        Some(bytes)
            .filter(|bytes| bytes.trim_ascii_start().starts_with(b"{"))
            .and_then(|bytes| serde_json::from_slice(bytes).ok())
            .ok_or_else(wrong)
    }
}

fn wrong() -> Error {
    Error::failed("the file of credentials for registries cannot be read")
        .cause("it is not JSON of podman's or docker's form")
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default, deserialize_with = "zeroed")]
    auth: Option<Zeroizing<String>>,
}

fn zeroed<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<Zeroizing<String>>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(Zeroizing::new))
}

impl Credentials {
    /// The credentials for a repository in a file of podman or docker, if there are any. Looks for `HOST[:PORT]/NAME`
    /// first, then for each shorter prefix.
    ///
    /// # Errors
    /// It is not such a file.
    pub fn find(file: &[u8], authority: &str, name: &str) -> Result<Option<Self>> {
        let file = File::parse(file)?;
        let whole = format!("{authority}/{name}");
        let above = std::iter::successors(Some(whole.as_str()), |at| at.rsplit_once('/').map(|(above, _)| above));
        for place in above {
            let Some(auth) = file.auths.get(place).and_then(|entry| entry.auth.as_ref()) else { continue };
            let pair = STANDARD.decode(auth.as_bytes()).map(Zeroizing::new).map_err(|_| wrong())?;
            if !pair.contains(&b':') {
                return Err(wrong());
            }
            return Ok(Some(Self(auth.clone())));
        }
        Ok(None)
    }

    /// The program that such a file names as the credential helper for a registry: `docker-credential-NAME`.
    ///
    /// # Errors
    /// It is not such a file, or the helper's name is not valid.
    pub fn helper(file: &[u8], authority: &str) -> Result<Option<String>> {
        let File { store, mut helpers, .. } = File::parse(file)?;
        let Some(name) = helpers.remove(authority).or(store).filter(|name| !name.is_empty()) else { return Ok(None) };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(Error::refused("the file of credentials for registries names a helper with an invalid name")
                .cause(format!("{:?} has other characters than letters, digits and - _ .", neutral(&name))));
        }
        Ok(Some(format!("docker-credential-{name}")))
    }

    /// Parses the output of a credential helper.
    ///
    /// # Errors
    /// The output is not that of a credential helper.
    pub fn of_helper(printed: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct HelperOutput {
            #[serde(deserialize_with = "zeroed")]
            username: Option<Zeroizing<String>>,
            #[serde(deserialize_with = "zeroed")]
            secret: Option<Zeroizing<String>>,
        }
        // The error of serde is dropped, since it may quote a part of the secret.
        let printed: Option<HelperOutput> = serde_json::from_slice(printed).ok();
        let pair = printed.and_then(|printed| printed.username.zip(printed.secret));
        // For this user name a helper returns an identity token for the token server, not a password.
        let pair = pair.filter(|(user, _)| !user.contains(':') && user.as_str() != "<token>");
        let (user, secret) = pair.ok_or_else(|| Error::failed("it gives no user and password"))?;
        let pair = Zeroizing::new(format!("{}:{}", user.as_str(), secret.as_str()));
        Ok(Self(Zeroizing::new(STANDARD.encode(pair.as_bytes()))))
    }

    pub fn header(&self) -> Result<HeaderValue> {
        secret("Basic", &self.0)
    }
}

impl Access {
    pub fn header(&self) -> Result<HeaderValue> {
        match self {
            Self::Basic(credentials) => credentials.header(),
            Self::Bearer(token) => secret("Bearer", &token.0),
        }
    }
}

fn secret(scheme: &str, text: &str) -> Result<HeaderValue> {
    let whole = Zeroizing::new(format!("{scheme} {text}"));
    let mut value = HeaderValue::from_str(&whole)
        .map_err(|_| Error::refused("the token for the registry has characters that no token has"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The token server that a registry names in its challenge.
#[derive(Debug, PartialEq, Eq)]
pub struct Bearer {
    pub realm: String,
    pub service: Option<String>,
}

/// Parses `Bearer realm="…",service="…",scope="…"`; `None` for another challenge. The scope is ignored, since Warded
/// chooses its own.
#[must_use]
pub fn bearer(challenge: &str) -> Option<Bearer> {
    let (scheme, rest) = challenge.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let value = |name: &str| {
        // Values are quoted, so every second piece between quotes is a value.
        let mut pieces = rest.split('"');
        while let (Some(before), Some(value)) = (pieces.next(), pieces.next()) {
            let key = before.trim_matches([',', ' ']).trim_end_matches('=');
            if key.eq_ignore_ascii_case(name) {
                // A value without a closing quote does not count.
                return pieces.next().map(|_| value.to_owned());
            }
        }
        None
    };
    Some(Bearer { realm: value("realm")?, service: value("service") })
}

/// Parses the answer of a token server.
pub fn token(answer: &[u8]) -> Result<Access> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default, deserialize_with = "zeroed")]
        token: Option<Zeroizing<String>>,
        #[serde(default, deserialize_with = "zeroed")]
        access_token: Option<Zeroizing<String>>,
    }
    let wrong = |why: &str| Error::refused("the registry's token server gives no token").cause(neutral(why));
    // The error of serde is dropped, since it may quote a part of the token.
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| wrong("its answer is not JSON with a token"))?;
    let token = answer.token.or(answer.access_token).ok_or_else(|| wrong("its answer has no token"))?;
    Ok(Access::Bearer(Credentials(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_credentials_are_taken() {
        let file = format!(
            r#"{{"auths":{{"r:1":{{"auth":"{}"}},"r:1/a":{{"auth":"{}"}},"other":{{}}}},"credsStore":"x"}}"#,
            STANDARD.encode("u:one"),
            STANDARD.encode("u:two"),
        );
        let find = |authority, name| Credentials::find(file.as_bytes(), authority, name).unwrap();
        for (authority, name, expected) in [
            ("r:1", "b", Some("u:one")),
            ("r:1", "a", Some("u:two")),
            ("r:1", "a/b", Some("u:two")),
            ("r:1", "ab", Some("u:one")),
            ("r", "a", None),
            ("other", "a", None),
        ] {
            let found = find(authority, name).map(|one| one.0.to_string());
            assert_eq!(found, expected.map(|pair| STANDARD.encode(pair)), "{authority}/{name}");
        }
        for wrong in ["", "[]", r#"{"auths":{"r":{"auth":"!"}}}"#, r#"{"auths":{"r":{"auth":"dQ=="}}}"#] {
            Credentials::find(wrong.as_bytes(), "r", "a").unwrap_err();
        }
        assert_eq!(format!("{:?}", find("r:1", "a").unwrap()), "Credentials");
    }

    #[test]
    fn a_helper_is_a_program_by_a_name_of_its_own() {
        let helper = |file: &str| Credentials::helper(file.as_bytes(), "r:1");
        for (file, expected) in [
            ("{}", None),
            (r#"{"credsStore":""}"#, None),
            (r#"{"credHelpers":{"r":"one"}}"#, None),
            (r#"{"credsStore":"all"}"#, Some("docker-credential-all")),
            (r#"{"credsStore":"all","credHelpers":{"r:1":"one"}}"#, Some("docker-credential-one")),
        ] {
            assert_eq!(helper(file).unwrap().as_deref(), expected, "{file}");
        }
        for file in [r#"{"credsStore":"../x"}"#, r#"{"credsStore":"a b"}"#, r#"{"credsStore":"\u001b"}"#, "[]"] {
            helper(file).unwrap_err();
        }
        let given = Credentials::of_helper(br#"{"ServerURL":"r:1","Username":"u","Secret":"one"}"#).unwrap();
        assert_eq!(given.0.as_str(), STANDARD.encode("u:one"));
        for printed in ["", "{}", r#"{"Username":"<token>","Secret":"x"}"#, r#"{"Username":"a:b","Secret":"x"}"#] {
            Credentials::of_helper(printed.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn a_challenge_names_a_token_server() {
        for (challenge, expected) in [
            (r#"Bearer realm="https://a/t",service="s",scope="x""#, Some(("https://a/t", Some("s")))),
            (r#"bearer service="a=b, c" , realm="https://a""#, Some(("https://a", Some("a=b, c")))),
            (r#"Bearer realm="https://a""#, Some(("https://a", None))),
            (r#"Basic realm="x""#, None),
            ("Bearer", None),
            ("Bearer realm=x", None),
            ("Bearer realm=\"x", None),
            ("", None),
        ] {
            let found = bearer(challenge);
            let found = found.as_ref().map(|one| (one.realm.as_str(), one.service.as_deref()));
            assert_eq!(found, expected, "{challenge}");
        }
        assert!(token(br#"{"access_token":"x"}"#).is_ok());
        for wrong in ["", "{}", r#"{"token":1}"#] {
            token(wrong.as_bytes()).unwrap_err();
        }
        token(br#"{"token":"a\nb"}"#).unwrap().header().unwrap_err();
    }
}
