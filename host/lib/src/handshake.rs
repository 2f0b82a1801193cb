//! SSH up to the verified host key, and as much of user authentication as a proof of a server needs,
//! in this process: what the `ssh` program would do in one process a question.
//!
//! A [`Session`] reads the server's lists, makes one exchange for each host key algorithm that it is asked for,
//! and can log in between. [`serve`] is the other role, for one client. A [`Fault`] says why something was not
//! proved, and its [`Verdict`] what that means: ask again, ask the `ssh` program, or believe it.
//!
//! `sntrup761x25519-sha512` is not spoken: its one crate in Rust (`sntrup761`) is a single author's and was not reviewed, and a
//! server has to allow no other method before that matters. Such a server is asked by the `ssh` program.
//!
//! The specifications are RFC 4251 to 4254, 5656, 8308, 8332, 8731 and OpenSSH's PROTOCOL files. Possession of a
//! host key is proved; whether a certificate is any good is the caller's to judge.

mod algorithm;
mod auth;
mod cipher;
mod client;
mod fault;
mod kex;
mod keys;
mod negotiate;
mod proof;
mod server;
mod stream;
mod survey;
mod transport;
mod version;
mod wire;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use algorithm::{HostKeyAlgorithm, KeyKind};
pub use auth::{Login, Query, Refusal};
pub use client::{Server, Session};
pub use fault::{Choice, Fault, Verdict};
pub use proof::{HostKey, checked, kind_of};
pub use server::{ClientReport, Identity, serve};
pub use stream::{Limits, Stream};
pub use survey::{Exchange, Target, dial, prove, survey};
#[cfg(test)]
pub(crate) use {proof::sign, testing::key as test_key};
