//! A provider of single sign-on, and the requests to it.

mod device;

pub use device::Device;

use super::Fault;
use crate::{
    ca::step::{
        http::{Problem, Request, Web, is_safe},
        identity::IdToken,
        provisioner::Oidc,
    },
    moment::distance,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::{
    AdditionalProviderMetadata, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret,
    CsrfToken, DeviceAuthorizationUrl, DiscoveryError, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, JsonWebKeySet, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier,
    ProviderMetadata, RedirectUrl, RequestTokenError, Scope, StandardErrorResponse, TokenResponse as _, TokenUrl,
    core::{
        CoreAuthDisplay, CoreAuthenticationFlow, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod,
        CoreErrorResponseType, CoreGrantType, CoreIdToken, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
        CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm as Algorithm, CoreResponseMode, CoreResponseType,
        CoreSubjectIdentifierType, CoreTokenResponse,
    },
};
use serde::{Deserialize, Serialize};
use ssh_key::rand_core::{OsRng, RngCore as _};
use std::time::Duration;
use url::Url;

/// The end of the path of a provider's configuration document.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// Asymmetric signatures: everybody can verify them, and only the provider can make them.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RsaSsaPkcs1V15Sha256,
    Algorithm::RsaSsaPkcs1V15Sha384,
    Algorithm::RsaSsaPkcs1V15Sha512,
    Algorithm::RsaSsaPssSha256,
    Algorithm::RsaSsaPssSha384,
    Algorithm::RsaSsaPssSha512,
    Algorithm::EcdsaP256Sha256,
    Algorithm::EcdsaP384Sha384,
    Algorithm::EdDsa,
];

/// Metadata fields that only some providers publish.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct ExtraMetadata {
    #[serde(default)]
    device_authorization_endpoint: Option<DeviceAuthorizationUrl>,
    #[serde(default)]
    end_session_endpoint: Option<Url>,
    /// RFC 9207, 3.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for ExtraMetadata {}

type Metadata = ProviderMetadata<
    ExtraMetadata,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// A provider, and the CA's registration there as a client.
pub struct Provider<'a> {
    web: &'a Web,
    oidc: &'a Oidc,
    metadata: Metadata,
    client: Client,
}

/// A login by browser, with what is needed to recognise its answer.
pub struct Attempt {
    /// The URL to which the browser goes.
    pub url: Url,
    state: CsrfToken,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    redirect_uri: RedirectUrl,
}

impl Attempt {
    /// The `state` that the answer to this login has to contain.
    #[must_use]
    pub fn state(&self) -> &str {
        self.state.secret()
    }
}

