//! HTTP with the servers of a person's single sign-on. They are trusted as a browser on this machine would trust them,
//! by the system's roots. In addition the CA's own root is trusted, since it may have certified them.

use super::{Answer, MAX_BODY, Problem, Request, Trust, body, client, is_safe, tls};
use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{
    Client,
    header::{CONTENT_TYPE, DATE},
};
use std::cell::Cell;
use tokio::runtime::Runtime;

/// A client for these servers.
#[derive(Debug)]
pub struct Web {
    /// `None` only while this is dropped.
    runtime: Option<Runtime>,
    client: Client,
    /// By how many seconds the last server's clock was ahead of this machine's.
    ahead: Cell<Option<i64>>,
}

impl Web {
    /// A client that also trusts this root (DER).
    ///
    /// # Errors
    /// Neither root can be used, or the proxy cannot.
    pub fn new(root: &[u8], proxy: Option<&str>) -> Result<Self, Problem> {
        let mut roots: Vec<Vec<u8>> =
            rustls_native_certs::load_native_certs().certs.iter().map(|found| found.to_vec()).collect();
        roots.push(root.to_vec());
        // `is_safe` makes sure that HTTP without TLS is only used for a provider on this machine.
        let (runtime, client) =
            client(tls::configuration(Trust::Roots(&roots), &tls::ServerChain::default())?, false, proxy)?;
        Ok(Self { runtime: Some(runtime), client, ahead: Cell::new(None) })
    }

    /// By how many seconds the clock of the server that answered last is ahead of this machine's.
    #[must_use]
    pub fn ahead(&self) -> Option<i64> {
        self.ahead.get()
    }

    /// Sends a request. Returns the answer, whatever its status, with its content type.
    ///
    /// # Errors
    /// There is no complete answer.
    pub fn send(&self, request: Request) -> Result<(Answer, Option<String>), Problem> {
        if !is_safe(&request.url) {
            return Err(Problem::Local(format!("{} is not asked: it is not https", request.url)));
        }
        let Some(runtime) = &self.runtime else { return Err(Problem::Local("it was closed".to_owned())) };
        let built = self.client.request(request.method, request.url).headers(request.headers).body(request.body);
        runtime.block_on(async {
            let response = built.send().await.map_err(|error| Problem::of(&error))?;
            if response.status().is_redirection() {
                return Err(Problem::Redirect);
            }
            let theirs = super::header_of(&response, DATE.as_str()).and_then(|text| rfc2822::parse(text).ok());
            self.ahead.set(theirs.map(|theirs| theirs.timestamp().as_second() - Timestamp::now().as_second()));
            let kind = super::header_of(&response, CONTENT_TYPE.as_str()).map(str::to_owned);
            let status = response.status().as_u16();
            Ok((Answer { status, body: body(response, MAX_BODY).await?, retry_after: None }, kind))
        })
    }
}

impl Drop for Web {
    /// Does not wait for a name lookup that is still running.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_without_tls_but_to_this_machine() {
        for (url, expected) in [
            ("https://sso.example.org/x", true),
            ("http://127.0.0.1:8080/x", true),
            ("http://[::1]:8080/x", true),
            ("http://sso.example.org/x", false),
            ("http://localhost/x", false),
            ("http://127.0.0.1.example.org/x", false),
            ("ftp://127.0.0.1/x", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(is_safe(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
