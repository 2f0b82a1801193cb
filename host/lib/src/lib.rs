//! Everything in Warded that needs neither WebAssembly nor a command line: access to the machine, the CA, the audit,
//! the guard of sshd, transactions, policies and change sets.
//!
//! This crate does not decide when something happens, and it prints nothing: that is up to the pipeline and the CLI,
//! in the crate `warded`. `docs/ARCHITECTURE.md` draws the modules.

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests make what they test on"))]

pub mod agent;
pub mod audit;
pub mod ca;
pub mod change_set;
pub mod config;
pub mod digest;
pub mod error;
pub mod guard;
pub mod handshake;
pub mod machine;
pub mod moment;
pub mod name;
pub mod policy;
pub mod probe;
pub mod registry;
pub mod resolver;
#[cfg(feature = "sso")]
pub mod sso;
pub mod text;
pub mod transaction;
