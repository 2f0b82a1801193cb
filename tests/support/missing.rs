//! What a test needs and this machine does not have. Such a test fails, whoever runs it. Only where the
//! person who runs it sets `WARDED_SKIP_MISSING=1` does it return early, listed on stderr as skipped; so it does, too, in a
//! clone without the history that it needs.

use super::enclosure::is_root;
use std::{
    env,
    io::{self, Write as _},
    process::Command,
    thread,
};

const SKIP: &str = "WARDED_SKIP_MISSING";

/// Whether this is not root, who alone can make namespaces and mounts: then the test has to return.
pub(crate) fn root() -> bool {
    root_for(&test_name())
}

/// [`root`] for a test whose thread does not have its name.
pub(crate) fn root_for(test: &str) -> bool {
    !is_root() && skipped(test, "it needs namespaces and mounts: run it as root")
}

/// Whether a program is missing, which this package of Debian has: then the test has to return.
pub(crate) fn program(name: &str, package: &str) -> bool {
    let is_there = Command::new(name).arg("--version").output().is_ok();
    !is_there && peer(&format!("it needs {name}: install Debian's package {package}, or run .ci/install as root"))
}

pub(crate) fn strace() -> bool {
    program("strace", "strace")
}

/// What the test runs against is missing, for this reason: the test has to return.
pub(crate) fn peer(why: &str) -> bool {
    skipped(&test_name(), why)
}

/// This checkout lacks the history that the test needs: the test has to return. It fails nowhere, since a shallow clone
/// is a choice, and nothing that could be installed.
pub(crate) fn history(why: &str) {
    list(&test_name(), why);
}

/// Always true, or the test has failed here.
fn skipped(test: &str, why: &str) -> bool {
    let skips = env::var(SKIP).is_ok_and(|value| value == "1");
    assert!(skips, "{test} cannot run here: {why}. With {SKIP}=1 such tests are skipped, and listed");
    list(test, why);
    true
}

fn list(test: &str, why: &str) {
    // The harness shows what eprintln! prints only for tests that fail.
    writeln!(io::stderr(), "skipped: {test}: {why}").unwrap();
}

/// With `--test-threads=1` tests run in the main thread, and the harness prints their names first.
fn test_name() -> String {
    match thread::current().name() {
        Some("main") | None => "this test".to_owned(),
        Some(name) => name.to_owned(),
    }
}
