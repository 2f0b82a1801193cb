//! The guest `bsd`: certificates for the SSH host keys of FreeBSD, OPNsense and pfSense.
//!
//! It only writes files and reloads sshd. Where the system generates sshd's configuration, the lines go to a place that
//! survives that: OPNsense's drop-in, and `/etc/sshd_extra` on pfSense. What the procedures may do is in `policy.toml`.

mod certify_host;
mod extra;
mod place;
mod remove;
mod trust_user_ca;
mod world;
