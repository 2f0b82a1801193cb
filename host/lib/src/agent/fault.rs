//! Why an agent did not do what it was asked.

use super::exchange::{MAX_ANSWER, PATIENCE};
use std::io;

/// Why an agent did not do what it was asked. Each `Display` ends the sentence "the agent at SOCKET …".
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is no such file.
    #[error("is gone: there is no socket of that name")]
    NotThere,
    /// Nobody listens there.
    #[error("has ended: nothing listens at its socket")]
    NotListening,
    /// There is something else of that name.
    #[error("is none: there is a file of that name, and no socket")]
    NotASocket,
    /// It is locked: it shows nothing and does nothing until it is unlocked.
    #[error("is locked: it shows nothing of what it holds")]
    Locked,
    /// This user may not connect.
    #[error("does not let this user connect")]
    Denied,
    /// Another user's process listens there; nothing was sent.
    #[error("is a process of the user with the number {uid}: a private key would be theirs")]
    OtherUser {
        /// The user's number.
        uid: u32,
    },
    /// The connection failed.
    #[error("cannot be used: {0}")]
    Io(#[source] io::Error),
    /// It does not answer.
    #[error("did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// It closed the connection before it had answered.
    #[error("closed the connection without an answer")]
    Closed,
    /// Its answer is longer than any list of identities.
    #[error("announced an answer of {length} bytes; at most {MAX_ANSWER} are read")]
    Oversized {
        /// The announced length.
        length: u32,
    },
    /// Its answer is cut off or damaged.
    #[error("gave an answer that is damaged")]
    Malformed,
    /// Its answer has no place here.
    #[error("gave the answer {number}, which has no place here")]
    Unexpected {
        /// The answer's number in the protocol.
        number: u8,
    },
    /// It says no, and never why.
    #[error("refused")]
    Refused,
    /// It does not say what it holds.
    #[error("refuses to say what it holds")]
    Unlisted,
    /// It does not sign: it has no such key, or was told not to.
    #[error("does not sign with this key")]
    Unsigned,
    /// Its signature is another key's, or over another message.
    #[error("gave a signature that is not this key's")]
    WrongSignature,
    /// What is to be sent cannot be written as the protocol wants it.
    #[error("was not asked: this certificate cannot be sent to an agent as the CA signed it")]
    NotEncodable,
}

impl From<io::Error> for AgentError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let kind = error.kind();
        if kind == Kind::NotFound {
            Self::NotThere
        } else if kind == Kind::ConnectionRefused {
            Self::NotListening
        } else if kind == Kind::PermissionDenied {
            Self::Denied
        } else if matches!(kind, Kind::WouldBlock | Kind::TimedOut) {
            Self::Silent
        } else if matches!(kind, Kind::UnexpectedEof | Kind::ConnectionReset | Kind::BrokenPipe) {
            Self::Closed
        } else {
            Self::Io(error)
        }
    }
}
