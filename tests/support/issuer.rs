//! A small, real provider of single sign-on on the loopback interface. Its user agrees to everything, and it can be
//! told to do one thing wrong. A real step-ca accepts its tokens.

mod wire;

use super::{
    jwk::{Jwk, encode},
    network::Network,
    x509::Leaf,
};
use jiff::{SignedDuration, Timestamp};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};
use wire::{Answer, ProviderRequest};
pub(crate) use wire::{Visit, browse, browse_trusting, visit};

/// The client ID of the CA at the provider.
pub(crate) const CLIENT: &str = "step-cli";

/// In place of an error: the connection is closed without an answer.
pub(crate) const CLOSED: &str = "closed";

/// What the provider does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ProviderFault {
    #[default]
    Nothing,
    /// The user declines.
    Denied,
    /// Its ID tokens are not signed.
    AlgorithmNone,
    /// They are signed with the client's secret, which everybody knows.
    SharedSecret,
    /// They are signed with a key that it does not publish, under the key ID of the one that it does.
    OtherKey,
    /// The nonce is that of another login.
    OtherNonce,
    NoNonce,
    /// Its redirect to the browser names another provider.
    OtherIssuer,
    /// Its redirect to the browser does not name the provider, although it promises to.
    NoIssuer,
    /// It does not know the client.
    UnknownClient,
    /// Its token endpoint accepts no code.
    UnknownCode,
    /// It gives no ID token.
    NoIdToken,
    /// Its configuration is another provider's.
    OtherConfiguration,
    /// Its configuration is an HTML page.
    Page,
    /// The user never enters the device's code.
    NeverOnDevice,
    /// It closes every connection without an answer.
    Gone,
    /// Only its token endpoint closes every connection without an answer, and a device's code is valid for two seconds.
    SilentAboutTokens,
}

/// The instructions of the test, and the state of the logins.
#[derive(Debug, Default)]
struct State {
    claims: Value,
    wrong: ProviderFault,
    redirect_uris: Vec<String>,
    has_devices: bool,
    /// By how many seconds the clock is ahead that it reports; `None` if it reports no time.
    clock: Option<i64>,
    /// The answers to the next polls of a device, before there is a token; `CLOSED` means no answer.
    polls: Vec<&'static str>,
    /// For each code: PKCE's challenge, the nonce, the redirect URI.
    logins: HashMap<String, [String; 3]>,
    log: Vec<(Timestamp, String)>,
    issued: Vec<String>,
    number: usize,
}

/// The provider. It ends with the process that runs the tests.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    port: u16,
    key: Arc<Jwk>,
    other: Arc<Jwk>,
    /// For TLS: the configuration with its certificate.
    tls: Option<Arc<Mutex<Arc<ServerConfig>>>>,
    state: Arc<Mutex<State>>,
}

impl Issuer {
    /// Starts a provider for a user with these claims.
    pub(crate) fn start(network: &Network, claims: Value) -> Self {
        Self::serving(network, claims, None)
    }

    /// The same with TLS and this certificate.
    pub(crate) fn start_with_tls(network: &Network, claims: Value, leaf: &Leaf) -> Self {
        Self::serving(network, claims, Some(Arc::new(Mutex::new(configuration(leaf)))))
    }

