//! The one fault of a hostile CA.

use std::time::Duration;

/// What is wrong; everything else is correct.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    Nothing,
    /// All connections, whatever the request.
    Connection(Connection),
    /// The answers to requests whose path begins with this.
    Answer(&'static str, Manner),
    /// The certificates that it issues.
    Certificate(Lie),
    /// It returns another root than the one that was asked for.
    OtherRoot,
    /// The header of its encrypted key names this many iterations.
    Iterations(u64),
    /// Its list of provisioners always has one more page.
    Pages,
    /// Its clock is wrong by so many seconds. Its certificates are right.
    Clock(i64),
}

/// What is wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Connection {
    /// It is closed at once.
    Closed,
    /// The server never sends anything.
    Silent,
    /// The server sends something else than TLS.
    Plain,
    /// The server's certificate is from another root.
    OtherRoot,
    /// The server's certificate is for another name.
    OtherName,
    /// The server's certificate has expired.
    Expired,
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    /// With this status, and an HTML page for people.
    Page(u16),
    /// With this status, and the text that a real CA gives for it.
    Refused(u16),
    /// With status 503, and the number of seconds after which to ask again.
    Busy(u32),
    /// With a redirect to this address.
    Redirect(&'static str),
    /// A correct answer without the second half of the body; the message says that it is complete.
    Truncated,
    /// A correct answer, but the connection ends in the middle.
    Cut,
    /// With an endless body of 64 KiB blocks of blanks.
    Endless,
    /// With endless header lines.
    EndlessHead,
    /// Byte by byte, with so much time between two bytes.
    Slow(Duration),
    /// Not at all: the connection stays open.
    Silent,
    /// Not at all: the connection is closed.
    Closed,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lie {
    /// It is for another key.
    OtherKey,
    /// It is of the other kind: a user certificate for a host, or a host certificate for a user.
    OtherKind,
    /// It has no principals, and is therefore valid for every name.
    NoPrincipals,
    /// It has one more principal than was asked for.
    ExtraPrincipal,
    /// It has another principal than those that were asked for.
    OtherPrincipal,
    /// It is signed by a key that is not among the CA's.
    UnknownSigner,
    /// Its signature is wrong.
    BadSignature,
    /// It is signed with SHA-1.
    Sha1,
    /// It has expired.
    Expired,
    NotYetValid,
    /// It never expires.
    Forever,
    /// It is a plain public key.
    PlainKey,
    /// It is not a certificate or key at all.
    Noise,
    /// There is none.
    Missing,
}
