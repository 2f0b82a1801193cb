//! Warded: SSH certificates by sandboxed procedures that are planned, proved and undone.
//!
//! Data flows one way: `cli` → `pipeline` → `sandbox` → `broker` → `warded_lib`. What needs neither
//! WebAssembly nor a command line is in that crate. `docs/ARCHITECTURE.md` draws it.

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests make what they test on"))]

pub mod assessment;
pub mod broker;
pub mod cli;
pub mod components;
pub mod context;
pub mod enrolment;
pub mod outcomes;
pub mod pipeline;
pub mod public_status;
pub mod publishing;
pub mod sandbox;
pub mod trial;
