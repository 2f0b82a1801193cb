//! HTTP with an OCI registry. The caller decides how long an answer may be, and a redirect is returned to the caller as
//! an answer.

use super::{Problem, Request, Trust, body, client, is_safe, tls};
use reqwest::{Client, header::HeaderMap};
use std::time::Duration;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

/// The time limit for an exchange that transfers the largest component.
const EXCHANGE: Duration = Duration::from_secs(120);

/// A client for a registry.
#[derive(Debug)]
pub struct Transfer {
    /// `None` only while this is dropped.
    runtime: Option<Runtime>,
    client: Client,
}

/// An answer, with any status.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Zeroizing<Vec<u8>>,
}

impl Transfer {
    /// A client that trusts the system's roots, and these (DER) in addition.
    ///
    /// # Errors
    /// No root can be used.
    pub fn new(more: Vec<Vec<u8>>) -> Result<Self, Problem> {
        let mut roots: Vec<Vec<u8>> =
            rustls_native_certs::load_native_certs().certs.iter().map(|found| found.to_vec()).collect();
        roots.extend(more);
        // `is_safe` makes sure that HTTP without TLS is only used for a registry on this machine.
        let (runtime, client) =
            client(tls::configuration(Trust::Roots(&roots), &tls::ServerChain::default())?, false, None)?;
        Ok(Self { runtime: Some(runtime), client })
    }

    /// Sends a request; the answer may have at most `limit` bytes.
    ///
    /// # Errors
    /// There is no complete answer, or it is too long.
    pub fn send(&self, request: Request, limit: usize) -> Result<Reply, Problem> {
        if !is_safe(&request.url) {
            return Err(Problem::Local("the address is not https".to_owned()));
        }
        let built = self.client.request(request.method, request.url).headers(request.headers).body(request.body);
        let Some(runtime) = &self.runtime else { return Err(Problem::Local("it was closed".to_owned())) };
        runtime.block_on(async {
            let response = built.timeout(EXCHANGE).send().await.map_err(|error| Problem::of(&error))?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok(Reply { status, headers, body: body(response, limit).await? })
        })
    }
}

impl Drop for Transfer {
    /// Does not wait for a name lookup that is still running.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
