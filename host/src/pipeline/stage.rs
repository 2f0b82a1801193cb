//! What a run is doing: reported while it goes on, to the functions that the caller of the pipeline gave.

use std::fmt;

/// A stage that may take long enough for a person to wonder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// What sshd serves and reads now.
    Baseline,
    /// The configuration as it would be.
    Check,
    /// Certificates from the CA.
    Certify,
    /// Handshakes with a private sshd that reads the result.
    Prove,
    /// The files, one after the other.
    Commit,
    /// A program of the appliance.
    Run,
    Reload,
    /// What sshd serves after the reload.
    Verify,
    /// Everything back as it was.
    RollBack,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => "looking at sshd as it is",
            Self::Check => "checking the result",
            Self::Certify => "asking the CA",
            Self::Prove => "proving the result",
            Self::Commit => "changing",
            Self::Run => "running a program",
            Self::Reload => "reloading",
            Self::Verify => "proving it live",
            Self::RollBack => "rolling back",
        })
    }
}

/// Receives what a run reports. The pipeline itself prints nothing.
pub trait Reporter {
    /// A stage begins.
    fn stage(&self, stage: Stage);
    /// Something to know besides the result.
    fn note(&self, text: &str);
}
