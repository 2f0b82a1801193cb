//! Flows through the shipped binary, against real sshds: OpenSSH of this machine in private
//! directories, and OpenSSH of other Debian releases in trees of their own.
//!
//! As root each test has namespaces of its own (mounts, network, processes), so that neither this
//! machine's sshd nor another test is ever in reach.
#![expect(clippy::disallowed_methods, reason = "tests start programs, and write what the binary is to find")]
#![expect(clippy::wildcard_enum_match_arm, reason = "of the many kinds of WIT types, a test knows a few")]

// Attributes for clippy, which asks less of tests: everything here is one.
#[cfg(test)]
mod scenarios;
#[cfg(test)]
#[expect(dead_code, reason = "hostile_main.rs has the tests that use the rest")]
mod support;
