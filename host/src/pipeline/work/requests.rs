//! What the CA is asked for.

use super::{Source, Work};
use warded_lib::{
    ca::Certificate,
    change_set::{Request, RequestId},
};

impl Work {
    /// The certificates that the CA has to be asked for.
    #[must_use]
    pub fn requests(&self) -> Vec<(RequestId, Request)> {
        let Source::Staged(changes) = &self.source else { return Vec::new() };
        changes.requests().map(|(id, request)| (id, request.clone())).collect()
    }

    /// Has a certificate renewed, instead of asking for a new one with the same key and names.
    pub fn succeed(&mut self, id: RequestId, current: Certificate) {
        if let Source::Staged(changes) = &mut self.source {
            changes.succeed(id, current);
            self.succeeded.insert(id);
        }
    }

    /// The certificates in the files where a request's answer will be written.
    #[must_use]
    pub fn present(&self, request: RequestId) -> Vec<Certificate> {
        let Source::Staged(changes) = &self.source else { return Vec::new() };
        changes.present(request).collect()
    }

    /// Removes the changes that wait for these requests. Returns false if nothing is left to do.
    pub fn withdraw(&mut self, requests: &[RequestId]) -> bool {
        match &mut self.source {
            Source::Staged(changes) => {
                self.withdrawn.extend(changes.withdraw(requests));
                !changes.is_empty()
            }
            Source::Undo(_) => true,
        }
    }
}
