//! The events that can happen to a fleet.

pub(crate) const HOUR: u64 = 3600;
pub(crate) const DAY: u64 = 24 * HOUR;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// All machines get their first certificate within a minute.
    MassBoot,
    /// The machines got their first certificates evenly spread over time.
    Steady,
    /// The CA is away for this many seconds.
    Outage(u64),
    /// The CA begins to sign with a new key that no client knows yet.
    KeyRollover,
    /// Clocks are off by N(0, 30 s), and every hundredth by an hour.
    WrongClocks,
    /// Every hundredth machine is off for 40 days.
    MachinesOff,
}

/// The simulation begins no earlier than this, since a clock can be an hour behind and times are unsigned.
pub(crate) const START: u64 = 2 * HOUR;

/// How long those machines are off.
pub(crate) const OFF: u64 = 40 * DAY;

impl Event {
    pub(crate) fn name(self) -> String {
        match self {
            Self::MassBoot => "mass boot".to_owned(),
            Self::Steady => "steady".to_owned(),
            Self::Outage(seconds) if seconds.is_multiple_of(HOUR) => format!("outage {} h", seconds / HOUR),
            Self::Outage(seconds) => format!("outage {:.1} h", seconds as f64 / HOUR as f64),
            Self::KeyRollover => "new CA key".to_owned(),
            Self::WrongClocks => "clocks off".to_owned(),
            Self::MachinesOff => "1 % off 40 d".to_owned(),
        }
    }

    /// When the event begins, for certificates of this life: after four waves of renewals.
    pub(crate) fn begins(life: u64) -> u64 {
        3 * life
    }

    /// How long the simulation continues from the begin of the event.
    pub(crate) fn lasts(self, life: u64) -> u64 {
        match self {
            Self::MassBoot | Self::Steady | Self::WrongClocks => 3 * life / 2,
            Self::Outage(seconds) => seconds + 2 * life,
            Self::KeyRollover => life,
            Self::MachinesOff => OFF + life,
        }
    }
}
