//! Warded: SSH certificates by sandboxed procedures that are planned, proved and undone.
//!
//! Data flows one way: `cli` → `runtime` → `capability` → `broker` → `operation` →
//! {`change_set`, `ca`, `machine`}; then `guard` and `transaction` carry the reviewed change set
//! out. `docs/ARCHITECTURE.md` draws it.

pub mod audit;
pub mod ca;
pub mod digest;
pub mod error;
pub mod guard;
pub mod machine;
pub mod text;
pub mod transaction;
