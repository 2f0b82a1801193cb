//! Every command: its exit code, and the JSON object that it prints.

mod lifecycle;
mod policies;
mod record;
mod usage;
