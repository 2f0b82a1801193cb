//! Which login this process belongs to: to tell a new one from the one that made a change.

use std::{env, fs};

/// What tells this login from others; none where nothing does (no audit session, no connection).
#[must_use]
pub fn current() -> Option<String> {
    // Set by pam_loginuid once for each login, and kept across su and sudo.
    let session = fs::read_to_string("/proc/self/sessionid").ok();
    let session = session.map(|text| text.trim().to_owned()).filter(|id| !id.is_empty() && id != UNSET);
    let connection = || env::var("SSH_CONNECTION").ok().filter(|value| !value.is_empty());
    session.map(|id| format!("session {id}")).or_else(|| connection().map(|value| format!("connection {value}")))
}

/// `(uint32_t) -1`: no audit session.
const UNSET: &str = "4294967295";
