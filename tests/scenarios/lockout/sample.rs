//! The cells that run as a test; `tests/lockout` tries all.

use super::{
    condition::{Condition, Lie, Moment, Stage},
    shape::Shape,
    subject::Task,
};
use crate::support::peer::OLD;

/// A machine of the matrix, and which conditions each command meets on it.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) suite: &'static str,
    pub(super) shape: Shape,
    certify: &'static [Condition],
    renew: &'static [Condition],
    undo: &'static [Condition],
    trust_users: &'static [Condition],
    rekey: &'static [Condition],
    remove: &'static [Condition],
}

/// Every condition occurs in the sample.
pub(super) const SAMPLE: [Sample; 21] = [
    Sample {
        suite: "bullseye",
        shape: Shape::Stock,
        certify: &[Condition::Nothing, Condition::CaLies(Lie::OtherKey), Condition::Killed(Stage::Live)],
        renew: &[Condition::Nothing, Condition::Killed(Stage::Exchange)],
        undo: &[Condition::Nothing],
        trust_users: &[Condition::Nothing, Condition::Killed(Stage::At(Moment::Reload))],
        rekey: &[Condition::Nothing],
        remove: &[Condition::Nothing, Condition::Killed(Stage::Exchange)],
    },
    Sample {
        suite: "bullseye",
        shape: Shape::RootOut,
        certify: &[Condition::Nothing],
        renew: &[Condition::Nothing],
        undo: &[Condition::Killed(Stage::Live)],
        trust_users: &[Condition::Nothing, Condition::Edited(Stage::At(Moment::Reload))],
        rekey: &[Condition::Killed(Stage::Exchange)],
        remove: &[Condition::Nothing],
    },
    Sample {
        suite: "bookworm",
        shape: Shape::RootOut,
        certify: &[Condition::Nothing, Condition::Killed(Stage::Live)],
        renew: &[Condition::Nothing],
        undo: &[Condition::Nothing],
        trust_users: &[Condition::Nothing, Condition::Killed(Stage::Exchange)],
        rekey: &[Condition::Nothing],
        remove: &[Condition::Nothing],
    },
    Sample {
        suite: "trixie",
        shape: Shape::RootOut,
        certify: &[Condition::Nothing],
        renew: &[Condition::Killed(Stage::Exchange)],
        undo: &[Condition::Nothing],
        trust_users: &[Condition::Nothing, Condition::Killed(Stage::Live)],
        rekey: &[Condition::Killed(Stage::Exchange)],
        remove: &[Condition::Nothing, Condition::Killed(Stage::Live)],
    },
    Sample {
        suite: "bookworm",
        shape: Shape::NoInclude,
        certify: &[
            Condition::CaLies(Lie::Early),
            Condition::Edited(Stage::At(Moment::Reload)),
            Condition::Killed(Stage::Live),
        ],
        renew: &[
            Condition::CaLies(Lie::Nameless),
            Condition::ReadOnly,
            Condition::Killed(Stage::At(Moment::Candidate)),
        ],
        undo: &[Condition::Nothing, Condition::Edited(Stage::Exchange)],
        trust_users: &[Condition::Nothing, Condition::Killed(Stage::Exchange)],
        rekey: &[Condition::Nothing],
        remove: &[Condition::Nothing],
    },
    Sample {
        suite: "bookworm",
        shape: Shape::SeveralDropIns,
        certify: &[
            Condition::CaLies(Lie::OtherKey),
            Condition::CaLies(Lie::Silent),
            Condition::DiskFull(0),
            Condition::HungUp,
        ],
        renew: &[
            Condition::CaLies(Lie::Expired),
            Condition::Edited(Stage::At(Moment::Proof)),
            Condition::Killed(Stage::Exchange),
        ],
        undo: &[
            Condition::DiskFull(16),
            Condition::Edited(Stage::At(Moment::Asked)),
            Condition::Killed(Stage::At(Moment::Asked)),
        ],
        trust_users: &[Condition::CaGone, Condition::Killed(Stage::Live)],
        rekey: &[Condition::Killed(Stage::Exchange)],
        remove: &[Condition::Killed(Stage::Exchange)],
    },
    Sample {
        suite: "trixie",
        shape: Shape::MatchAtTheEnd,
        certify: &[
            Condition::CaGone,
            Condition::CaLies(Lie::Early),
            Condition::CaLies(Lie::OtherSigner),
            Condition::Edited(Stage::At(Moment::Reload)),
            Condition::Killed(Stage::At(Moment::Reload)),
            Condition::Killed(Stage::Live),
        ],
        renew: &[
            Condition::CaLies(Lie::Nameless),
            Condition::CaLies(Lie::Altered),
            Condition::ReadOnly,
            Condition::Edited(Stage::At(Moment::Candidate)),
            Condition::Killed(Stage::At(Moment::Candidate)),
        ],
        undo: &[Condition::Nothing, Condition::Edited(Stage::Exchange), Condition::Killed(Stage::At(Moment::Reload))],
        trust_users: &[Condition::Nothing, Condition::Edited(Stage::At(Moment::Reload))],
        rekey: &[Condition::Nothing],
        remove: &[Condition::CaGone],
    },
    Sample {
        suite: "trixie",
        shape: Shape::Hardened,
        certify: &[
            Condition::CaLies(Lie::User),
            Condition::DiskFull(16),
            Condition::Killed(Stage::At(Moment::Asked)),
            Condition::Killed(Stage::At(Moment::Proof)),
        ],
        renew: &[
            Condition::CaLies(Lie::Early),
            Condition::CaLies(Lie::OtherName),
            Condition::Edited(Stage::At(Moment::Reload)),
            Condition::Edited(Stage::Live),
            Condition::Killed(Stage::Live),
        ],
        undo: &[Condition::ReadOnly, Condition::Killed(Stage::At(Moment::Candidate))],
        trust_users: &[Condition::DiskFull(0), Condition::Killed(Stage::At(Moment::Reload))],
        rekey: &[Condition::Killed(Stage::Live)],
        remove: &[Condition::Killed(Stage::At(Moment::Reload))],
    },
    Sample {
        suite: "bookworm",
        shape: Shape::Links,
        certify: &[Condition::Killed(Stage::Exchange)],
        renew: &[Condition::Nothing],
        undo: &[Condition::Nothing],
        trust_users: &[Condition::Nothing],
        rekey: &[],
        remove: &[Condition::Nothing],
    },
    Sample {
        suite: "bookworm",
        shape: Shape::MatchLocalPort,
        certify: &[Condition::Nothing],
        renew: &[Condition::CaLies(Lie::NewSigner)],
        undo: &[Condition::Nothing],
        trust_users: &[Condition::HungUp],
        rekey: &[Condition::Nothing],
        remove: &[],
    },
    Sample {
        suite: "trixie",
        shape: Shape::DirectoryGroups,
        certify: &[Condition::Killed(Stage::At(Moment::Reload))],
        renew: &[Condition::Nothing],
        undo: &[Condition::Nothing],
        trust_users: &[Condition::Nothing],
        rekey: &[],
        remove: &[Condition::Nothing],
    },
    Sample {
        suite: "trixie",
        shape: Shape::SecondSshd,
        certify: &[Condition::Killed(Stage::Live)],
        renew: &[Condition::Nothing, Condition::Killed(Stage::Exchange)],
        undo: &[Condition::Nothing],
        trust_users: &[Condition::Nothing],
        rekey: &[Condition::Nothing],
        remove: &[Condition::Nothing],
    },
    Sample {
        suite: "trixie",
        shape: Shape::KeyInAgent,
        certify: &[Condition::Edited(Stage::At(Moment::Reload))],
        renew: &[Condition::Nothing, Condition::Killed(Stage::Live)],
        undo: &[Condition::Nothing],
        trust_users: &[Condition::ReadOnly],
        rekey: &[],
        remove: &[Condition::Nothing],
    },
    Sample {
        suite: "bookworm",
        shape: Shape::TwoFactors,
        certify: &[Condition::Nothing],
        renew: &[Condition::Nothing],
        undo: &[],
        trust_users: &[Condition::Nothing],
        rekey: &[],
        remove: &[],
    },
    Sample {
        suite: "trixie",
        shape: Shape::AllowGroups,
        certify: &[Condition::Killed(Stage::Live)],
        renew: &[Condition::Nothing],
        undo: &[],
        trust_users: &[Condition::Nothing],
        rekey: &[],
        remove: &[],
    },
    Sample {
        suite: "trixie",
        shape: Shape::LockedPassword,
        certify: &[Condition::Nothing],
        renew: &[Condition::Nothing],
        undo: &[],
        trust_users: &[Condition::Nothing],
        rekey: &[],
        remove: &[],
    },
    Sample {
        suite: "bookworm",
        shape: Shape::NoLogin,
        certify: &[Condition::Nothing],
        renew: &[Condition::Killed(Stage::Live)],
        undo: &[],
        trust_users: &[Condition::Nothing],
        rekey: &[],
        remove: &[],
    },
    Sample {
        suite: "trixie",
        shape: Shape::EcdsaOnly,
        certify: &[Condition::Nothing],
        renew: &[Condition::Nothing],
        undo: &[Condition::Nothing],
        trust_users: &[Condition::Nothing],
        rekey: &[],
        remove: &[],
    },
    Sample {
        suite: "bookworm",
        shape: Shape::RsaOnly,
        certify: &[Condition::Nothing],
        renew: &[Condition::Killed(Stage::Live)],
        undo: &[Condition::Nothing],
        trust_users: &[Condition::Nothing],
        rekey: &[],
        remove: &[],
    },
    Sample {
        suite: OLD,
        shape: Shape::Stock,
        certify: &[Condition::Nothing, Condition::Killed(Stage::Live)],
        renew: &[Condition::Nothing],
        undo: &[Condition::Killed(Stage::Exchange)],
        trust_users: &[Condition::Nothing],
        rekey: &[],
        remove: &[Condition::Nothing],
    },
    Sample {
        suite: OLD,
        shape: Shape::ListOfNethServer,
        certify: &[Condition::Nothing, Condition::Edited(Stage::At(Moment::Reload))],
        renew: &[Condition::Killed(Stage::Live)],
        undo: &[Condition::Nothing],
        trust_users: &[Condition::Nothing],
        rekey: &[],
        remove: &[Condition::Nothing],
    },
];

impl Sample {
    /// The conditions for this command on this machine.
    pub(super) fn of(&self, task: Task) -> &'static [Condition] {
        match task {
            Task::Certify => self.certify,
            Task::Renew => self.renew,
            Task::Undo => self.undo,
            Task::TrustUsers => self.trust_users,
            Task::Rekey => self.rekey,
            Task::Remove => self.remove,
        }
    }
}

#[test]
fn every_condition_is_in_the_sample() {
    let of = |sample: &'static Sample| Task::ALL.map(|task| (sample.shape, task, sample.of(task)));
    let sampled: Vec<_> = SAMPLE.iter().flat_map(of).collect();
    for (shape, task, conditions) in &sampled {
        let exist = conditions.iter().all(|condition| super::cell::exists(*shape, *task, *condition));
        assert!(exist, "{shape:?} {task:?}");
    }
    let is_sampled = |wanted: &Condition| sampled.iter().any(|(_, _, conditions)| conditions.contains(wanted));
    let left_out: Vec<_> = Condition::all().into_iter().filter(|condition| !is_sampled(condition)).collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}
