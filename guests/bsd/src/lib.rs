//! The guest `bsd`: certificates for the SSH host keys of FreeBSD, OPNsense and pfSense.
//!
//! All that it does is files and a reload. Where sshd's configuration is generated, the lines go to a place that lasts:
//! OPNsense's drop-in, and `/etc/sshd_extra` on pfSense. What the procedures may do is in `policy.toml`.

mod certify_host;
mod extra;
mod place;
mod remove;
mod trust_user_ca;
mod world;
