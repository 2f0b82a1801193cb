//! All of Warded that needs no WebAssembly and no command line: the machine, the CA, the audit, sshd's
//! guard, transactions, policies and change sets.
//!
//! Nothing here decides when something is done, or prints: that is the pipeline's and the CLI's, in the
//! crate `warded`. `docs/ARCHITECTURE.md` draws the modules.

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
