//! One machine of a fleet: its certificate, its clock and its decisions, which Warded's own functions make.

use crate::{
    event::{Event, OFF, START},
    random::{Random, mix},
    schedule::{Kind, Schedule, below},
};
use std::time::Duration;
use warded_lib::ca::{
    attempts::{Attempts, Outcome},
    due, rotation,
    step::{diagnosis, retries},
    verify,
};

/// step-ca dates certificates back by a minute ("backdate" in ca.json).
const BACKDATE: u64 = 60;

#[derive(Clone, Debug)]
pub(crate) struct Host {
    number: u32,
    /// How far the machine's clock is ahead of the CA's, in seconds.
    ahead: i64,
    pub(crate) schedule: Schedule,
    /// From when its certificate is valid.
    after: u64,
    /// When its certificate expires; 0 if it has none.
    pub(crate) before: u64,
    due: u64,
    pub(crate) attempts: Attempts,
    /// Whether the CA's current key signed its certificate.
    pub(crate) is_of_new_key: bool,
    pub(crate) is_away: bool,
}

/// What a run decides before it connects to the CA.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// It does not connect to the CA.
    Nothing,
    /// It asks the CA.
    Asks,
}

impl Host {
    pub(crate) fn new(number: u32, kind: &Kind, event: Event) -> Self {
        let random = mix(u64::from(number) ^ 0x5eed_0000_0000);
        let mut draw = Random(random);
        let ahead = match event {
            Event::WrongClocks if number.is_multiple_of(200) => 3600,
            Event::WrongClocks if number % 200 == 100 => -3600,
            Event::WrongClocks => draw.normal(30.0) as i64,
            Event::MassBoot | Event::Steady | Event::Outage(_) | Event::KeyRollover | Event::MachinesOff => 0,
        };
        Self {
            number,
            ahead,
            schedule: kind.of(&machine_id(number), draw.number()),
            after: 0,
            before: 0,
            due: 0,
            attempts: Attempts::default(),
            is_of_new_key: false,
            is_away: event == Event::MachinesOff && number.is_multiple_of(100),
        }
    }

    /// Converts the CA's time to this machine's clock, and back.
    fn local(&self, time: u64) -> u64 {
        time.saturating_add_signed(self.ahead)
    }

    /// Takes a new certificate, dated as step-ca dates it.
    pub(crate) fn receive(&mut self, now: u64, life: u64, random: u32) {
        self.hold(now.saturating_sub(BACKDATE), now + life);
        self.conclude(now, Outcome::Succeeded, random);
    }

    /// Takes a certificate that is valid from `after` to `before`.
    pub(crate) fn hold(&mut self, after: u64, before: u64) {
        (self.after, self.before) = (after, before);
        self.due = due::moment(after, before, due::RENEW_AFTER, &machine_id(self.number)).unwrap_or(u64::MAX);
    }

    pub(crate) fn conclude(&mut self, now: u64, outcome: Outcome, random: u32) {
        self.attempts = self.attempts.after(self.local(now), outcome, random);
    }

    /// What a run that starts now decides.
    pub(crate) fn run(&self, now: u64) -> Run {
        let local = self.local(now);
        if local < self.due || self.attempts.may_try(local).is_err() { Run::Nothing } else { Run::Asks }
    }

    /// How many times a run tries to connect to a CA that does not answer.
    pub(crate) fn connections(&self, random: &mut Random) -> u32 {
        let mut tries = 1;
        let mut elapsed = Duration::ZERO;
        while self.attempts.may_repeat()
            && let Some(pause) = retries::pause(tries, elapsed, None, (random.number() >> 32) as u32)
        {
            elapsed += pause;
            tries += 1;
        }
        tries
    }

    /// Whether the machine's clock is so wrong that it cannot renew.
    pub(crate) fn is_off(&self) -> bool {
        diagnosis::clock("the CA", Some(-1000 * self.ahead)).is_some()
    }

    /// Whether the machine leaves a certificate to a later run: its clients know only the key that signed the present one.
    pub(crate) fn puts_off(&self, now: u64, is_of_new_key: bool) -> bool {
        let fault = || verify::outside(self.after, self.before, self.local(now));
        rotation::is_put_off(self.is_of_new_key == is_of_new_key, fault)
    }

    /// When the first run after `now` starts that may have something to do, by the CA's clock.
    pub(crate) fn next(&self, now: u64, life: u64) -> u64 {
        let next = self.next_run(now);
        let begins = Event::begins(life);
        if self.is_away && (begins..begins + OFF).contains(&next) { self.next_run(begins + OFF) } else { next }
    }

    fn next_run(&self, now: u64) -> u64 {
        let local = self.local(now) + 1;
        let allowed = self.attempts.may_try(local).err().unwrap_or_default();
        let from = local.max(self.due).max(allowed);
        let draw = |period: u64| mix(u64::from(self.number) << 32 ^ period);
        self.schedule.next(from, draw).saturating_add_signed(-self.ahead)
    }

    /// When the machine got its first certificate.
    pub(crate) fn boots(number: u32, event: Event, life: u64) -> u64 {
        let within = if event == Event::MassBoot { 60 } else { life * 5 / 8 };
        START + below(within, mix(u64::from(number) ^ 0xb007_0000_0000))
    }
}

fn machine_id(number: u32) -> String {
    let (high, low) = (mix(u64::from(number) + 1), mix(!u64::from(number)));
    format!("{high:016x}{low:016x}")
}
