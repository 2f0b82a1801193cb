//! The guest `unix`: certificates for the SSH host keys of a Unix machine with OpenSSH.
//!
//! One file per procedure. What they may do is in `policy.toml`.

mod certify_host;
mod principals;
mod rekey_host;
mod revoke_users;
mod revoked_keys;
mod trust_host_ca;
mod trust_user_ca;
mod world;
