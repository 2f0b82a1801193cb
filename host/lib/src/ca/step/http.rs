//! The only module that speaks HTTP: with a CA, with the provider of single sign-on that the CA names (`web`), and with
//! a registry of policies (`transfer`). Everything is limited: the time to connect, the time of a whole exchange, the
//! size of an answer. Redirects are not followed, and a proxy is only used if the operator names one.
#![expect(clippy::disallowed_methods, reason = "the CA client")]

mod names;
mod problem;
mod tls;
mod transfer;
#[cfg(feature = "sso")]
mod web;

pub use problem::Problem;
pub use reqwest::{
    Method,
    header::{self, HeaderMap},
};
pub use transfer::{Reply, Transfer};
#[cfg(feature = "sso")]
pub use web::Web;

use super::{url::CaUrl, x509::X509};
use bytes::Bytes;
use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{
    Client, Proxy, Response,
    header::{ACCEPT, CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER},
    redirect, retry,
};
use rustls::ClientConfig;
use std::{cell::Cell, time::Duration};
use tokio::runtime::{Builder, Runtime};
use url::{Host, Url};
use zeroize::Zeroizing;

/// The time limit for connecting.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an idle connection is reused.
const IDLE: Duration = Duration::from_secs(5);
/// The longest pause between two pieces of an answer.
pub const SILENCE: Duration = Duration::from_secs(5);
/// The time limit for an exchange: below the limit of a guest's host call (30 s), with room for a second try.
const EXCHANGE: Duration = Duration::from_secs(12);
/// The largest accepted answer: a list of provisioners with long names has some 100 KiB.
const MAX_BODY: usize = 2 * 1024 * 1024;
const AGENT: &str = concat!("warded/", env!("CARGO_PKG_VERSION"));

/// Which servers a connection trusts.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// A server with a chain to this root certificate (DER), valid now and for the host's name.
    Root(&'a [u8]),
    /// The same with several root certificates (DER).
    Roots(&'a [Vec<u8>]),
    /// Any server. For the first fetch of the root, whose fingerprint is then checked, and for finding out why a
    /// verified connection failed.
    Anybody,
}

/// A request to a server other than the CA.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `PUT` …
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An answer, with any status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Zeroizing<Vec<u8>>,
    /// How long the server asks clients to wait.
    pub retry_after: Option<Duration>,
}

/// A connection to one CA, kept open between exchanges.
pub struct Http {
    /// `None` only while this is dropped.
    runtime: Option<Runtime>,
    client: Client,
    base: CaUrl,
    /// By how many milliseconds the CA's clock was ahead of this machine's at its last answer.
    ahead: Cell<Option<i64>>,
    exchanges: Cell<u32>,
    /// How long the CA asked clients to wait, in its last answer.
    retry_after: Cell<Option<Duration>>,
    shown: tls::ServerChain,
}

impl Http {
    /// A client for one CA. Nothing is sent yet.
    ///
    /// # Errors
    /// The root or the proxy cannot be used.
    pub fn new(base: &CaUrl, trust: Trust<'_>, proxy: Option<&str>) -> Result<Self, Problem> {
        let shown = tls::ServerChain::default();
        let (runtime, client) = client(tls::configuration(trust, &shown)?, true, proxy)?;
        let (ahead, exchanges, retry_after) = (Cell::new(None), Cell::new(0), Cell::new(None));
        Ok(Self { runtime: Some(runtime), client, base: base.clone(), ahead, exchanges, retry_after, shown })
    }

    #[must_use]
    pub fn base(&self) -> &CaUrl {
        &self.base
    }

    /// By how many milliseconds the CA's clock is ahead of this machine's (from the header `Date`, which has whole
    /// seconds); `None` before the first answer.
    #[must_use]
    pub fn ahead(&self) -> Option<i64> {
        self.ahead.get()
    }

    /// The number of exchanges so far.
    #[must_use]
    pub fn exchanges(&self) -> u32 {
        self.exchanges.get()
    }

