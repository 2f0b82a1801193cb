//! The guest `nethserver`: certificates for the SSH host keys of NethServer 7, which generates sshd's configuration
//! from templates.
//!
//! The same marked block stands in a fragment and in the file that the templates generate, so the next event of
//! NethServer generates the bytes that are already there. What the procedures may do is in `policy.toml`.

mod backup;
mod certify_host;
mod generated;
mod remove;
mod trust_user_ca;
mod world;
