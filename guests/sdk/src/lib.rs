//! The SDK for guests of Warded.
//!
//! The modules [`actions`], [`authority`], [`files`], [`keys`], [`log`], [`machine`], [`schedule`], [`services`],
//! [`ssh`] and [`sshd`] are the host's capabilities, as documented in `wit/`. A component imports only the functions
//! that its code calls. The rest of this crate is code that several guests need. It decides over plain data, so that
//! tests need no sandbox.

mod bindings;
pub mod certificate;
mod error;
pub mod host_certificates;
pub mod host_key;
pub mod principal;
mod settings;
pub mod sshd_config;
pub mod user_ca;
mod world;

pub use ::sshd_config::{block, known_hosts, krl, principals, trusted_keys};
pub use bindings::warded::host::types::{Error, Setting};
pub use bindings::warded::host::{actions, authority, files, keys, log, machine, schedule, services, ssh, sshd, types};
pub use settings::Settings;
