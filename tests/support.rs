//! What the tests work with: machines to try things on, clients, guests made on the fly.

pub(crate) mod agent;
pub(crate) mod attributes;
pub(crate) mod booted;
pub(crate) mod calls;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod counts;
pub(crate) mod enclosure;
pub(crate) mod file_system;
pub(crate) mod guest;
pub(crate) mod hostile_ca;
pub(crate) mod https;
pub(crate) mod jwk;
pub(crate) mod machine;
pub(crate) mod member;
pub(crate) mod missing;
pub(crate) mod network;
pub(crate) mod peer;
pub(crate) mod policy;
pub(crate) mod request;
pub(crate) mod run;
pub(crate) mod script;
pub(crate) mod stand_in;
pub(crate) mod step_ca;
pub(crate) mod terminal;
pub(crate) mod trace;
pub(crate) mod wait;
pub(crate) mod x509;

pub(crate) use booted::Booted;
pub(crate) use client::{Client, Knows};
pub(crate) use file_system::FileSystem;
pub(crate) use machine::{Machine, Setup};
pub(crate) use member::Member;
pub(crate) use peer::Peer;
pub(crate) use policy::Grants;
pub(crate) use run::Run;
