//! The guest cabinet.

mod certify_host;
mod world;
