//! Keeps a change from locking anybody out. Before anything is touched, the guard finds out what sshd would make of
//! the change; afterwards it checks what sshd really serves. A run calls these in order:
//!
//! [`Baseline::take`] → [`Candidate::build`] → [`Candidate::check`] → [`Candidate::keeps_logins`] →
//! [`Candidate::prove`] → (commit, reload) → [`live::verify`].
//!
//! The guard only observes: it changes no live file, reloads nothing and rolls nothing back.

pub mod baseline;
pub mod bystanders;
pub mod candidate;
pub mod check;
pub mod client;
pub mod config;
pub mod former_key;
pub mod known_hosts;
pub mod live;
pub mod logins;
pub mod no_sshd;
pub mod pins;
pub mod proof;
pub mod risks;
pub mod survey;
pub mod unread;

pub use baseline::Baseline;
pub use candidate::Candidate;
pub use config::{authorship::Authorship, config_digest, files, keywords::MayChange, krl, revocation};
pub use former_key::FormerKey;
pub use live::{LiveReport, served, verify};
pub use logins::{Certificates, Logins};
pub use proof::Proof;
pub use risks::Risks;
pub use survey::{ListenerOffer, OfferedCertificate, OfferedKey};
pub use unread::unread;
