//! Nobody is locked out: what sshd makes of a change is found out before anything is touched, and
//! what it really serves is seen afterwards. In the order of a run:
//!
//! [`Baseline::take`] → [`Candidate::build`] → [`Candidate::check`] → [`Candidate::keeps_logins`] →
//! [`Candidate::prove`] → (commit, reload) → [`live::verify`].
//!
//! The guard only looks: it changes no live file, reloads nothing and rolls nothing back.

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

pub use baseline::Baseline;
pub use candidate::Candidate;
pub use config::{authorship::Authorship, config_digest, files, keywords::MayChange, krl, revocation};
pub use former_key::FormerKey;
pub use live::{LiveReport, served, verify};
pub use logins::{Certificates, Logins};
pub use proof::Proof;
pub use risks::Risks;
pub use survey::{ListenerOffer, OfferedCertificate, OfferedKey};
