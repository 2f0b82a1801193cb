//! Tests that only root can run.

use std::io::Write as _;

/// Whether the tests do not run as root: then the calling test has to return. If so, this fails the test, unless the
/// person who runs it has set `WARDED_SKIP_MISSING=1`; then it lists the test as skipped.
pub(crate) fn is_missing(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return false;
    }
    let skips = std::env::var("WARDED_SKIP_MISSING").as_deref() == Ok("1");
    assert!(skips, "{test} cannot run here: run it as root. With WARDED_SKIP_MISSING=1 such tests are skipped");
    // The test harness shows the output of `eprintln!` only for failed tests.
    writeln!(std::io::stderr(), "skipped: {test}: only root can do what it needs").unwrap();
    true
}
