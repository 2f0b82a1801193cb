//! HTTP with an OCI registry, which is no CA: its answers are as long as the caller allows, and a redirection is an
//! answer that the caller judges.

use super::{Problem, Trust, client, is_safe, tls};
use bytes::Bytes;
use reqwest::{Client, Response};
pub use reqwest::{
    Method,
    header::{self, HeaderMap},
};
use std::time::Duration;
use tokio::runtime::Runtime;
use url::Url;

/// A whole exchange, with the largest component in it.
const EXCHANGE: Duration = Duration::from_secs(120);

/// A client for a registry.
#[derive(Debug)]
pub struct Transfer {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    client: Client,
}

/// One request.
#[derive(Debug)]
pub struct Asked {
    /// `GET`, `PUT` …
    pub method: Method,
    /// Where.
    pub url: Url,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// The longest body that the answer may have.
    pub limit: usize,
}

/// An answer, whatever it says.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
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
        let (runtime, client) = client(tls::configuration(Trust::Roots(&roots), &tls::Shown::default())?, false, None)?;
        Ok(Self { runtime: Some(runtime), client })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// There was no whole answer, or it is longer than the request allows.
    pub fn send(&self, asked: Asked) -> Result<Reply, Problem> {
        if !is_safe(&asked.url) {
            return Err(Problem::Local("the address is not https".to_owned()));
        }
        let request =
            self.client.request(asked.method, asked.url).headers(asked.headers).body(asked.body).timeout(EXCHANGE);
        let Some(runtime) = &self.runtime else { return Err(Problem::Local("it was closed".to_owned())) };
        runtime.block_on(async {
            let response = request.send().await.map_err(|error| Problem::of(&error))?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok(Reply { status, headers, body: body(response, asked.limit).await? })
        })
    }
}

async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| Problem::of(&error))? {
        if body.len() + piece.len() > limit {
            return Err(Problem::TooLong(limit));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

impl Drop for Transfer {
    /// A name that is still being looked up is not waited for.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
