//! What a run is doing, reported to the caller of the pipeline while the run is in progress.

use std::fmt;

/// A stage that may take long enough for a person to wonder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Finds what sshd serves and reads now.
    Baseline,
    /// Checks the configuration as it would be.
    Check,
    /// Gets certificates from the CA.
    Certify,
    /// Makes handshakes with a private sshd that reads the result.
    Prove,
    /// Changes the files, one after the other.
    Commit,
    /// Runs a program of the appliance.
    Run,
    Reload,
    /// Checks what sshd serves after the reload.
    Verify,
    /// Puts everything back as it was.
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
    /// Something worth knowing besides the result.
    fn note(&self, text: &str);
}