    /// How long the CA asked clients to wait, in its last answer.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after.get()
    }

    /// The certificates that the server presented last, its own first; empty if one of them cannot be parsed.
    #[must_use]
    pub fn chain(&self) -> Vec<X509> {
        self.shown.chain().iter().map(|der| X509::of_der(der)).collect::<Result<_, _>>().unwrap_or_default()
    }

    /// The names in the certificate that the server presented last.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.chain().into_iter().next().map(|leaf| leaf.names).unwrap_or_default()
    }

    /// The CA's own names ("dnsNames" of its ca.json), from the TLS certificate that step-ca issues to itself. `None`
    /// if the server presented another certificate, such as a proxy's, whose names need not be the CA's.
    #[must_use]
    pub fn names_of_step_ca(&self) -> Option<Vec<String>> {
        let leaf = self.chain().into_iter().next()?;
        // `authority/tls.go`, GetTLSCertificate.
        (leaf.subject == "CN=Step Online CA").then_some(leaf.names)
    }

    /// Sends a GET request. `path` begins with a slash.
    ///
    /// # Errors
    /// There is no complete answer.
    pub fn get(&self, path: &str) -> Result<Answer, Problem> {
        self.exchange(Method::GET, path, None)
    }

    /// Posts JSON. The CA may have carried out the request even if no answer comes.
    ///
    /// # Errors
    /// There is no complete answer.
    pub fn post(&self, path: &str, json: Zeroizing<Vec<u8>>) -> Result<Answer, Problem> {
        self.exchange(Method::POST, path, Some(json))
    }

    fn exchange(&self, method: Method, path: &str, json: Option<Zeroizing<Vec<u8>>>) -> Result<Answer, Problem> {
        self.exchanges.set(self.exchanges.get().saturating_add(1));
        let mut request = self.client.request(method, self.base.at(path)).header(ACCEPT, "application/json");
        if let Some(json) = json {
            // Wiped when the last reference is dropped.
            let body = Bytes::from_owner(json);
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body);
        }
        let Some(runtime) = &self.runtime else { return Err(Problem::Local("it was closed".to_owned())) };
        runtime.block_on(async {
            let begun = Timestamp::now();
            let response = request.send().await.map_err(|error| Problem::of(&error))?;
            self.note(&response, begun);
            let status = response.status().as_u16();
            if response.status().is_redirection() {
                return Err(Problem::Redirect);
            }
            let retry_after = header_of(&response, RETRY_AFTER.as_str()).and_then(retry_after);
            self.retry_after.set(retry_after);
            Ok(Answer { status, body: body(response, MAX_BODY).await?, retry_after })
        })
    }

    /// Remembers the difference between the clocks.
    fn note(&self, response: &Response, begun: Timestamp) {
        if let Some(theirs) = header_of(response, DATE.as_str()).and_then(|text| rfc2822::parse(text).ok()) {
            let ended = Timestamp::now().as_millisecond();
            let ours = begun.as_millisecond().midpoint(ended);
            // The header is truncated to whole seconds, so on average half a second is missing.
            self.ahead.set(Some(theirs.timestamp().as_millisecond() + 500 - ours));
        }
    }
}

/// A client with the limits above, and the runtime that it needs.
fn client(tls: ClientConfig, https_only: bool, proxy: Option<&str>) -> Result<(Runtime, Client), Problem> {
    let local = |error: String| Problem::Local(error);
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| local(error.to_string()))?;
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(https_only)
        .redirect(redirect::Policy::none())
        // The server may have carried out a request that was sent: the callers decide whether to repeat it.
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .user_agent(AGENT)
        .dns_resolver(names::Names)
        .connect_timeout(CONNECT)
        // step-ca closes a connection that is idle for 15 s, and this process does not notice that in the meantime.
        .pool_idle_timeout(IDLE)
        .read_timeout(SILENCE)
        .timeout(EXCHANGE);
    if let Some(proxy) = proxy {
        // The setting may contain a password. Not even a part is shown, since an invalid URL might be split in the
        // wrong place.
        let unusable =
            |_| local("the setting `proxy` of [step-ca] is not a URL such as http://proxy.lan:3128".to_owned());
        builder = builder.proxy(Proxy::all(proxy).map_err(unusable)?);
    }
    let client = builder.build().map_err(|error| local(problem::innermost(&error)))?;
    Ok((runtime, client))
}

impl Drop for Http {
    /// Does not wait for a name lookup that is still running.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("base", &self.base).finish_non_exhaustive()
    }
}

/// The body of an answer, of at most `limit` bytes. It is wiped after use, since it may contain a token.
async fn body(mut response: Response, limit: usize) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(piece) = response.chunk().await.map_err(|error| Problem::of(&error))? {
        if body.len() + piece.len() > limit {
            return Err(Problem::TooLong(limit));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Whether only the server can read what is sent there: by TLS, or on this machine.
#[must_use]
pub fn is_safe(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}

fn header_of<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// Parses seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default())
}
