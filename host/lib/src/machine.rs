//! The machine: its facts, files, programs and services. The only modules that touch it.

pub mod action;
pub mod bounded;
pub mod control_group;
pub mod core_dump;
pub mod durable;
pub mod exec;
pub mod facts;
pub mod file_identity;
pub mod files;
pub(crate) mod interruption;
pub mod keys;
pub mod login;
pub mod memory;
pub mod named_file;
pub mod ownership;
pub mod path;
pub mod private;
#[cfg(test)]
pub(crate) mod root_only;
pub mod schedule;
pub mod scratch;
pub mod service;
pub mod services;
pub mod signals;
pub mod space;
pub mod ssh;
pub mod sshd;
pub mod terminal;
pub mod trust_store;
pub mod umask;
pub mod users;
pub mod waiting;
