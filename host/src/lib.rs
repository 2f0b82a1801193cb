//! Warded: SSH certificates by sandboxed procedures that are planned, proved and undone.
//!
//! Data flows one way: `cli` → `pipeline` → `runtime` → `capability` → `broker` → `operation` →
//! {`change_set`, `ca`, `machine`}; then `guard` and `transaction` carry the reviewed change set
//! out. `docs/ARCHITECTURE.md` draws it.

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests make what they test on"))]

pub mod audit;
pub mod broker;
pub mod ca;
pub mod change_set;
pub mod cli;
pub mod components;
pub mod config;
pub mod context;
pub mod digest;
pub mod enrolment;
pub mod error;
pub mod guard;
pub mod machine;
pub mod name;
pub mod pipeline;
pub mod policy;
pub mod sandbox;
pub mod text;
pub mod transaction;
