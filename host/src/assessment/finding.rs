//! What a reviewer of a policy should look at.

use super::{Assessment, Basis, Grant, Procedure};
use serde::Serialize;
use std::fmt;
use warded_artifact::reach::Reach;
use warded_lib::policy::{lines::Key, widening};

/// Something that a reviewer should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How serious the finding is.
    pub severity: Severity,
    pub procedure: String,
    /// What was found, in one sentence.
    pub what: String,
    /// What to do about it.
    pub next: &'static str,
}

/// A finding before its procedure is known.
type UnplacedFinding = (Severity, String, &'static str);

/// How a finding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something was asked for, and denied.
    Denied,
    /// The procedure can call what is not granted or not requested.
    Under,
    /// More is granted or requested than the procedure can call.
    Over,
    /// Something that is granted and was not used so far.
    Unused,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "denied",
            Self::Under => "under",
            Self::Over => "over",
            Self::Unused => "unused",
        })
    }
}

impl Assessment {
    /// All findings, the most serious first.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> =
            self.procedures.iter().flat_map(|(name, procedure)| procedure.findings(name)).collect();
        findings.sort_by_key(|finding| finding.severity);
        findings
    }

    /// The notes on all procedures, each with its procedure's name.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let of = |(name, procedure): (&String, &Procedure)| {
            procedure.notes().into_iter().map(|note| format!("{name}: {note}")).collect::<Vec<_>>()
        };
        self.procedures.iter().flat_map(of).collect()
    }
}

impl Procedure {
    fn findings(&self, name: &str) -> Vec<Finding> {
        let finding =
            |(severity, what, next): UnplacedFinding| Finding { severity, procedure: name.to_owned(), what, next };
        let denied = self.usage.denied.iter().map(|(what, count)| {
            let times = if count.calls == 1 { "once".to_owned() } else { format!("{} times", count.calls) };
            let what = format!("it asked {times} for {what}, and was denied");
            (Severity::Denied, what, "find out why before you trust it further")
        });
        let without = match self.basis {
            Basis::Policy => "no grant allows that: such a run is denied",
            Basis::Request => "the request does not ask for it",
        };
        let under = self.ungranted.iter().map(|function| {
            (Severity::Under, format!("it can call {function}, and {without}"), "request it, or remove the call")
        });
        let grants = self.grants.iter().filter_map(|grant| self.of_grant(grant));
        denied.chain(under).chain(grants).map(finding).collect()
    }

    fn of_grant(&self, grant: &Grant) -> Option<UnplacedFinding> {
        let is = match self.basis {
            Basis::Policy => "is granted",
            Basis::Request => "is requested",
        };
        let in_force = self.is_in_force(grant);
        let over = |why: &str, next| Some((Severity::Over, format!("{} {why}", grant.line), next));
        if !grant.reachable {
            let is = if in_force { is } else { "is requested" };
            over(&format!("{is}, and the procedure can call nothing that needs it"), "take it out")
        } else if !in_force {
            None
        } else if !grant.requested {
            over("is granted, and the component does not ask for it", "take the grant out")
        } else if self.is_covered(grant) {
            over(&format!("{is}, and files.write covers it"), "take it out: a file that may be written may be read")
        } else {
            self.unused(grant)
        }
    }

    /// Notes that are not findings: calls that cannot be ruled out, and wildcards for which the code seems to contain
    /// the names.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let functions: Vec<&str> = self.not_ruled_out.iter().map(String::as_str).collect();
        let unclear = match &self.reach {
            Reach::Everything { because } if !functions.is_empty() => {
                let functions = functions.join(", ");
                Some(format!("{because}: it is not known whether it calls {functions}, and nothing allows such a call"))
            }
            Reach::Everything { .. } | Reach::Functions(_) => None,
        };
        let wide = self.grants.iter().filter(|grant| self.is_in_force(grant) && !grant.named.is_empty());
        let named = wide.map(|grant| {
            let names: Vec<&str> = grant.named.iter().map(String::as_str).collect();
            format!("{} has a wildcard, and the code names {}", grant.line, names.join(", "))
        });
        unclear.into_iter().chain(named).collect()
    }

    fn is_in_force(&self, grant: &Grant) -> bool {
        match self.basis {
            Basis::Policy => grant.granted,
            Basis::Request => grant.requested,
        }
    }

    /// Whether every file that the grant lets the procedure read may also be written.
    fn is_covered(&self, grant: &Grant) -> bool {
        self.covering(grant).next().is_some()
    }

    /// The grants that allow writing what this grant allows reading.
    pub(super) fn covering<'a>(&'a self, grant: &'a Grant) -> impl Iterator<Item = &'a Grant> {
        self.grants.iter().filter(|other| {
            grant.line.key == Key::ReadFiles
                && self.is_in_force(other)
                && other.line.key == Key::WriteFiles
                && widening::is_within(&grant.line, &other.line)
        })
    }

    /// A finding for a grant that does not occur in the log, or whose wildcard was used for one name only. Messages may
    /// be rare, and keywords are not recorded.
    fn unused(&self, grant: &Grant) -> Option<UnplacedFinding> {
        if self.usage.runs == 0 || matches!(grant.line.key, Key::Keywords | Key::Inform | Key::Warn) {
            return None;
        }
        let runs = if self.usage.runs == 1 { "1 run".to_owned() } else { format!("{} runs", self.usage.runs) };
        let Some(exercise) = self.usage.grants.get(&grant.line.to_string()) else {
            let what = format!("{} was not used in {runs}", grant.line);
            return Some((Severity::Unused, what, "keep it only if a machine like this one will need it"));
        };
        let only = exercise.needs.keys().next().filter(|_| exercise.needs.len() == 1)?;
        let what = format!("{} was used for one name in {runs}: {only}", grant.line);
        let next = "write that name in place of the wildcard, if no other will be needed";
        grant.line.value.contains('*').then_some((Severity::Unused, what, next))
    }
}
