//! Why a host key was not proved.

use super::algorithm::HostKeyAlgorithm;
use std::{fmt, io};

/// Why a host key was not proved, or why a question was not answered.
///
/// Bytes in it are the server's own and may hold anything; its `Display` writes them in escaped ASCII.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The connection ended. `said` is what the server wrote where its version was awaited.
    #[error("the server closed the connection{}", PeerWords(.said))]
    Closed {
        /// The last line before the version line, or nothing.
        said: Vec<u8>,
    },
    /// The connection was reset.
    #[error("the connection was reset")]
    Reset,
    /// The deadline passed.
    #[error("the server did not answer in time")]
    Timeout,
    /// The connection could not be made or used.
    #[error("the connection failed: {0}")]
    Io(#[source] io::Error),
    /// The server ended the session with a reason.
    #[error("the server disconnected (reason {code}){}", PeerWords(.reason))]
    Disconnected {
        /// The number of RFC 4253, section 11.1.
        code: u32,
        /// The server's words.
        reason: Vec<u8>,
    },
    /// The server allows no algorithm that this module implements.
    #[error("no common {choice}: the server allows {}", List(.allowed))]
    NotSpoken {
        /// What the two sides had to agree on.
        choice: Choice,
        /// All that the server allows.
        allowed: Vec<String>,
    },
    /// The server speaks another version of the protocol.
    #[error("the server does not speak SSH 2: it calls itself {}", .version.escape_ascii())]
    Version {
        /// Its version line.
        version: Vec<u8>,
    },
    /// A name that is not a host key algorithm which Warded can ask for, such as `ssh-rsa` with its SHA-1.
    #[error("host keys by {} cannot be asked for", .name.escape_default())]
    Unsupported { name: String },
    /// A key of a size that this module cannot check.
    #[error("an RSA key of {bits} bits cannot be checked")]
    KeySize {
        /// Length of its modulus.
        bits: usize,
    },
    /// A packet longer than RFC 4253 allows.
    #[error("a packet of {length} bytes is longer than SSH allows")]
    Oversized {
        /// Its announced length.
        length: u64,
    },
    /// More bytes came than the caller allowed.
    #[error("the server sent more than {allowed} bytes")]
    Budget {
        /// The caller's limit.
        allowed: usize,
    },
    /// The server does not offer the wanted host key algorithm, so it was not asked.
    #[error("the server does not offer a host key by {algorithm}")]
    NotOffered { algorithm: HostKeyAlgorithm },
    /// A message that does not follow the protocol.
    #[error("{what} is malformed")]
    Malformed {
        /// The message or field.
        what: &'static str,
    },
    /// A message that is not allowed at this point.
    #[error("message {number} came instead of {awaited}")]
    Unexpected {
        number: u8,
        /// What should have come.
        awaited: &'static str,
    },
    /// A packet whose authentication code is wrong.
    #[error("a packet is not authentic")]
    Integrity,
    /// The other side's share of a key exchange is not valid.
    #[error("the other side's public value is not valid for {kex}")]
    Share {
        /// The key exchange method.
        kex: &'static str,
    },
    /// The server presented a key of another type than the one agreed on.
    #[error("the server presented a key of type {} where {asked} was agreed on", .presented.escape_ascii())]
    KeyType {
        /// What was agreed on.
        asked: HostKeyAlgorithm,
        /// The type of the key that came.
        presented: Vec<u8>,
    },
    /// The signature over this exchange is not by the presented key.
    #[error("the server's signature by {algorithm} is wrong: it does not hold the key that it presented")]
    Signature {
        /// The algorithm agreed on.
        algorithm: HostKeyAlgorithm,
    },
    /// The caller's own private key could not sign.
    #[error("the given private key cannot sign")]
    Unable,
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    Random,
}

/// What a [`Fault`] means for the question that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was learnt; the question can be asked again.
    Unknown,
    /// This module cannot ask the question; the `ssh` program might.
    Incapable,
    /// The server gave the wrong answer.
    Wrong,
}

/// An algorithm that the two sides of a key exchange negotiate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The key exchange method.
    Kex,
    /// The host key algorithm. Only in the server's role can there be none in common.
    HostKey,
    /// The cipher, in either direction.
    Cipher,
    /// The message authentication code, in either direction.
    Mac,
    /// The compression, which has to be none.
    Compression,
}

impl Fault {
    /// What the fault means for the question that was asked.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Closed { .. } | Self::Reset | Self::Timeout | Self::Io(_) | Self::Disconnected { .. } => {
                Verdict::Unknown
            }
            Self::NotSpoken { .. }
            | Self::Version { .. }
            | Self::Unsupported { .. }
            | Self::KeySize { .. }
            | Self::Oversized { .. }
            | Self::Budget { .. }
            | Self::Unable
            | Self::Random => Verdict::Incapable,
            Self::NotOffered { .. }
            | Self::Malformed { .. }
            | Self::Unexpected { .. }
            | Self::Integrity
            | Self::Share { .. }
            | Self::KeyType { .. }
            | Self::Signature { .. } => Verdict::Wrong,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        if matches!(error.kind(), Kind::WouldBlock | Kind::TimedOut) {
            Self::Timeout
        } else if matches!(error.kind(), Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe) {
            Self::Reset
        } else if error.kind() == Kind::UnexpectedEof {
            Self::Closed { said: Vec::new() }
        } else {
            Self::Io(error)
        }
    }
}

impl From<ring::error::Unspecified> for Fault {
    /// Only calls that need random numbers fail in this way.
    fn from(_: ring::error::Unspecified) -> Self {
        Self::Random
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kex => "key exchange method",
            Self::HostKey => "host key algorithm",
            Self::Cipher => "cipher",
            Self::Mac => "message authentication code",
            Self::Compression => "compression",
        })
    }
}

/// The other side's words, if there are any.
struct PeerWords<'a>(&'a [u8]);

impl fmt::Display for PeerWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0.escape_ascii()) }
    }
}

/// A list of names, which were checked to be printable ASCII when they were read.
struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("none") } else { f.write_str(&self.0.join(", ")) }
    }
}
