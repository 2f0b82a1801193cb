//! For tests that only root can run.

use std::io::Write as _;

/// Whether this is not root, so that the test has to return. Without root the test panics, unless the person who runs
/// it has set `WARDED_SKIP_MISSING=1`; then it is listed as skipped.
pub(crate) fn is_skipped(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return false;
    }
    let skips = std::env::var("WARDED_SKIP_MISSING").as_deref() == Ok("1");
    assert!(skips, "{test} cannot run here: run it as root. With WARDED_SKIP_MISSING=1 such tests are skipped");
    // The harness shows what eprintln! prints only for tests that fail.
    writeln!(std::io::stderr(), "skipped: {test}: only root can do what it needs").unwrap();
    true
}
