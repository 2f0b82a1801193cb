//! The guest NAME.

mod set_motd;
mod world;
