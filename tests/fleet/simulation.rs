//! Simulates a fleet and its CA second by second. Time is a number, so nothing waits.

use crate::{
    event::Event,
    host::{Host, Run},
    random::Random,
    schedule::Kind,
};
use warded_lib::ca::{attempts::Outcome, step::http::SILENCE};

const NONE: u32 = u32::MAX;

/// A fleet, the event that happens to it, and the CA's capacity.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) hosts: u32,
    /// How long a certificate is valid, in seconds.
    pub(crate) life: u64,
    pub(crate) event: Event,
    /// How many hosts the CA can serve in a second. The others wait, and give up after [`SILENCE`].
    pub(crate) capacity: u64,
    /// The `Retry-After` that an overloaded CA sends, in seconds. With none, it only lets the hosts wait.
    pub(crate) retry_after: Option<u64>,
    pub(crate) schedule: Kind,
    /// If none, the course is [`Case::course`]'s default for certificates of this life.
    pub(crate) course: Option<Course>,
}

/// When the phases of the simulation begin and end, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    /// When the event begins.
    pub(crate) begins: u64,
    pub(crate) end: u64,
    /// The length of a bin of the counts.
    pub(crate) bin: u64,
}

/// The counts of a simulation.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Connections to the CA in each bin, from the beginning of the simulation.
    pub(crate) bins: Vec<u32>,
    /// Connections of each host from the event on; for an outage, only while it lasts.
    pub(crate) contacts: Vec<u16>,
    /// Renewals in each bin.
    pub(crate) renewals: Vec<u32>,
    /// Hosts whose certificate expired although they were on and the CA accepts their clock.
    pub(crate) ended: u32,
    /// The other hosts whose certificate expired.
    pub(crate) excused: u32,
    /// Seconds from the CA's return to the last renewal of a host that had asked in vain.
    pub(crate) recovery: Option<u64>,
}

impl Case {
    /// The mean number of renewals a second if each machine renewed after 0.6 of a certificate's life.
    pub(crate) fn floor(&self) -> f64 {
        f64::from(self.hosts) / (0.6 * self.life as f64)
    }

    /// The event begins after four waves. A bin is a quarter of an hour, or long enough for 300 renewals on average:
    /// shorter bins would measure chance.
    pub(crate) fn course(&self) -> Course {
        let begins = Event::begins(self.life);
        let bin = ((300.0 / self.floor()) as u64).max(900);
        self.course.unwrap_or(Course { begins, end: begins + self.event.lasts(self.life), bin })
    }

    pub(crate) fn run(&self) -> Counts {
        let mut fleet = Fleet::new(self);
        (0..fleet.course.end).for_each(|second| fleet.second(second));
        fleet.conclude()
    }
}

struct Fleet<'a> {
    case: &'a Case,
    course: Course,
    hosts: Vec<Host>,
    queue: Queue,
    ca: Ca,
    random: Random,
    counts: Counts,
}

impl<'a> Fleet<'a> {
    fn new(case: &'a Case) -> Self {
        let course = case.course();
        let Course { begins, end, bin } = course;
        let mut queue = Queue::new(end, case.hosts);
        let hosts = (0..case.hosts).map(|number| Host::new(number, &case.schedule, case.event)).collect();
        (0..case.hosts).for_each(|number| queue.put(Host::boots(number, case.event, case.life), number));
        let down = match case.event {
            Event::Outage(seconds) => begins..begins + seconds,
            Event::MassBoot | Event::Steady | Event::KeyRollover | Event::WrongClocks | Event::MachinesOff => 0..0,
        };
        let bins = vec![0; (end / bin + 1) as usize];
        let counts =
            Counts { renewals: bins.clone(), bins, contacts: vec![0; case.hosts as usize], ..Counts::default() };
        let ca = Ca { capacity: case.capacity, down, waiting: 0, second: 0 };
        Self { case, course, hosts, queue, ca, random: Random(1), counts }
    }

