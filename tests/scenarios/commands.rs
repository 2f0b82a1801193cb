//! Every command: its exit code, and the object that it prints.

mod interrupted;
mod lifecycle;
mod policies;
mod record;
mod usage;
