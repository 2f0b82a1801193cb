//! Sends one line per run to the machine's system log: text for a person and, if journald listens, fields for programs.
//! The line contains the head of the audit log. If it is forwarded to another machine, that machine has the head out of
//! reach of this machine's root.
#![expect(clippy::disallowed_methods, reason = "the one file that speaks to a local service")]

use super::{Event, Head};
use crate::text;
use serde::Serialize;
use std::{
    fmt::{self, Write as _},
    io,
    os::unix::net::UnixDatagram,
    path::Path,
};

/// The socket for journald's own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL). Tests must not write to it.
const JOURNAL: &str = if cfg!(test) { "/nonexistent/socket" } else { "/run/systemd/journal/socket" };
/// The socket of every other local syslog daemon.
const SYSLOG: &str = if cfg!(test) { "/nonexistent/log" } else { "/dev/log" };
/// The facility `authpriv` (RFC 5424, 6.2.1).
const FACILITY: u8 = 10;
/// The `MESSAGE_ID` of every such entry in the journal, by which it can be found.
const MESSAGE_ID: &str = "0d5d0ed7a6fc4f8da803d8f8b3722e5d";

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Ending {
    /// Its changes stay.
    Kept,
    /// Its changes stay, but a part of its task is left: a certificate that was refused or put off.
    Partial,
    /// Its changes stay only if they are confirmed in time.
    Waits,
    /// Its changes were confirmed, and stay.
    Confirmed,
    /// Another process rolled it back.
    RolledBack,
    /// It failed or was refused, and its changes were rolled back.
    Failed,
}

impl Ending {
    /// The word for it in the journal's field `RESULT`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Partial => "partial",
            Self::Waits => "waits",
            Self::Confirmed => "confirmed",
            Self::RolledBack => "rolled-back",
            Self::Failed => "failed",
        }
    }

    /// `notice` for success. A failure is a `warning`, or more severe if certificates end soon (RFC 5424, 6.2.1).
    fn severity(self, urgency: Urgency) -> u8 {
        match (self, urgency) {
            (Self::Kept | Self::Waits | Self::Confirmed, _) => 5,
            (Self::Partial | Self::RolledBack | Self::Failed, Urgency::Usual) => 4,
            (Self::Partial | Self::RolledBack | Self::Failed, Urgency::Soon) => 3,
            (Self::Partial | Self::RolledBack | Self::Failed, Urgency::Expired) => 2,
        }
    }
}

/// How close to its end a certificate is that the run was to renew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// There is time for further tries, or nothing was to be renewed.
    #[default]
    Usual,
    /// More than half of the time between its renewal date and its end has passed.
    Soon,
    /// The certificate has ended.
    Expired,
}

impl Urgency {
    /// The urgency for a certificate that is due for renewal from `due` on and ends at `end`; all in seconds.
    #[must_use]
    pub fn of(due: u64, end: u64, now: u64) -> Self {
        if end <= now {
            Self::Expired
        } else if now.saturating_sub(due) > end.saturating_sub(due) / 2 {
            Self::Soon
        } else {
            Self::Usual
        }
    }
}

/// What is sent to the system log about a run.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) event: &'a Event,
    pub(super) ending: Ending,
    pub(super) urgency: Urgency,
    pub(super) text: &'a str,
    /// `None`: the record of the run's end could not be written.
    pub(super) head: Option<Head>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { run, procedure, .. } = self.event;
        if *run > 0 {
            write!(f, "run {run} ")?;
        }
        if !procedure.is_empty() {
            write!(f, "{procedure}: ")?;
        }
        f.write_str(self.text)?;
        match self.head {
            Some(Head { count, hash }) => write!(f, " [audit {count} {hash}]"),
            None => f.write_str(" [not in the audit log]"),
        }
    }
}

impl Line<'_> {
    /// Sends it. If nothing listens, that is no error.
    pub(super) fn send(&self) {
        if send(Path::new(JOURNAL), self.entry().as_bytes()).is_err() {
            drop(send(Path::new(SYSLOG), self.datagram().as_bytes()));
        }
    }

    /// The entry for journald: one field per line, none of which contains a newline.
    fn entry(&self) -> String {
        let Event { run, procedure, policy, .. } = self.event;
        let mut entry = String::new();
        let mut field = |name: &str, value: &dyn fmt::Display| {
            let value = text::neutral(&value.to_string());
            writeln!(entry, "{name}={value}").unwrap_or_default();
        };
        field("MESSAGE", self);
        field("MESSAGE_ID", &MESSAGE_ID);
        field("PRIORITY", &self.ending.severity(self.urgency));
        field("SYSLOG_FACILITY", &FACILITY);
        field("SYSLOG_IDENTIFIER", &"warded");
        field("SYSLOG_PID", &std::process::id());
        field("RUN", run);
        field("PROCEDURE", procedure);
        field("POLICY", policy);
        field("RESULT", &self.ending.as_str());
        if let Some(Head { count, hash }) = self.head {
            field("AUDIT_COUNT", &count);
            field("AUDIT_HASH", &hash);
        }
        entry
    }

    /// The message for any other daemon (RFC 3164).
    fn datagram(&self) -> String {
        let priority = FACILITY * 8 + self.ending.severity(self.urgency);
        format!("<{priority}>warded[{}]: {}", std::process::id(), text::neutral(&self.to_string()))
    }
}

