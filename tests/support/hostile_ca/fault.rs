//! The one thing that a CA does wrong.

use std::time::Duration;

/// What is wrong; everything else is as it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    Nothing,
    /// Connections, whatever is asked.
    Connection(Connection),
    /// How requests are answered whose path begins so.
    Answer(&'static str, Manner),
    /// The certificates that it makes.
    Certificate(Lie),
    /// The root that it gives out is not the one that was asked for.
    OtherRoot,
    /// This many iterations stand in the header of the encrypted key.
    Iterations(u64),
    /// Its list of provisioners has always one more page.
    Pages,
    /// Its clock, by seconds. Its certificates are right.
    Clock(i64),
}

/// What is wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Connection {
    /// It is closed at once.
    Closed,
    /// Nothing comes, ever.
    Silent,
    /// Something else than TLS comes.
    Plain,
    /// The server's certificate is of another root.
    OtherRoot,
    /// The server's certificate has another name.
    OtherName,
    /// The server's certificate has expired.
    Expired,
}

/// How an answer comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    /// With this status, and a page for people.
    Page(u16),
    /// With this status, and the text that a real CA gives for it.
    Refused(u16),
    /// With 503, and the number of seconds after which to ask again.
    Busy(u32),
    /// To be asked for elsewhere: at this address.
    Redirect(&'static str),
    /// As it should be, but for the last half of the body: the message says that it is whole.
    Truncated,
    /// As it should be, and the connection ends in the middle.
    Cut,
    /// With a body of 64 KiB blocks of blanks, without end.
    Endless,
    /// With header lines, without end.
    EndlessHead,
    /// Byte by byte, with so much time between two of them.
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
    /// It is of the other kind: a user's for a host, a host's for a user.
    OtherKind,
    /// It has no principals, and so is valid for every name.
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
    /// It is nothing that could be one.
    Noise,
    /// It is not there.
    Missing,
}
