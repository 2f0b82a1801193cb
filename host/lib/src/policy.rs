//! Policies: which procedures a component has, and what each of them may do.
//!
//! A policy is plain data. Nothing here touches the machine or runs a component.

pub mod authorize;
pub mod condition;
pub mod file;
pub mod lines;
pub mod need;
pub mod pattern;
mod plain;
pub mod setting;
pub mod widening;
