//! Why an agent did not do what it was asked.

use super::exchange::{MAX_ANSWER, PATIENCE};
use std::io;

/// Why an agent did not do what it was asked. Each `Display` ends the sentence "the agent at SOCKET …".
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The socket does not exist.
    #[error("is gone: there is no socket of that name")]
    NotThere,
    /// Nothing listens there.
    #[error("has ended: nothing listens at its socket")]
    NotListening,
    /// The path exists, but is not a socket.
    #[error("is not a socket, but another kind of file")]
    NotASocket,
    /// The agent is locked: it lists nothing and does nothing until it is unlocked.
    #[error("is locked: it does not list its keys")]
    Locked,
    /// This user may not connect to the socket.
    #[error("does not let this user connect")]
    Denied,
    /// A process of another user listens there; nothing was sent.
    #[error("belongs to another user (uid {uid}), who could read a private key that is sent to it")]
    OtherUser {
        /// The numeric user ID.
        uid: u32,
    },
    /// The connection failed.
    #[error("cannot be used: {0}")]
    Io(#[source] io::Error),
    /// The agent did not answer in time.
    #[error("did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// The agent closed the connection before it had answered.
    #[error("closed the connection without an answer")]
    Closed,
    /// The announced answer is longer than any list of identities.
    #[error("announced an answer of {length} bytes; at most {MAX_ANSWER} are read")]
    Oversized {
        /// The announced length.
        length: u32,
    },
    /// The answer is truncated or damaged.
    #[error("gave an answer that is damaged")]
    Malformed,
    /// The answer is not one that this request can have.
    #[error("gave an unexpected answer (message type {number})")]
    Unexpected {
        /// The answer's message number in the protocol.
        number: u8,
    },
    /// The agent refuses; the protocol gives no reason.
    #[error("refused")]
    Refused,
    /// The agent does not list its identities.
    #[error("refuses to list its keys")]
    Unlisted,
    /// The agent does not sign: it does not have the key, or is not allowed to use it.
    #[error("does not sign with this key")]
    Unsigned,
    /// The signature was made with another key, or over another message.
    #[error("gave a signature that was not made with this key")]
    WrongSignature,
    /// The request cannot be encoded as the protocol requires.
    #[error("was not asked: this certificate cannot be encoded for an agent exactly as the CA signed it")]
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
