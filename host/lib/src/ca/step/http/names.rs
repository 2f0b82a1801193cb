//! Name resolution for the HTTP library.

use crate::resolver;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::task::spawn_blocking;

/// Resolves names with Warded's own resolver, in a thread of its own.
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
