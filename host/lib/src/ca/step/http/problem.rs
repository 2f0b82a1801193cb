//! Why there was no whole answer.

use std::error::Error;

/// What went wrong between this machine and the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No connection: refused, no route, no such name.
    #[error("{0}")]
    NoConnection(String),
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
    /// The server's certificate leads to another root.
    #[error("its TLS certificate was not issued by the root that this machine trusts")]
    OtherRoot,
    /// The server's certificate is for other names.
    #[error("its TLS certificate is not for this name")]
    OtherName,
    /// Going by this machine's clock, the server's certificate has expired or does not hold yet.
    #[error("its TLS certificate does not hold at this machine's time")]
    OtherTime,
    /// Anything else in TLS: no TLS at all, an alert.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The server leads elsewhere.
    #[error("it answered with a redirection, which is not followed")]
    Redirect,
    /// The answer is too long.
    #[error("its answer is longer than {0} bytes")]
    TooLong(usize),
    /// The connection broke before the answer was whole.
    #[error("the connection ended before the answer did: {0}")]
    Broken(String),
    /// Nothing could be sent.
    #[error("{0}")]
    Local(String),
}

impl Problem {
    /// What `reqwest` reports, in our words.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        if let Some(tls) = find::<rustls::Error>(error) {
            return Self::of_tls(tls);
        }
        if error.is_timeout() && !error.is_connect() {
            return Self::TimedOut;
        }
        let cause = innermost(error);
        if error.is_connect() { Self::NoConnection(cause) } else { Self::Broken(cause) }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        use rustls::CertificateError as Wrong;
        let rustls::Error::InvalidCertificate(wrong) = error else { return Self::Tls(error.to_string()) };
        #[expect(clippy::wildcard_enum_match_arm, reason = "rustls may add others; they are told in its words")]
        match wrong {
            Wrong::UnknownIssuer | Wrong::BadSignature => Self::OtherRoot,
            Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => Self::OtherName,
            Wrong::Expired | Wrong::ExpiredContext { .. } | Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
                Self::OtherTime
            }
            other => Self::Tls(other.to_string()),
        }
    }

    /// Whether another try, a little later, may go better, and cannot have done anything twice.
    #[must_use]
    pub fn was_not_sent(&self) -> bool {
        matches!(self, Self::NoConnection(_))
    }
}

/// The first error of a type among an error and its causes, those inside I/O errors included.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|inner| find::<T>(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The last cause: what the system said.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    crate::text::neutral(&last.to_string())
}
