//! What goes wrong in a run, and when.

use super::subject::Task;

/// A moment of a run that the stand-in for sshd can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Warded asks sshd about the machine's own configuration, in the procedure or in the look before an undo.
    Asked,
    /// Warded checks the candidate, before it asks the CA.
    Candidate,
    /// Warded proves the candidate by handshakes, with the certificates from the CA.
    Proof,
    /// The files are in place, and Warded is about to tell sshd.
    Reload,
}

impl Moment {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Candidate => "candidate",
            Self::Proof => "proof",
            Self::Reload => "reload",
        }
    }
}

/// The point at which a run is killed, or a file is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    At(Moment),
    /// Between two files.
    Exchange,
    /// Warded has told sshd to reload, and has not yet looked at what sshd serves.
    Live,
}

impl Stage {
    /// Whether the run has a watchdog at this stage, possibly one that does not watch yet. A run starts its watchdog
    /// before the proof, unless it asks the CA only for its keys.
    pub(super) fn has_watchdog(self, task: Task) -> bool {
        self.is_watched() || (self == Self::At(Moment::Proof) && task != Task::TrustUsers)
    }

    /// Whether the watchdog watches the run at this stage: it does from the time when the journal and all new files are
    /// written and nothing has changed, until the change is kept.
    pub(super) fn is_watched(self) -> bool {
        match self {
            Self::At(Moment::Asked | Moment::Candidate | Moment::Proof) => false,
            Self::At(Moment::Reload) | Self::Exchange | Self::Live => true,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::At(moment) => moment.word(),
            Self::Exchange => "between files",
            Self::Live => "sshd told",
        }
    }
}

/// What a CA may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    OtherKey,
    User,
    Nameless,
    OtherName,
    OtherSigner,
    Expired,
    Early,
    Altered,
    /// The CA signs with a new key, and still lists the old one.
    NewSigner,
    /// The CA answered before, and no longer does when it is asked for a certificate.
    Silent,
}

impl Lie {
    pub(super) const ALL: [Self; 10] = [
        Self::OtherKey,
        Self::User,
        Self::Nameless,
        Self::OtherName,
        Self::OtherSigner,
        Self::Expired,
        Self::Early,
        Self::Altered,
        Self::NewSigner,
        Self::Silent,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::OtherKey => "key",
            Self::User => "user",
            Self::Nameless => "nameless",
            Self::OtherName => "name",
            Self::OtherSigner => "signer",
            Self::Expired => "expired",
            Self::Early => "early",
            Self::Altered => "altered",
            Self::NewSigner => "new signer",
            Self::Silent => "says nothing",
        }
    }

    /// What Warded says about it.
    pub(super) fn says(self) -> &'static str {
        match self {
            Self::OtherKey => "it is for another key",
            Self::User => "it is a user certificate",
            Self::Nameless => "it names no principal",
            Self::OtherName => "is missing",
            Self::OtherSigner => "as its signer, which is not a key of this CA",
            Self::Expired => "it expired at",
            Self::Early => "it holds only from",
            Self::Altered => "its signature is not the CA's",
            Self::NewSigner => "--accept-risk=new-ca-key",
            Self::Silent => "cannot be reached",
        }
    }
}

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Nothing,
    CaGone,
    CaLies(Lie),
    /// This many pages of 4 KiB are left free.
    DiskFull(u64),
    ReadOnly,
    Edited(Stage),
    HungUp,
    Killed(Stage),
}

impl Condition {
    pub(super) fn all() -> Vec<Self> {
        let moments = [Moment::Asked, Moment::Candidate, Moment::Proof, Moment::Reload];
        let mut all = vec![Self::Nothing, Self::CaGone];
        all.extend(Lie::ALL.map(Self::CaLies));
        all.extend([Self::DiskFull(0), Self::DiskFull(16), Self::ReadOnly]);
        let stages = moments.map(Stage::At).into_iter().chain([Stage::Exchange, Stage::Live]);
        all.extend(stages.clone().map(Self::Edited));
        all.push(Self::HungUp);
        all.extend(stages.map(Self::Killed));
        all
    }

    /// Whether the condition needs a change that exchanges two files.
    pub(super) fn is_between_files(self) -> bool {
        matches!(self, Self::Edited(Stage::Exchange) | Self::Killed(Stage::Exchange))
    }

    /// The heading of its column.
    pub(super) fn name(self) -> String {
        match self {
            Self::Nothing => "clean".to_owned(),
            Self::CaGone => "CA gone".to_owned(),
            Self::CaLies(lie) => format!("CA lies: {}", lie.word()),
            Self::DiskFull(pages) => format!("disk full, {} KiB left", pages * 4),
            Self::ReadOnly => "directory read-only".to_owned(),
            Self::Edited(stage) => format!("edited: {}", stage.word()),
            Self::HungUp => "terminal hung up".to_owned(),
            Self::Killed(stage) => format!("killed: {}", stage.word()),
        }
    }
}