    fn second(&mut self, now: u64) {
        let mut next = self.queue.take(now);
        while next != NONE {
            let number = next;
            next = self.queue.next[number as usize];
            self.act(number, now);
            let host = &self.hosts[number as usize];
            self.queue.put(host.next(now, self.case.life), number);
        }
    }

    fn act(&mut self, number: u32, now: u64) {
        let life = self.case.life;
        let host = &mut self.hosts[number as usize];
        let random = (self.random.number() >> 32) as u32;
        if host.before == 0 {
            return host.receive(now, life, random);
        }
        if host.run(now) == Run::Nothing {
            return;
        }
        let answer = self.ca.answer(now);
        let connections = if answer == Answer::Nothing { host.connections(&mut self.random) } else { 1 };
        self.counts.bins[(now / self.course.bin) as usize] += connections;
        let is_counted = now >= self.course.begins && (self.ca.down.is_empty() || self.ca.down.contains(&now));
        if is_counted {
            self.counts.contacts[number as usize] += connections as u16;
        }
        let is_new_key = self.case.event == Event::KeyRollover && now >= self.course.begins;
        let host = &mut self.hosts[number as usize];
        match answer {
            Answer::Nothing => host.conclude(now, Outcome::Failed(None), random),
            Answer::Busy => host.conclude(now, Outcome::Failed(self.case.retry_after), random),
            Answer::Yes if host.is_off() => host.conclude(now, Outcome::Failed(None), random),
            // A certificate that is put off is not a failure: the next run asks again.
            Answer::Yes if host.puts_off(now, is_new_key) => {
                host.conclude(now, Outcome::Succeeded, random);
            }
            Answer::Yes => {
                self.renewed(number, now);
                let host = &mut self.hosts[number as usize];
                host.is_of_new_key = is_new_key;
                host.receive(now, life, random);
            }
        }
    }

    fn renewed(&mut self, number: u32, now: u64) {
        let host = &self.hosts[number as usize];
        self.counts.renewals[(now / self.course.bin) as usize] += 1;
        if now > host.before {
            Self::ended(&mut self.counts, host);
        }
        if !self.ca.down.is_empty() && now >= self.ca.down.end && host.attempts.failures > 0 {
            let since = now - self.ca.down.end;
            self.counts.recovery = self.counts.recovery.max(Some(since));
        }
    }

    fn ended(counts: &mut Counts, host: &Host) {
        *(if host.is_away || host.is_off() { &mut counts.excused } else { &mut counts.ended }) += 1;
    }

    fn conclude(mut self) -> Counts {
        let left = self.hosts.iter().filter(|host| host.before < self.course.end);
        left.for_each(|host| Self::ended(&mut self.counts, host));
        self.counts
    }
}

/// Which hosts have a run in which second: a linked list for each second, threaded through the hosts.
struct Queue {
    first: Vec<u32>,
    next: Vec<u32>,
}

impl Queue {
    fn new(end: u64, hosts: u32) -> Self {
        Self { first: vec![NONE; end as usize], next: vec![NONE; hosts as usize] }
    }

    /// Ignores runs after the end of the simulation.
    fn put(&mut self, second: u64, number: u32) {
        if let Some(first) = self.first.get_mut(second as usize) {
            self.next[number as usize] = std::mem::replace(first, number);
        }
    }

    fn take(&mut self, second: u64) -> u32 {
        std::mem::replace(&mut self.first[second as usize], NONE)
    }
}

struct Ca {
    capacity: u64,
    down: std::ops::Range<u64>,
    waiting: u64,
    second: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    /// The CA is overloaded.
    Busy,
    /// The CA is away.
    Nothing,
}

impl Ca {
    fn answer(&mut self, now: u64) -> Answer {
        self.waiting = self.waiting.saturating_sub(self.capacity * (now - self.second));
        self.second = now;
        if self.down.contains(&now) {
            return Answer::Nothing;
        }
        if self.waiting >= self.capacity * SILENCE.as_secs() {
            return Answer::Busy;
        }
        self.waiting += 1;
        Answer::Yes
    }
}
