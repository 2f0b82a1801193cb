//! The runtime: loads a component, links it to the capabilities, runs one of its procedures.

pub mod bindings;
pub mod engine;
pub mod guest_error;
pub mod imports;
pub mod limits;
pub mod precompiled;
pub mod procedures;
pub mod run;
pub mod watch;

pub use run::{COMPILING, Component, run};
