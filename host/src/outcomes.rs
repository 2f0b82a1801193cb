//! What the state directory remembers besides the runs: how the last renewal ended, what proved the last change, and
//! which run was rolled back without its operator. Each is one file. A missing or damaged file counts as nothing known,
//! and no run depends on it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{fmt, path::PathBuf};
use warded_lib::{
    error::Exit,
    machine::{file_identity::FileIdentity, private::StateDir, sshd::Sshd},
    moment,
};

/// An outcome that the state directory keeps in a file of its own.
pub trait Outcome: Serialize + DeserializeOwned {
    /// The name of its file in the state directory.
    const FILE: &'static str;

    /// Reads the outcome from the state directory.
    #[must_use]
    fn load(state: &StateDir) -> Option<Self> {
        serde_json::from_slice(&state.read(Self::FILE).ok()??).ok()
    }

    /// Removes the file, without waiting for the disk.
    fn forget(state: &StateDir) {
        drop(state.remove(Self::FILE));
    }

    /// Saves the outcome. A full disk is no error here, since what is reported has already happened, and no run waits
    /// for the disk.
    fn save(&self, state: &StateDir) {
        drop(serde_json::to_vec_pretty(self).map(|text| state.write_unsynced(Self::FILE, &text, 0o600)));
    }
}

/// How the last `warded renew` ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRenewal {
    pub at: Timestamp,
    /// Its exit code.
    pub exit: u8,
    /// The exit code as a word; `None` if the renewal succeeded.
    pub error: Option<Failure>,
    /// Why the renewal failed, or what it left out and why, in one line.
    pub message: Option<String>,
}

/// Why a renewal did not succeed, as far as every user may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// It failed, or was rolled back.
    Failed,
    /// Something that the renewal needs does not exist, such as its configuration.
    Usage,
    /// Some certificates were put off, or could not be renewed.
    Attention,
    /// It was refused, to keep the machine safe.
    Refused,
    /// The CA did not answer.
    Unreachable,
}

impl Failure {
    fn of(exit: Exit) -> Option<Self> {
        match exit {
            Exit::Done | Exit::Pending => None,
            Exit::Failed => Some(Self::Failed),
            Exit::Usage | Exit::NoAuthority => Some(Self::Usage),
            Exit::Degraded => Some(Self::Attention),
            Exit::Refused => Some(Self::Refused),
            Exit::Unreachable => Some(Self::Unreachable),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "failed",
            Self::Usage => "could not begin",
            Self::Attention => "did not renew everything",
            Self::Refused => "was refused",
            Self::Unreachable => "did not reach the CA",
        })
    }
}

impl LastRenewal {
    /// A renewal that ends now, with what failed or was left out.
    #[must_use]
    pub fn now(exit: Exit, message: Option<String>) -> Self {
        Self { at: Timestamp::now(), exit: exit.code(), error: Failure::of(exit), message }
    }
}

impl Outcome for LastRenewal {
    const FILE: &'static str = "last-renewal.json";
}

/// The newest run whose result was proved with an sshd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastProof {
    pub run: u64,
    pub at: Timestamp,
    /// The version of OpenSSH that proved it.
    pub openssh: String,
    /// The program that has this version; `None` if that is not certain, or the version is not known.
    #[serde(default)]
    pub program: Option<FileIdentity>,
    /// When the running sshd was last known to have read the host keys and the configuration on disk, or when the
    /// operator answered for that; `None` if neither is known.
    #[serde(default)]
    pub read_at: Option<Timestamp>,
    /// The host keys that existed at that time.
    #[serde(default)]
    pub host_keys: Vec<PathBuf>,
}

impl Outcome for LastProof {
    const FILE: &'static str = "last-proof.json";
}

impl LastProof {
    /// Tells `sshd` its version, so that it need not run the program, if this proof was made with the same program.
    pub fn tell_version(&self, sshd: &Sshd) {
        if let Some(program) = &self.program {
            sshd.has_version(&self.openssh, program);
        }
    }
}

/// The newest run that was rolled back after its process had ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRollBack {
    pub run: u64,
    pub procedure: String,
    pub at: Timestamp,
    pub why: RollbackReason,
}

impl Outcome for LastRollBack {
    const FILE: &'static str = "last-roll-back.json";
}

impl fmt::Display for LastRollBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, procedure, at, why } = self;
        let at = moment::when(*at, Timestamp::now());
        match why {
            RollbackReason::Unconfirmed => write!(f, "run {run} was not confirmed in time and was rolled back {at}"),
            RollbackReason::ShutDown | RollbackReason::Died | RollbackReason::Hung | RollbackReason::Interrupted => {
                write!(f, "run {run} ({procedure}) was rolled back {at}: {why}")
            }
        }
    }
}

/// Why another process than the run's own rolled it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RollbackReason {
    /// Nobody confirmed it in time.
    Unconfirmed,
    /// The machine went down before anybody confirmed it.
    ShutDown,
    /// Its process ended early; the watchdog saw that.
    Died,
    /// A stage took too long.
    Hung,
    /// Nothing was watching it any more, as after a power cut.
    Interrupted,
}

impl fmt::Display for RollbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unconfirmed => "nobody confirmed it in time",
            Self::ShutDown => "the machine went down before it was confirmed",
            Self::Died => "the run ended before it was complete",
            Self::Hung => "the run hung",
            Self::Interrupted => "it had been interrupted",
        })
    }
}
