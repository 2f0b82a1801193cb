//! Certificates that stay as long as clients accept them, because the CA signs their successors with a new key. Between their
//! end and the next run, clients that know the new key would be refused, too.

use rustix::termios::isatty;
use std::{env, io, thread, time::Duration};
use warded_lib::ca::now;

/// No run waits for longer, in seconds: it is the period of Warded's own timer.
const LONGEST: u64 = 3600;
/// systemd starts a unit up to so many seconds late.
const LATE: u64 = 60;
/// The clock may be set meanwhile.
const PAUSE: u64 = 30;

/// Whether the end comes before the next run, `rhythm` seconds from now. Only a run that systemd started waits for it: no
/// person waits for that one, and its timer starts no other one meanwhile.
pub(super) fn is_worth_it(end: u64, rhythm: u64) -> bool {
    // systemd.exec(5): only a unit's processes have it; so does a shell in a desktop's terminal, which may be a unit.
    let is_a_unit = env::var_os("INVOCATION_ID").is_some() && !isatty(io::stdin());
    is_a_unit && end.saturating_sub(now()) <= rhythm.min(LONGEST) + LATE
}

/// Waits for the end.
pub(super) fn wait(end: u64) {
    while let Some(left) = end.checked_sub(now()).filter(|left| *left > 0) {
        thread::sleep(Duration::from_secs(left.min(PAUSE)));
    }
}
