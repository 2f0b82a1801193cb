//! What goes wrong, and when.

use super::subject::Task;

/// A moment of a run, which the program in sshd's place can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// sshd is asked about the machine's own configuration: the procedure, or the look before an undo.
    Asked,
    /// The result is checked, before the CA is asked.
    Candidate,
    /// The result is proved by handshakes, with the certificates that the CA gave.
    Proof,
    /// The files are in place, and sshd is about to be told.
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

/// Where a run is killed, or a file is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    At(Moment),
    /// Between two files.
    Exchange,
    /// sshd has been told, and nobody has seen yet what it serves.
    Live,
}

impl Stage {
    /// Whether the run has a watchdog there, which may not watch yet: it is started before the proof, but
    /// by a run that asks the CA for nothing but its keys.
    pub(super) fn has_watchdog(self, task: Task) -> bool {
        self.is_watched() || (self == Self::At(Moment::Proof) && task != Task::TrustUsers)
    }

    /// Whether the run is watched there: since the journal and all new files are written, and nothing has
    /// changed; and until it is kept.
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

/// What a CA may get wrong.
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
    /// It signs with a new key, and lists the old one as well.
    NewSigner,
    /// It is gone when it is asked, and was there before.
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

    /// What is said of it.
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
    /// Room for so many pages of 4 KiB is left.
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

    /// Whether it takes two files that are exchanged.
    pub(super) fn is_between_files(self) -> bool {
        matches!(self, Self::Edited(Stage::Exchange) | Self::Killed(Stage::Exchange))
    }

    /// The head of its column.
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
