//! The guest `truenas`: certificates for the SSH host keys of TrueNAS.
//!
//! The middleware generates sshd's configuration from stored settings, and one of these, `options`, is free text of the
//! administrator's. Each procedure puts Warded's block there and into the generated file, so that the middleware
//! generates the bytes that are already in place. One file per procedure; what they may do is in `policy.toml`.

mod appliance;
mod block;
mod certify_host;
mod remove;
mod stored;
mod trust_user_ca;
mod world;