impl<'a> Provider<'a> {
    /// Fetches the configuration of the provider that the CA names.
    ///
    /// # Errors
    /// The provider does not answer, or its configuration is not valid.
    pub fn discover(web: &'a Web, oidc: &'a Oidc) -> Result<Self, Fault> {
        let address = oidc.configuration();
        let wrong = |why: String| Fault::Discovery { address: address.clone(), why };
        let url: Url = address.parse().map_err(|error: url::ParseError| wrong(error.to_string()))?;
        if !is_safe(&url) {
            return Err(wrong("it is not https".to_owned()));
        }
        let request =
            Request { method: reqwest::Method::GET, url, headers: Default::default(), body: Default::default() };
        let (answer, _) =
            web.send(request).map_err(|problem| Fault::Unreachable { address: address.clone(), problem })?;
        if answer.status != 200 {
            return Err(wrong(format!("HTTP {}", answer.status)));
        }
        let metadata: Metadata = serde_json::from_slice(&answer.body).map_err(|error| wrong(error.to_string()))?;
        // OpenID Connect Discovery 1.0, 4.3: so a provider cannot pass off its configuration as another's.
        let issuer = metadata.issuer().as_str().trim_end_matches('/');
        if format!("{issuer}{WELL_KNOWN}") != address {
            return Err(wrong(format!("it is the configuration of {issuer}, and lies elsewhere")));
        }
        let ends = [
            Some(metadata.authorization_endpoint().url()),
            metadata.token_endpoint().map(TokenUrl::url),
            Some(metadata.jwks_uri().url()),
            metadata.additional_metadata().device_authorization_endpoint.as_ref().map(DeviceAuthorizationUrl::url),
        ];
        if let Some(end) = ends.into_iter().flatten().find(|end| !is_safe(end)) {
            return Err(wrong(format!("it names {end}, which is not https")));
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "the others are told in the library's words")]
        let keys = JsonWebKeySet::fetch(metadata.jwks_uri(), &carrier(web)).map_err(|error| match error {
            DiscoveryError::Request(problem) => {
                Fault::Unreachable { address: metadata.jwks_uri().to_string(), problem }
            }
            error => wrong(format!("its keys at {}: {error}", metadata.jwks_uri().as_str())),
        })?;
        let metadata = metadata.set_jwks(keys);
        let secret = Some(&oidc.client_secret).filter(|secret| !secret.is_empty());
        let client = CoreClient::from_provider_metadata(
            metadata.clone(),
            ClientId::new(oidc.client_id.clone()),
            secret.map(|secret| ClientSecret::new(secret.clone())),
        );
        // As `step` does; the client was registered for that.
        let client = client.set_auth_type(AuthType::RequestBody);
        Ok(Self { web, oidc, metadata, client })
    }

    #[must_use]
    pub fn issuer(&self) -> &str {
        self.metadata.issuer().as_str()
    }

    /// Whether the provider supports a login on another machine.
    #[must_use]
    pub fn has_device_grant(&self) -> bool {
        self.metadata.additional_metadata().device_authorization_endpoint.is_some()
    }

    /// The URL at which a person ends the session with the provider, if there is one.
    #[must_use]
    pub fn end_of_session(&self) -> Option<&Url> {
        self.metadata.additional_metadata().end_session_endpoint.as_ref().filter(|end| is_safe(end))
    }

    fn scopes(&self) -> impl Iterator<Item = Scope> {
        let configured = self.oidc.scopes.iter().map(String::as_str);
        let scopes = if self.oidc.scopes.is_empty() { vec!["email"] } else { configured.collect() };
        // The library always adds "openid". A refresh token would not be kept, so it is not requested.
        scopes
            .into_iter()
            .filter(|scope| *scope != "openid" && *scope != "offline_access")
            .map(|scope| Scope::new(scope.to_owned()))
    }

    /// Starts a login by browser, with this redirect URI.
    ///
    /// # Errors
    /// The redirect URI is not valid.
    pub fn attempt(&self, redirect_uri: &str) -> Result<Attempt, Fault> {
        // Kept as text: parsing and printing a URL adds a slash at the end, and the provider would not recognise it.
        let redirect_uri = RedirectUrl::new(redirect_uri.to_owned())
            .map_err(|error| Fault::Answer { what: "an address", why: error.to_string() })?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (state, nonce) = (CsrfToken::new(random()), Nonce::new(random()));
        let (url, state, nonce) = self
            .client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, move || state, move || nonce)
            .add_scopes(self.scopes())
            .set_pkce_challenge(challenge)
            .set_redirect_uri(std::borrow::Cow::Borrowed(&redirect_uri))
            .url();
        Ok(Attempt { url, state, nonce, verifier, redirect_uri })
    }

    /// Checks that an answer from the browser comes from this provider, if it names its issuer (RFC 9207, 2.4).
    ///
    /// # Errors
    /// The answer names another provider; or none, although this provider always names itself.
    pub fn is_of_it(&self, issuer: Option<&str>) -> Result<(), Fault> {
        match issuer {
            Some(issuer) if issuer != self.issuer() => Err(Fault::OtherIssuer(issuer.to_owned())),
            None if self.metadata.additional_metadata().authorization_response_iss_parameter_supported => {
                Err(Fault::NoIssuer)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the provider knows the client, according to its token endpoint's answer to a made-up code; `None` if
    /// that does not tell.
    #[must_use]
    pub fn knows_client(&self, redirect_uri: &str) -> Option<bool> {
        let redirect_uri = RedirectUrl::new(redirect_uri.to_owned()).ok()?;
        let (_, verifier) = PkceCodeChallenge::new_random_sha256();
        let request = self.client.exchange_code(AuthorizationCode::new(random())).ok()?;
        let answer = request
            .set_redirect_uri(std::borrow::Cow::Owned(redirect_uri))
            .set_pkce_verifier(verifier)
            .request(&carrier(self.web));
        let Err(RequestTokenError::ServerResponse(said)) = answer else { return None };
        match said.error().as_ref() {
            "invalid_client" => Some(false),
            "invalid_grant" => Some(true),
            _ => None,
        }
    }

    /// Exchanges a code from the browser for the ID token.
    ///
    /// # Errors
    /// The code or the ID token does not belong to this login.
    pub fn redeem(&self, attempt: Attempt, code: String) -> Result<IdToken, Fault> {
        let request = self.client.exchange_code(AuthorizationCode::new(code));
        let request = request.map_err(|_| Fault::Discovery {
            address: self.oidc.configuration(),
            why: "it names no token_endpoint".to_owned(),
        })?;
        let answer = request
            .set_redirect_uri(std::borrow::Cow::Owned(attempt.redirect_uri))
            .set_pkce_verifier(attempt.verifier)
            .request(&carrier(self.web))
            .map_err(|error| self.refused(error))?;
        self.verified(&answer, Some(&attempt.nonce))
    }

    fn unreachable(&self, problem: Problem) -> Fault {
        Fault::Unreachable { address: self.issuer().to_owned(), problem }
    }

    fn refused(&self, error: RequestTokenError<Problem, StandardErrorResponse<CoreErrorResponseType>>) -> Fault {
        match error {
            RequestTokenError::ServerResponse(said) => Fault::Refused {
                error: said.error().to_string(),
                description: said.error_description().cloned().unwrap_or_default(),
            },
            RequestTokenError::Request(problem) => self.unreachable(problem),
            RequestTokenError::Parse(error, _) => Fault::Answer { what: "its answer", why: error.to_string() },
            RequestTokenError::Other(why) => Fault::Answer { what: "its answer", why },
        }
    }

    /// The ID token, if this provider signed it for this client, if it is valid now, and if it belongs to this login.
    fn verified(&self, answer: &CoreTokenResponse, nonce: Option<&Nonce>) -> Result<IdToken, Fault> {
        // Only the ID token is kept.
        let _: &openidconnect::AccessToken = answer.access_token();
        let token: &CoreIdToken =
            answer.id_token().ok_or_else(|| Fault::WrongToken("there is none in its answer".to_owned()))?;
        // The audience is checked below: in a token for several clients, the provider names the one that requested it
        // (`azp`).
        let verifier =
            self.client.id_token_verifier().set_allowed_algs(ALGORITHMS).set_other_audience_verifier_fn(|_| true);
        let is_this_login = |claimed: Option<&Nonce>| match (nonce, claimed) {
            (None, _) => Ok(()),
            (Some(nonce), Some(claimed)) if nonce.secret() == claimed.secret() => Ok(()),
            (Some(_), _) => Err("it is another login's".to_owned()),
        };
        token.claims(&verifier, is_this_login).map_err(|error| Fault::WrongToken(self.why(&error)))?;
        let read = IdToken::read(&token.to_string()).map_err(Fault::WrongToken)?;
        if read.is_of_another_client(&self.oidc.client_id) {
            return Err(Fault::WrongToken("it was made for another client".to_owned()));
        }
        Ok(read)
    }

    /// Why an ID token is not accepted.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are told in the library's words")]
    fn why(&self, error: &ClaimsVerificationError) -> String {
        match error {
            ClaimsVerificationError::SignatureVerification(inner) => {
                format!("its signature is not the provider's: {inner}")
            }
            ClaimsVerificationError::InvalidNonce(why) => format!("its nonce does not fit: {why}"),
            ClaimsVerificationError::Expired(_) => format!("{error}{}", self.other_time().unwrap_or_default()),
            error => error.to_string(),
        }
    }

    /// How the provider's clock differs from this machine's, if its answers show the time and the difference is
    /// noticeable.
    fn other_time(&self) -> Option<String> {
        let ahead = self.web.ahead().filter(|ahead| ahead.unsigned_abs() >= 5)?;
        let by = distance(Duration::from_secs(ahead.unsigned_abs()));
        Some(format!("; the provider's clock is {by} {} this machine's", if ahead > 0 { "ahead of" } else { "behind" }))
    }
}

/// Sends the requests of `openidconnect`.
fn carrier(web: &Web) -> impl Fn(HttpRequest) -> Result<HttpResponse, Problem> {
    |request: HttpRequest| {
        let (head, body) = request.into_parts();
        let url = head.uri.to_string().parse().map_err(|_| Problem::Local(format!("{} is no URL", head.uri)))?;
        let (answer, kind) =
            web.send(Request { method: head.method, url, headers: head.headers, body: body.into() })?;
        let mut response = openidconnect::http::Response::builder().status(answer.status);
        if let Some(kind) = kind {
            response = response.header("content-type", kind);
        }
        response.body(answer.body.to_vec()).map_err(|error| Problem::Local(error.to_string()))
    }
}

/// 128 random bits, as a text that can be part of a URL.
pub(super) fn random() -> String {
    let mut bytes = [0; 16];
    OsRng.fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
