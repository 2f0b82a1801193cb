//! The result of a case as a line of the table, and the bounds that it has to keep.

use crate::{
    event::{DAY, Event, HOUR},
    simulation::{Case, Counts, Course},
};
use warded_lib::ca::due;

/// A case and its result.
#[derive(Debug)]
pub(crate) struct Line {
    hosts: u32,
    life: u64,
    event: Event,
    capacity: u64,
    floor: f64,
    /// The peak before the second wave of a mass boot, as a multiple of the floor.
    first: f64,
    /// The peak from the event on, as a multiple of the floor.
    later: f64,
    /// Connections of the hosts that made any: the mean, the 99th percentile, the maximum.
    contacts: (f64, u16, u16),
    pub(crate) ended: f64,
    excused: f64,
    recovery: Option<u64>,
    tolerated: u64,
}

impl Line {
    pub(crate) fn of(case: &Case, counts: Counts) -> Self {
        let floor = case.floor();
        let Course { begins, end, bin } = case.course();
        let fullest = |from: u64, to: u64| {
            let bins = counts.bins.get((from / bin) as usize..(to / bin) as usize).unwrap_or_default();
            f64::from(bins.iter().copied().max().unwrap_or_default()) / (bin as f64 * floor)
        };
        let share = |hosts: u32| 100.0 * f64::from(hosts) / f64::from(case.hosts);
        Self {
            hosts: case.hosts,
            life: case.life,
            event: case.event,
            capacity: case.capacity,
            floor,
            first: fullest(0, case.life),
            later: fullest(begins, end),
            ended: share(counts.ended),
            excused: share(counts.excused),
            recovery: counts.recovery,
            contacts: per_host(counts.contacts),
            tolerated: tolerated(case),
        }
    }

    /// The bounds that the case does not keep. A CA that cannot carry the peak is not the schedule's fault.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut most = |what: &str, value: f64, most: f64| {
            if value > most {
                faults.push(format!("{}: {what} {value:.2}, more than {most}", self.name()));
            }
        };
        let carries = |times: f64| self.capacity as f64 >= times * self.floor;
        match self.event {
            Event::MassBoot if carries(3.0) => {
                most("first wave × floor", self.first, 3.0);
                most("later waves × floor", self.later, 2.5);
            }
            Event::Steady if carries(3.0) => most("waves × floor", self.later, 2.5),
            Event::Outage(seconds) => {
                if seconds <= 6 * HOUR {
                    most("connections a host", self.contacts.0, 11.0);
                    most("connections of 99 %", f64::from(self.contacts.1), 20.0);
                }
                if seconds <= self.tolerated && carries(5.0) {
                    most("% whose certificate ended", self.ended, 0.0);
                }
            }
            Event::MassBoot | Event::Steady | Event::KeyRollover | Event::WrongClocks | Event::MachinesOff => {}
        }
        if !matches!(self.event, Event::Outage(_)) && carries(3.0) {
            most("% whose certificate ended", self.ended, 0.0);
        }
        faults
    }

    fn name(&self) -> String {
        format!("{} hosts, {}, {}, {}/s", self.hosts, life(self.life), self.event.name(), self.capacity)
    }

    pub(crate) fn head() -> &'static str {
        "| hosts | life | event | CA, /s | floor, /s | first wave | later | connections a host: mean, 99 %, most | ended | excused | recovery |\n\
         |---|---|---|---|---|---|---|---|---|---|---|"
    }

    pub(crate) fn text(&self) -> String {
        let (mean, most_of, most) = self.contacts;
        let recovery = self.recovery.map_or_else(|| "–".to_owned(), |seconds| format!("{} min", seconds.div_ceil(60)));
        format!(
            "| {:.0e} | {} | {} | {} | {:.2} | {:.2} | {:.2} | {mean:.1}, {most_of}, {most} | {:.2} % | {:.2} % | {recovery} |",
            self.hosts,
            life(self.life),
            self.event.name(),
            self.capacity,
            self.floor,
            self.first,
            self.later,
            self.ended,
            self.excused,
        )
    }
}

fn life(seconds: u64) -> String {
    if seconds > DAY { format!("{} d", seconds / DAY) } else { format!("{} h", seconds / HOUR) }
}

/// How long a CA may be away without any certificate expiring. This is what is left of a certificate's life when the
/// last machine is due, less the timer's period, and less an hour for the longest wait after a failure.
fn tolerated(case: &Case) -> u64 {
    let period = case.schedule.of("", 0).period;
    left(case.life).saturating_sub(period + HOUR)
}

/// What is left of a certificate's life when the last machine is due.
fn left(life: u64) -> u64 {
    let latest = (0..1000).filter_map(|number| due::moment(0, life, due::RENEW_AFTER, &format!("{number}"))).max();
    life - latest.unwrap_or(life)
}

/// The longest outage that has to be tolerated: a test uses exactly this one.
pub(crate) fn tolerated_outage(life: u64) -> Event {
    Event::Outage(left(life) / HOUR * HOUR - 2 * HOUR)
}

fn per_host(mut contacts: Vec<u16>) -> (f64, u16, u16) {
    contacts.retain(|count| *count > 0);
    contacts.sort_unstable();
    let sum: u64 = contacts.iter().copied().map(u64::from).sum();
    let mean = if contacts.is_empty() { 0.0 } else { sum as f64 / contacts.len() as f64 };
    let of_99 = contacts.get(contacts.len() * 99 / 100).copied().unwrap_or_default();
    (mean, of_99, contacts.last().copied().unwrap_or_default())
}
