//! The guest `nethserver`: certificates for the SSH host keys of NethServer 7, which makes sshd's configuration from
//! templates.
//!
//! The same marked block stands in a fragment and in the file that the templates give. So the next event of NethServer's
//! gives the bytes that are there already. What the procedures may do is in `policy.toml`.

mod backup;
mod certify_host;
mod generated;
mod remove;
mod trust_user_ca;
mod world;
