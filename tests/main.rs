//! Scenarios: the shipped binary against real sshds. These are this machine's OpenSSH in private directories, and the
//! OpenSSH of other Debian releases in root file systems of their own.
//!
//! As root each test has its own namespaces (mounts, network, processes), so that it can reach neither this machine's
//! sshd nor another test.
#![expect(clippy::disallowed_methods, reason = "tests start programs, and write what the binary is to find")]
#![expect(clippy::wildcard_enum_match_arm, reason = "of the many kinds of WIT types, a test knows a few")]

// This file holds the attributes that relax clippy for tests.
#[cfg(test)]
mod scenarios;
#[cfg(test)]
#[expect(dead_code, reason = "hostile_main.rs has the tests that use the rest")]
mod support;
