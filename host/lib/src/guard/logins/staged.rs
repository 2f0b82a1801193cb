//! Recognises a renewal: what it stages does not affect logins.

use super::Comparison;
use ssh_key::Certificate;
use std::path::Path;

impl Comparison<'_> {
    /// Whether nothing is staged but certificates that sshd serves today, as in a renewal. Their text lets nobody in,
    /// even if a user's list of keys were a link to one. So there is no need to read the users' files.
    pub(super) fn stages_only_certificates(&self) -> bool {
        let served = self.baseline.view.effective.values("hostcertificate");
        let is_certificate = |contents: &Option<Vec<u8>>| {
            let text = contents.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
            // A parser may take further lines for the comment, and sshd may read them as keys.
            text.map(str::trim)
                .is_some_and(|text| !text.contains(['\n', '\r', '\0']) && Certificate::from_openssh(text).is_ok())
        };
        self.candidate
            .staged
            .iter()
            .all(|(path, contents)| served.iter().any(|name| Path::new(name) == path) && is_certificate(contents))
    }
}
