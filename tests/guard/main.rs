//! The guard against a real sshd and a real client.
#![expect(clippy::disallowed_methods, reason = "tests make sshd's files, and change them")]

// This file holds the attributes that relax clippy for tests.
#[cfg(test)]
mod logins;
#[cfg(test)]
mod private_sshd;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod root;
#[cfg(test)]
mod taken_over;
#[cfg(test)]
mod whole_runs;
