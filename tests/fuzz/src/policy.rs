//! Policies, without the store: that has the bundled components in it.

pub mod authorize;
pub mod condition;
pub mod file;
pub mod name;
pub mod need;
pub mod pattern;
mod plain;
pub mod setting;
