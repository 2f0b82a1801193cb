//! The sandbox: loads a component, links it to the capabilities that the host offers (`host/`, one
//! file per WIT interface), and runs one of its procedures.

pub mod bindings;
pub mod compiled;
pub mod compiler;
pub mod granting;
pub mod guest_error;
mod host;
pub mod limits;
pub mod precompiled;
pub mod procedures;
pub mod run;
pub mod watch;

pub use run::{COMPILING, Component, run};
