//! Lines of sshd's configuration: the crate `sshd-config` splits them as sshd does.

pub use sshd_config::line::{Directive, with_arguments};
