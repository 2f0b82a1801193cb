//! Interprets an ID token as a CA does, to learn who the person is. The signature is left to the CA and, if Warded
//! requested the token, to `sso`.

use super::{diagnosis::Finding, provisioner::Oidc, token::Token};
use crate::moment::distance;
use crate::text::neutral;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::time::Duration;

/// step-ca tolerates clocks that differ by a minute.
const LEEWAY: u64 = 60;

/// An ID token. The CA issues one certificate for it, to any client that presents it.
#[derive(Debug)]
pub struct IdToken {
    token: Token,
    claims: Claims,
}

#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(default)]
    iss: String,
    #[serde(default, deserialize_with = "listed")]
    aud: Vec<String>,
    #[serde(default)]
    azp: Option<String>,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    email: Option<Value>,
    #[serde(default)]
    email_verified: Option<Value>,
    #[serde(default)]
    groups: Option<Value>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

/// Deserializes a list of strings, or a single one.
fn listed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Array(values) => values.into_iter().filter_map(text).collect(),
        Value::String(text) => vec![text],
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    })
}

fn text(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

impl IdToken {
    /// Parses an ID token from a provider.
    ///
    /// # Errors
    /// The text is not an ID token.
    pub fn read(text: &str) -> Result<Self, String> {
        let token = Token::given(text);
        let mut parts = token.as_str().split('.');
        let (Some(_), Some(body), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err("an ID token has three parts with a dot between them".to_owned());
        };
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| "its claims are not base64url".to_owned())?;
        let claims: Claims =
            serde_json::from_slice(&body).map_err(|_| "its claims do not have the expected form".to_owned())?;
        if claims.rest.contains_key("step") || claims.iss.is_empty() {
            return Err(
                "it does not come from a single sign-on: its issuer is missing, or it is a one-time token of the CA \
                 (use --token-file for that)"
                    .to_owned(),
            );
        }
        Ok(Self { token, claims })
    }

    /// The token to send to the CA.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The e-mail address, from which the CA makes the principals.
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        self.claims.email.as_ref()?.as_str().filter(|email| !email.is_empty())
    }

    /// Whether the provider says that the address is not verified; many providers say nothing about it.
    #[must_use]
    pub fn is_unverified(&self) -> bool {
        match &self.claims.email_verified {
            Some(Value::Bool(is_verified)) => !is_verified,
            Some(Value::String(text)) => text.eq_ignore_ascii_case("false"),
            Some(Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_)) | None => false,
        }
    }

    /// Whether another client requested the token: `azp` names another one or, without `azp`, the audience contains
    /// others.
    #[must_use]
    pub fn is_of_another_client(&self, client: &str) -> bool {
        let Claims { aud, azp, .. } = &self.claims;
        let is_for_others = aud.iter().any(|audience| audience != client);
        azp.as_deref().map_or(is_for_others, |azp| azp != client)
    }

    /// Whether the issuer is a URL, so that a provider made the token: in a CA's own tokens the issuer is a
    /// provisioner.
    #[must_use]
    pub fn is_of_provider(&self) -> bool {
        self.claims.iss.starts_with("https://") || self.claims.iss.starts_with("http://")
    }

    /// The clients in the token's audience, neutralised.
    #[must_use]
    pub fn clients(&self) -> String {
        neutral(&self.claims.aud.join(", "))
    }

    /// Whether this client is in the token's audience.
    #[must_use]
    pub fn is_for(&self, client: &str) -> bool {
        self.claims.aud.iter().any(|audience| audience == client)
    }

    /// For how many more seconds the token is valid. `now`: by the CA's clock.
    #[must_use]
    pub fn left(&self, now: u64) -> Option<u64> {
        Some(seconds(self.claims.exp?).saturating_sub(now))
    }

    /// Why the CA does not certify machines for this person, with what to do; `None` if it does.
    #[must_use]
    pub fn no_admin(&self, oidc: &Oidc, provisioner: &str) -> Option<(String, String)> {
        if self.is_admins(oidc) {
            return None;
        }
        let who = self.email().map_or_else(|| "this person".to_owned(), neutral);
        Some((
            format!(
                "{who} is no admin of the CA's provisioner {provisioner}, and the CA certifies machines only for admins"
            ),
            format!(
                "on the CA, put the address, or a group of the ID token, into \"admins\" of the provisioner {provisioner} in \
                 ca.json and restart it; or use another provisioner"
            ),
        ))
    }

    /// Whether the CA lets this person request any certificate (`oidc.go`, IsAdmin, IsAdminGroup).
    fn is_admins(&self, oidc: &Oidc) -> bool {
        let groups = match &self.claims.groups {
            Some(Value::Array(groups)) => groups.as_slice(),
            Some(_) | None => &[],
        };
        self.has_admins_email(oidc)
            || groups.iter().filter_map(Value::as_str).any(|group| oidc.admins.iter().any(|admin| admin == group))
    }

    /// step-ca ignores case only in the domain (`oidc.go`, sanitizeEmail).
    fn has_admins_email(&self, oidc: &Oidc) -> bool {
        let compared = |email: &str| match email.rsplit_once('@') {
            Some((local, domain)) => format!("{local}@{}", domain.to_lowercase()),
            None => email.to_owned(),
        };
        self.email().is_some_and(|email| oidc.admins.iter().any(|admin| compared(admin) == compared(email)))
    }

    /// The cause and the advice for an ID token without an e-mail address.
    #[must_use]
    pub fn without_email(&self, oidc: &Oidc) -> (String, String) {
        let others: Vec<String> = ["preferred_username", "upn", "name", "sub"]
            .into_iter()
            .filter(|claim| self.claims.rest.contains_key(*claim))
            .map(str::to_owned)
            .collect();
        let there = if others.is_empty() { String::new() } else { format!(" (it has {})", others.join(", ")) };
        (
            format!(
                "the ID token of {} has no claim \"email\"{there}, from which the CA makes the principals",
                neutral(&self.claims.iss)
            ),
            give_claim(oidc, "email", "email = mail"),
        )
    }

    /// Why the CA will refuse the token, or has refused it; `None` if no reason can be seen. `now`: by the CA's clock.
    #[must_use]
    pub fn problem(&self, oidc: &Oidc, provisioner: &str, now: u64) -> Option<Finding> {
        let on_ca = |what: &str| {
            format!(
                "on the CA, change {what} of the provisioner {provisioner} in ca.json and restart it, or sign in as another person"
            )
        };
        let Claims { aud, azp, nbf, iat, exp, email_verified, groups, .. } = &self.claims;
        let client = oidc.client_id.as_str();
        if !aud.iter().any(|audience| audience == client) || azp.as_deref().is_some_and(|azp| azp != client) {
            let named: Vec<String> = aud.iter().chain(azp).map(|name| neutral(name)).collect();
            return Some(Finding::certain(
                format!("the ID token is for the client {}, and the CA's is {}", named.join(", "), neutral(client)),
                "sign in with the CA's client: warded login",
            ));
        }
        if let Some(ago) = exp.and_then(|exp| past(exp, now)) {
            return Some(Finding::certain(format!("the ID token expired {ago} ago"), "get a new one: warded login"));
        }
        if let Some(ahead) = [nbf, iat].into_iter().flatten().find_map(|time| future(*time, now)) {
            return Some(Finding::certain(
                format!("the ID token becomes valid only in {ahead}: the provider's clock is ahead of the CA's"),
                "set the provider's clock, or the CA's if that is the wrong one",
            ));
        }
        // step-ca expects these two claims to have certain types, and rejects a token in which they do not (`oidc.go`,
        // openIDPayload).
        let odd = match (groups, email_verified) {
            (Some(Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Object(_)), _) => {
                Some(("groups", "a list"))
            }
            (_, Some(Value::String(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
                Some(("email_verified", "true or false, without quotes"))
            }
            _ => None,
        };
        if let Some((claim, wanted)) = odd {
            return Some(Finding::certain(
                format!("the claim {claim:?} of the ID token is not {wanted}, and the CA takes nothing else"),
                format!("at the provider, have the ID tokens of the client {} carry it as {wanted}", neutral(client)),
            ));
        }
        let groups: Vec<String> = match groups {
            Some(Value::Array(groups)) => groups.iter().cloned().filter_map(text).collect(),
            Some(_) | None => Vec::new(),
        };
        let email = self.email();
        if !oidc.domains.is_empty() && !self.has_admins_email(oidc) {
            let Some(email) = email else {
                let (cause, next) = self.without_email(oidc);
                return Some(Finding::certain(cause, next));
            };
            let domain = email.rsplit_once('@').map_or("", |(_, domain)| domain);
            if !oidc.domains.iter().any(|allowed| allowed.eq_ignore_ascii_case(domain)) {
                return Some(Finding::certain(
                    format!(
                        "the address {:?} is of none of the domains that the CA allows: {}",
                        neutral(email),
                        neutral(&oidc.domains.join(", "))
                    ),
                    on_ca("\"domains\""),
                ));
            }
        }
        if !oidc.groups.is_empty() && !groups.iter().any(|group| oidc.groups.contains(group)) {
            let allowed = neutral(&oidc.groups.join(", "));
            if groups.is_empty() {
                return Some(Finding::certain(
                    format!("the ID token has no claim \"groups\", and the CA allows only the groups {allowed}"),
                    give_claim(oidc, "groups", "groups = groups"),
                ));
            }
            let held = neutral(&groups.join(", "));
            return Some(Finding::certain(
                format!("the person is in the groups {held}, and the CA allows only {allowed}"),
                on_ca("\"groups\""),
            ));
        }
        None
    }
}

/// How to make a provider include a claim in its ID tokens.
fn give_claim(oidc: &Oidc, claim: &str, exported: &str) -> String {
    let scopes = if oidc.scopes.is_empty() || oidc.scopes.iter().any(|scope| scope == claim) || claim == "groups" {
        String::new()
    } else {
        format!("; and on the CA, put {claim:?} into \"scopes\" of the provisioner")
    };
    format!(
        "at the provider, have the ID tokens of the client {} carry the claim {claim:?} (LemonLDAP::NG: in the relying party, \
         the exported attribute {exported}, and the option \"Force claims to be returned in ID Token\"){scopes}",
        neutral(&oidc.client_id)
    )
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "floats have no other conversion; it saturates"
)]
fn seconds(time: f64) -> u64 {
    time as u64
}

fn past(time: f64, now: u64) -> Option<String> {
    let time = seconds(time);
    (time.saturating_add(LEEWAY) < now).then(|| distance(Duration::from_secs(now - time)))
}

fn future(time: f64, now: u64) -> Option<String> {
    let time = seconds(time);
    (time > now.saturating_add(LEEWAY)).then(|| distance(Duration::from_secs(time - now)))
}

#[cfg(test)]
mod tests;
