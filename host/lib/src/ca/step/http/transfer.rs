//! HTTP with an OCI registry, which is no CA: its answers are as long as the caller allows, and a redirection is an
//! answer that the caller judges.

use super::{Problem, Request, Trust, body, client, is_safe, tls};
use reqwest::{Client, header::HeaderMap};
use std::time::Duration;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

/// A whole exchange, with the largest component in it.
const EXCHANGE: Duration = Duration::from_secs(120);

/// A client for a registry.
#[derive(Debug)]
pub struct Transfer {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    client: Client,
}

/// An answer, whatever it says.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Zeroizing<Vec<u8>>,
}

impl Transfer {
    /// A client that trusts the system's roots, and these (DER).
    ///
    /// # Errors
    /// No root can be used.
    pub fn new(more: Vec<Vec<u8>>) -> Result<Self, Problem> {
        let mut roots: Vec<Vec<u8>> =
            rustls_native_certs::load_native_certs().certs.iter().map(|found| found.to_vec()).collect();
        roots.extend(more);
        // HTTP without TLS is for a registry on this machine alone: `is_safe` sees to it.
        let (runtime, client) =
            client(tls::configuration(Trust::Roots(&roots), &tls::ServerChain::default())?, false, None)?;
        Ok(Self { runtime: Some(runtime), client })
    }

    /// Sends a request whose answer may have `limit` bytes.
    ///
    /// # Errors
    /// There was no whole answer, or it is longer.
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
    /// A name that is still being looked up is not waited for.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
