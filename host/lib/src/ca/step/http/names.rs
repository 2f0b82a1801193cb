//! How the HTTP library finds the addresses of a server.

use crate::resolver;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::task::spawn_blocking;

/// Looks up names as all of Warded does, beside the thread that waits for the answer.
#[derive(Debug)]
pub(super) struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = spawn_blocking(move || resolver::addresses(name.as_str(), 0)).await??;
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}