fn send(socket: &Path, bytes: &[u8]) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    // If the daemon hangs, this process must not.
    datagram.set_nonblocking(true)?;
    datagram.send_to(bytes, socket).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::Kind, digest::Digest};

    fn event() -> Event {
        Event { procedure: "renew-host".to_owned(), policy: "unix".to_owned(), ..Event::new(12, Kind::Ended) }
    }

    #[test]
    fn one_line_whatever_is_said() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        let (event, hash) = (event(), Digest::of(b""));
        let text = "a\nb\x1b[2J";
        let line = Line {
            event: &event,
            ending: Ending::Kept,
            urgency: Urgency::Usual,
            text,
            head: Some(Head { count: 57, hash }),
        };
        assert!(send(&path, line.datagram().as_bytes()).is_err());
        let daemon = UnixDatagram::bind(&path).unwrap();
        send(&path, line.datagram().as_bytes()).unwrap();
        let mut bytes = [0; 400];
        let length = daemon.recv(&mut bytes).unwrap();
        let told = std::str::from_utf8(&bytes[..length]).unwrap();
        let (before, told) = told.split_once("]: ").unwrap();
        assert!(before.starts_with("<85>warded["), "{before}");
        assert_eq!(told, format!(r"run 12 renew-host: a\nb\u{{1b}}[2J [audit 57 {hash}]"));
    }

    #[test]
    fn journald_gets_a_field_a_line() {
        let event = event();
        let line =
            Line { event: &event, ending: Ending::Failed, urgency: Urgency::Usual, text: "the CA\nRUN=1", head: None };
        let entry = line.entry();
        let fields: Vec<(&str, &str)> = entry.lines().map(|line| line.split_once('=').unwrap()).collect();
        let value = |name: &str| fields.iter().find(|(field, _)| *field == name).map(|(_, value)| *value);
        for (name, expected) in [
            ("MESSAGE", Some(r"run 12 renew-host: the CA\nRUN=1 [not in the audit log]")),
            ("PRIORITY", Some("4")),
            ("RUN", Some("12")),
            ("PROCEDURE", Some("renew-host")),
            ("RESULT", Some("failed")),
            ("MESSAGE_ID", Some(MESSAGE_ID)),
            ("AUDIT_HASH", None),
        ] {
            assert_eq!(value(name), expected, "{name}");
        }
    }

    #[test]
    fn a_failure_is_louder_the_nearer_the_end_is() {
        use Urgency::{Expired, Soon, Usual};
        for (due, end, now, expected) in [
            (100, 200, 0, Usual),
            (100, 200, 100, Usual),
            (100, 200, 150, Usual),
            (100, 200, 151, Soon),
            (100, 200, 199, Soon),
            (100, 200, 200, Expired),
            (100, 200, 300, Expired),
            // A certificate that is due only after its end, because of a wrong clock or setting.
            (200, 100, 50, Usual),
            (200, 100, 100, Expired),
        ] {
            assert_eq!(Urgency::of(due, end, now), expected, "{due} {end} {now}");
        }
        for (ending, expected) in [
            (Ending::Kept, [5, 5, 5]),
            (Ending::Waits, [5, 5, 5]),
            (Ending::Confirmed, [5, 5, 5]),
            (Ending::Partial, [4, 3, 2]),
            (Ending::RolledBack, [4, 3, 2]),
            (Ending::Failed, [4, 3, 2]),
        ] {
            assert_eq!([Usual, Soon, Expired].map(|urgency| ending.severity(urgency)), expected, "{ending:?}");
        }
    }

    #[test]
    fn what_was_rolled_back_was_not_undone() {
        assert_eq!(Ending::RolledBack.as_str(), "rolled-back");
    }

    #[test]
    fn what_belongs_to_no_run_has_no_number() {
        let event = Event::new(0, Kind::Result);
        let line =
            Line { event: &event, ending: Ending::Kept, urgency: Urgency::Usual, text: "policy added", head: None };
        assert_eq!(line.to_string(), "policy added [not in the audit log]");
    }
}
