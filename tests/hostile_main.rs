//! Hostile guests against the shipped binary. Each case is a trial of its own: `cargo test --release --test hostile --
//! "a link to itself"` runs the cases whose names contain these words, `-- "[paths]"` those of `hostile/paths.rs`, and
//! `-- --list` lists all.
#![expect(clippy::disallowed_methods, reason = "tests start programs, and write what the binary is to find")]
#![expect(clippy::wildcard_enum_match_arm, reason = "of the many kinds of WIT types, a test knows a few")]

fn main() -> std::process::ExitCode {
    hostile::run()
}

// This file holds the attributes that relax clippy for tests.
#[cfg(test)]
mod hostile;
#[cfg(test)]
#[expect(dead_code, reason = "tests/main.rs has the tests that use the rest")]
mod support {
    pub(crate) mod appliance;
    pub(crate) mod calls;
    pub(crate) mod client;
    pub(crate) mod enclosure;
    pub(crate) mod file_system;
    pub(crate) mod files;
    pub(crate) mod guest;
    pub(crate) mod machine;
    pub(crate) mod missing;
    pub(crate) mod network;
    pub(crate) mod odd;
    pub(crate) mod policy;
    pub(crate) mod run;
    pub(crate) mod script;

    pub(crate) use appliance::Appliance;
    pub(crate) use machine::Machine;
    pub(crate) use policy::Grants;
    pub(crate) use run::Run;
}
