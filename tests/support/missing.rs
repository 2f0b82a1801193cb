//! For tests that need what this machine does not have. Such a test fails, whoever runs it, unless the person who runs
//! it sets `WARDED_SKIP_MISSING=1`: then it returns early, and is listed on stderr as skipped. It also returns early in
//! a clone without the history that it needs.

use super::enclosure::is_root;
use std::{
    env,
    io::{self, Write as _},
    process::Command,
    thread,
};

const SKIP: &str = "WARDED_SKIP_MISSING";

/// Returns whether the test must return because this is not root: only root can make namespaces and mounts.
pub(crate) fn root() -> bool {
    root_for(&test_name())
}

/// The same as [`root`], for a test whose thread does not have the test's name.
pub(crate) fn root_for(test: &str) -> bool {
    !is_root() && skipped(test, "it needs namespaces and mounts: run it as root")
}

/// Returns whether the test must return because this program, from this package of Debian, is missing.
pub(crate) fn program(name: &str, package: &str) -> bool {
    let is_there = Command::new(name).arg("--version").output().is_ok();
    !is_there && peer(&format!("it needs {name}: install Debian's package {package}, or run .ci/install as root"))
}

pub(crate) fn strace() -> bool {
    program("strace", "strace")
}

/// Returns true: the test must return because its peer is missing, for this reason.
pub(crate) fn peer(why: &str) -> bool {
    skipped(&test_name(), why)
}

/// Reports that this checkout lacks the history that the test needs, so that the test must return. It never fails: a
/// shallow clone is a choice, and there is nothing to install.
pub(crate) fn history(why: &str) {
    list(&test_name(), why);
}

/// Returns true, unless it fails the test.
fn skipped(test: &str, why: &str) -> bool {
    let skips = env::var(SKIP).is_ok_and(|value| value == "1");
    assert!(skips, "{test} cannot run here: {why}. With {SKIP}=1 such tests are skipped, and listed");
    list(test, why);
    true
}

fn list(test: &str, why: &str) {
    // The harness shows what eprintln! prints only for failing tests.
    writeln!(io::stderr(), "skipped: {test}: {why}").unwrap();
}

/// With `--test-threads=1`, tests run in the main thread, and the harness has printed their names already.
fn test_name() -> String {
    match thread::current().name() {
        Some("main") | None => "this test".to_owned(),
        Some(name) => name.to_owned(),
    }
}
