//! Warded: SSH certificates, by sandboxed procedures that Warded plans, proves and can undo.
//!
//! Data flows one way: `cli` → `pipeline` → `sandbox` → `broker` → `warded_lib`. The crate `warded_lib` holds
//! everything that needs neither WebAssembly nor a command line. `docs/ARCHITECTURE.md` has a diagram.

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