    fn serving(network: &Network, claims: Value, tls: Option<Arc<Mutex<Arc<ServerConfig>>>>) -> Self {
        let listener = network.on(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let port = listener.local_addr().unwrap().port();
        let state = State { claims, ..State::default() };
        let issuer = Self {
            port,
            key: Arc::new(Jwk::random()),
            other: Arc::new(Jwk::random()),
            tls,
            state: Arc::new(Mutex::new(state)),
        };
        let serving = issuer.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (issuer, mut stream) = (serving.clone(), stream.unwrap());
                thread::spawn(move || match issuer.tls.as_ref().map(|tls| Arc::clone(&tls.lock().unwrap())) {
                    None => issuer.converse(&mut stream),
                    Some(tls) => {
                        let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), stream);
                        issuer.converse(&mut stream);
                        stream.conn.send_close_notify();
                        drop(stream.flush());
                    }
                });
            }
        });
        issuer
    }

    fn converse(&self, stream: &mut (impl Read + Write)) {
        let Some(asked) = ProviderRequest::read(stream) else { return };
        let is_there = {
            let mut state = self.state.lock().unwrap();
            let is_closed = asked.path == "/token" && state.polls.pop_if(|next| *next == CLOSED).is_some();
            if is_closed {
                state.log.push((Timestamp::now(), format!("{} {}", asked.method, asked.path)));
            }
            match state.wrong {
                ProviderFault::Gone => false,
                ProviderFault::SilentAboutTokens => asked.path != "/token",
                _ => !is_closed,
            }
        };
        if is_there {
            let answer = self.answer(&asked);
            let clock = self.state.lock().unwrap().clock;
            clock
                .map_or(answer.clone(), |ahead| answer.dated(Timestamp::now() + SignedDuration::from_secs(ahead)))
                .write(stream);
        }
    }

    /// Makes it report a time that is so many seconds ahead of this machine's.
    pub(crate) fn clock(&self, ahead: i64) {
        self.state.lock().unwrap().clock = Some(ahead);
    }

    /// Makes it use another certificate.
    pub(crate) fn shows(&self, leaf: &Leaf) {
        *self.tls.as_ref().unwrap().lock().unwrap() = configuration(leaf);
    }

    pub(crate) fn name(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Makes it do this wrong from now on.
    pub(crate) fn goes_wrong(&self, wrong: ProviderFault) {
        self.state.lock().unwrap().wrong = wrong;
    }

    /// Changes claims of the user; null removes one.
    pub(crate) fn claims(&self, changes: &Value) {
        let mut state = self.state.lock().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            state.claims[name] = value.clone();
        }
    }

    /// Makes it accept only this redirect URI.
    pub(crate) fn knows_only(&self, redirect_uri: &str) {
        self.state.lock().unwrap().redirect_uris = vec![redirect_uri.to_owned()];
    }

    /// Lets people log in on other devices; the first polls get these errors.
    pub(crate) fn has_devices(&self, polls: &[&'static str]) {
        let mut state = self.state.lock().unwrap();
        state.has_devices = true;
        state.polls = polls.iter().rev().copied().collect();
    }

    /// The requests it has received, with their times.
    pub(crate) fn log(&self) -> Vec<(Timestamp, String)> {
        self.state.lock().unwrap().log.clone()
    }

    /// Every secret that it issued: codes and tokens.
    pub(crate) fn issued(&self) -> Vec<String> {
        self.state.lock().unwrap().issued.clone()
    }

    /// An ID token with these claims in addition to the usual ones.
    pub(crate) fn token(&self, changes: &Value) -> String {
        let now = Timestamp::now().as_second();
        let mut claims =
            json!({ "iss": self.name(), "aud": [CLIENT], "azp": CLIENT, "sub": "jane", "iat": now, "exp": now + 300 });
        let own = self.state.lock().unwrap().claims.clone();
        for (name, value) in own.as_object().unwrap().iter().chain(changes.as_object().unwrap()) {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let wrong = self.state.lock().unwrap().wrong;
        match wrong {
            ProviderFault::AlgorithmNone => {
                let header = encode(br#"{"alg":"none","typ":"JWT"}"#);
                format!("{header}.{}.", encode(claims.to_string().as_bytes()))
            }
            ProviderFault::SharedSecret => {
                let header = encode(br#"{"alg":"HS256","typ":"JWT"}"#);
                format!("{header}.{}.{}", encode(claims.to_string().as_bytes()), encode(&[7; 32]))
            }
            ProviderFault::OtherKey => self.other.token_with(&json!({ "kid": self.key.id() }), &claims),
            _ => self.key.token(&claims),
        }
    }

    fn answer(&self, asked: &ProviderRequest) -> Answer {
        self.state.lock().unwrap().log.push((Timestamp::now(), format!("{} {}", asked.method, asked.path)));
        match asked.path.as_str() {
            "/.well-known/openid-configuration" => self.configuration(),
            "/jwks" => Answer::json(200, &json!({ "keys": [self.key.public()] })),
            "/authorize" => self.authorize(asked),
            "/device" => self.device(asked),
            "/token" => self.redeem(asked),
            _ => Answer::json(404, &json!({})),
        }
    }

    fn configuration(&self) -> Answer {
        let name = self.name();
        let state = self.state.lock().unwrap();
        let issuer = if state.wrong == ProviderFault::OtherConfiguration {
            "https://evil.test".to_owned()
        } else {
            name.clone()
        };
        if state.wrong == ProviderFault::Page {
            return Answer::page(200, "<h1>Welcome</h1>");
        }
        let mut configuration = json!({
            "issuer": issuer, "authorization_endpoint": format!("{name}/authorize"), "token_endpoint": format!("{name}/token"),
            "jwks_uri": format!("{name}/jwks"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"], "end_session_endpoint": format!("{name}/logout"),
            "authorization_response_iss_parameter_supported": true,
        });
        if state.has_devices {
            configuration["device_authorization_endpoint"] = format!("{name}/device").into();
        }
        Answer::json(200, &configuration)
    }

    fn authorize(&self, asked: &ProviderRequest) -> Answer {
        let name = self.name();
        let mut state = self.state.lock().unwrap();
        let of = |key: &str| asked.value(key);
        assert_eq!((of("response_type").as_str(), of("code_challenge_method").as_str()), ("code", "S256"));
        assert!(!of("scope").contains("offline_access") && of("scope").contains("openid"), "{}", of("scope"));
        let redirect_uri = of("redirect_uri");
        if !state.redirect_uris.is_empty() && !state.redirect_uris.contains(&redirect_uri) {
            // Like LemonLDAP::NG's error 108: the browser is not redirected back.
            return Answer::page(400, "<h1>The redirect URI is not known</h1>");
        }
        let iss = match state.wrong {
            ProviderFault::OtherIssuer => "&iss=https://evil.test".to_owned(),
            ProviderFault::NoIssuer => String::new(),
            _ => format!("&iss={name}"),
        };
        let back = |more: &str| Answer::redirect(&format!("{redirect_uri}/?state={}&{more}{iss}", of("state")));
        if state.wrong == ProviderFault::Denied {
            return back("error=access_denied&error_description=The+person+said+no");
        }
        state.number += 1;
        let code = format!("code-{}-{}", state.number, encode(&Sha256::digest(of("nonce"))[..8]));
        state.issued.push(code.clone());
        state.logins.insert(code.clone(), [of("code_challenge"), of("nonce"), redirect_uri.clone()]);
        back(&format!("code={code}"))
    }

    fn device(&self, asked: &ProviderRequest) -> Answer {
        assert_eq!(asked.value("code_challenge_method"), "S256");
        let name = self.name();
        let mut state = self.state.lock().unwrap();
        let code = "device-secret-1".to_owned();
        state.issued.push(code.clone());
        state.logins.insert(code.clone(), [asked.value("code_challenge"), String::new(), String::new()]);
        let (life, interval) = match state.wrong {
            ProviderFault::NeverOnDevice => (2, 120),
            ProviderFault::SilentAboutTokens => (2, 1),
            _ => (120, 1),
        };
        Answer::json(
            200,
            &json!({
                "device_code": code, "user_code": "WDJB-MJHT", "verification_uri": format!("{name}/activate"),
                "verification_uri_complete": format!("{name}/activate?user_code=WDJB-MJHT"), "expires_in": life,
                "interval": interval,
            }),
        )
    }

    fn redeem(&self, asked: &ProviderRequest) -> Answer {
        let refused =
            |error: &str| Answer::json(400, &json!({ "error": error, "error_description": "as the test wants it" }));
        let nonce = {
            let mut state = self.state.lock().unwrap();
            let wrong = state.wrong;
            let code = [asked.value("code"), asked.value("device_code")].concat();
            if wrong == ProviderFault::UnknownClient || asked.value("client_id") != CLIENT {
                return refused("invalid_client");
            }
            if asked.value("grant_type").ends_with("device_code") {
                if let Some(error) = state.polls.pop() {
                    return refused(error);
                }
                match wrong {
                    ProviderFault::NeverOnDevice => return refused("authorization_pending"),
                    ProviderFault::Denied => return refused("access_denied"),
                    _ => {}
                }
            }
            // A code is valid only once.
            let Some([challenge, nonce, redirect_uri]) =
                state.logins.remove(&code).filter(|_| wrong != ProviderFault::UnknownCode)
            else {
                return refused("invalid_grant");
            };
            if encode(&Sha256::digest(asked.value("code_verifier"))) != challenge
                || asked.value("redirect_uri") != redirect_uri
            {
                return refused("invalid_grant");
            }
            match wrong {
                ProviderFault::OtherNonce => json!("another login's"),
                ProviderFault::NoNonce => Value::Null,
                _ if nonce.is_empty() => Value::Null,
                _ => json!(nonce),
            }
        };
        let mut answer = json!({ "access_token": "access-secret-1", "token_type": "Bearer", "expires_in": 60 });
        let is_whole = self.state.lock().unwrap().wrong != ProviderFault::NoIdToken;
        if is_whole {
            let token = self.token(&json!({ "nonce": nonce }));
            self.state.lock().unwrap().issued.extend([token.clone(), "access-secret-1".to_owned()]);
            answer["id_token"] = token.into();
        }
        Answer::json(200, &answer)
    }
}

fn configuration(leaf: &Leaf) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(leaf.chain.clone(), leaf.private()).unwrap())
}
