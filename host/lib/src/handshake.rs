//! The part of SSH that ends with a verified host key, and as much user authentication as the proof of a server
//! needs. All of it runs in this process; the `ssh` program would need one process per question.
//!
//! A [`Session`] reads the server's algorithm lists, makes one key exchange for each host key algorithm that the
//! caller asks for, and can log in between two of them. [`serve`] plays the server's role for one client. A [`Fault`]
//! says why something was not proved, and its [`Verdict`] what follows from that: ask again, ask the `ssh` program,
//! or believe the answer.
//!
//! `sntrup761x25519-sha512` is not implemented: the only Rust crate for it (`sntrup761`) is a single author's and has
//! not been reviewed, and it matters only where a server allows no other method. Such a server is left to the `ssh`
//! program.
//!
//! The specifications are RFC 4251 to 4254, 5656, 8308, 8332, 8731 and OpenSSH's PROTOCOL files. This module proves
//! possession of a host key; whether a certificate is valid is for the caller to judge.

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
