//! The smallest policy file that covers what a policy's procedures did, and what else they need.

use super::{Assessment, Grant, Procedure};
use serde::Serialize;
use std::{collections::BTreeSet, fmt};
use toml_edit::{DocumentMut, Item, TableLike, Value};
use warded_lib::{
    error::{Error, Result},
    machine::path::AbsolutePath,
    policy::{
        file::{Policy, WriteGrant},
        lines::{Key, Line},
        pattern::Pattern,
    },
    text::neutral,
};

/// Up to this many names are written in place of a wildcard; if more were used, the wildcard stays.
const NAMES: usize = 8;

/// A policy file that grants less than the present one.
#[derive(Debug, Serialize)]
pub struct Suggestion {
    #[serde(rename = "policy")]
    pub text: String,
    /// How it differs from the present policy file.
    pub changes: Vec<Change>,
}

/// A grant that the suggestion leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    procedure: String,
    grant: String,
    /// What the suggestion grants instead.
    instead: Vec<String>,
    because: &'static str,
}

impl Suggestion {
    /// The policy file, which lists at its top what it leaves out. `used` says where the remaining grants were used.
    #[must_use]
    pub fn told(&self, title: &str, used: &str) -> String {
        let lead = if self.changes.is_empty() {
            "No grant was left out: this is the policy as it is."
        } else {
            "Left out, although another machine or a later run may need it:"
        };
        let changes: String = self.changes.iter().map(|change| format!("#   {change}\n")).collect();
        format!("# {}, as far as it was used {used}.\n# {lead}\n{changes}{}", title.trim_end(), self.text)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { procedure, grant, instead, because } = self;
        write!(f, "{procedure}: {} ({because})", neutral(grant))?;
        if instead.is_empty() { Ok(()) } else { write!(f, ", instead: {}", neutral(&instead.join(", "))) }
    }
}

/// What happens to a grant.
enum Verdict {
    Stays,
    Goes(&'static str),
    /// These names replace its wildcard.
    Names(Vec<String>),
}

impl Assessment {
    /// Removes from a policy's text what its procedures cannot call, what another grant covers, and what a procedure
    /// that ran did not use. Keywords and messages stay: the log does not say what they were needed for.
    ///
    /// # Errors
    /// The text is not a policy file.
    pub fn suggestion(&self, text: &str) -> Result<Suggestion> {
        let unfit = |why: &dyn fmt::Display| Error::failed("could not write a smaller policy file").cause(why);
        let mut document: DocumentMut = text.parse().map_err(|why: toml_edit::TomlError| unfit(&why.message()))?;
        let mut changes = Vec::new();
        for (name, procedure) in &self.procedures {
            let table =
                document.get_mut("procedure").and_then(|all| all.get_mut(name)).and_then(Item::as_table_like_mut);
            let Some(table) = table else { continue };
            for grant in &procedure.grants {
                let (instead, because) = match procedure.verdict(grant) {
                    Verdict::Stays => continue,
                    Verdict::Goes(because) => (Vec::new(), because),
                    Verdict::Names(names) => (names, "used for these names alone"),
                };
                if replace(table, &grant.line, &instead) {
                    changes.push(Change { procedure: name.clone(), grant: grant.line.to_string(), instead, because });
                }
            }
        }
        let text = document.to_string();
        Policy::parse(&text, "the smaller policy file").map_err(|error| unfit(&error.message()))?;
        Ok(Suggestion { text, changes })
    }
}

impl Procedure {
    fn verdict(&self, grant: &Grant) -> Verdict {
        let of_the_log = !matches!(grant.line.key, Key::Keywords | Key::Inform | Key::Warn);
        if !grant.granted {
            Verdict::Stays
        } else if !grant.reachable {
            Verdict::Goes("the procedure can call nothing that needs it")
        } else if self.covering(grant).any(|write| matches!(self.verdict(write), Verdict::Stays)) {
            Verdict::Goes("files.write covers it")
        } else if self.usage.runs == 0 || !of_the_log {
            Verdict::Stays
        } else {
            match self.usage.grants.get(&grant.line.to_string()) {
                None => Verdict::Goes("not used"),
                Some(exercise) => names(&grant.line, exercise.needs.keys()).map_or(Verdict::Stays, Verdict::Names),
            }
        }
    }
}

/// The names that a wildcard was used for, each as a pattern; `None` if they cannot replace it.
fn names<'a>(line: &Line, needs: impl Iterator<Item = &'a String>) -> Option<Vec<String>> {
    if !matches!(line.key, Key::ReadFiles | Key::WriteFiles | Key::Keys | Key::Certificates)
        || !line.value.contains('*')
    {
        return None;
    }
    let pattern: Pattern = line.value.parse().ok()?;
    let place = line.value.split_once('}').map_or(String::new(), |(place, _)| format!("{place}}}"));
    let depth = line.value.trim_start_matches(&place).split('/').skip(1).count();
    let names: Option<BTreeSet<String>> = needs
        .map(|need| {
            let path: AbsolutePath = need.parse().ok()?;
            let segments: Vec<&str> = path.segments().collect();
            let own = segments.get(segments.len().checked_sub(depth)?..)?.join("/");
            let name: Pattern = format!("{place}/{own}").parse().ok()?;
            // The name of a listed directory is not a name that the pattern covers.
            name.is_within(&pattern).then(|| name.to_string())
        })
        .collect();
    names.filter(|names| names.len() <= NAMES && !names.contains(&line.value)).map(Vec::from_iter)
}

/// Replaces the value of a grant in its line by other values.
fn replace(procedure: &mut dyn TableLike, line: &Line, instead: &[String]) -> bool {
    let (keys, value): (&[&str], &str) = match line.key {
        Key::Facts => (&["facts"], &line.value),
        Key::ReadFiles => (&["files", "read"], &line.value),
        Key::WriteFiles => (&["files", "write"], &line.value),
        Key::Keys => (&["keys"], &line.value),
        Key::Certificates => (&["certificates"], &line.value),
        Key::Roots | Key::Issue | Key::Renew | Key::Rekey => (&["authority"], &line.value),
        Key::Keywords => (&["sshd", "keywords"], &line.value),
        Key::Effective => return take_out(procedure, &["sshd", "effective"]),
        Key::ClientEffective => return take_out(procedure, &["ssh", "effective"]),
        Key::Reload => (&["services", &line.value], "reload"),
        Key::Restart => (&["services", &line.value], "restart"),
        Key::Action => (&["actions"], &line.value),
        Key::Schedule => (&["schedule"], &line.value),
        Key::Inform => (&["log"], "info"),
        Key::Warn => (&["log"], "warn"),
    };
    let Some((last, way)) = keys.split_last() else { return false };
    let Some(table) = descend(procedure, way) else { return false };
    let Some(array) = table.get_mut(last).and_then(Item::as_array_mut) else { return false };
    let is_it = |one: &Value| match one.as_inline_table() {
        Some(table) => table.to_string().trim().parse::<WriteGrant>().is_ok_and(|grant| grant.to_string() == value),
        None => one.as_str() == Some(value),
    };
    let Some(at) = array.iter().position(is_it) else { return false };
    array.remove(at);
    instead.iter().rev().for_each(|name| array.insert(at, name.as_str()));
    if array.is_empty() {
        table.remove(last);
    }
    true
}

fn take_out(procedure: &mut dyn TableLike, keys: &[&str]) -> bool {
    let Some((last, way)) = keys.split_last() else { return false };
    descend(procedure, way).is_some_and(|table| table.remove(last).is_some())
}

fn descend<'a>(table: &'a mut dyn TableLike, way: &[&str]) -> Option<&'a mut dyn TableLike> {
    way.iter().try_fold(table, |table, key| table.get_mut(key)?.as_table_like_mut())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assessment::{self, Usages};
    use std::fs;
    use warded_artifact::imports;
    use warded_lib::{
        audit::{Event, Kind, Record},
        digest::Digest,
    };

    const USED: [(&str, &str); 4] = [
        ("authority renew host", "host certificate for web1"),
        ("keys sshd-host-keys", "the host keys that sshd uses"),
        ("files.read /etc/x/*", "/etc/x/one"),
        ("services.ssh reload", "ssh"),
    ];

    /// The record of a call.
    fn asked(procedure: &str, (grant, need): (&str, &str)) -> Record {
        let event = Event {
            policy: "unix".into(),
            procedure: procedure.into(),
            grant: Some(grant.into()),
            need: Some(need.into()),
            ..Event::new(1, Kind::Asked)
        };
        Record {
            n: 1,
            time: jiff::Timestamp::UNIX_EPOCH,
            previous: Digest::of(b""),
            event,
            torn: None,
            known: None,
            seals: None,
            hash: Digest::of(b""),
        }
    }

    /// A procedure that ran keeps the grants it used, one that did not run keeps all of its grants, and the policy
    /// grants no more than before.
    #[test]
    fn what_was_not_used_goes() {
        let directory = format!("{}/../policies", env!("CARGO_MANIFEST_DIR"));
        let component = fs::read(format!("{directory}/unix.wasm")).unwrap();
        let text = fs::read_to_string(format!("{directory}/unix.toml")).unwrap();
        let renew = "[procedure.renew-host]\n";
        let text = text.replace(renew, &format!("{renew}files.read = [\"/etc/x/*\", \"/etc/y\"]\n"));
        let policy = Policy::parse(&text, "a policy").unwrap();
        let request = imports::request(&component).unwrap().unwrap();
        let request = Policy::parse(&request, "a request").unwrap();
        let records: Vec<Record> = USED.map(|used| asked("renew-host", used)).into();
        let usages = Usages::read("unix", &records);
        let assessed = assessment::assess(&component, Some(&request), Some(&policy), &usages).unwrap();
        let suggestion = assessed.suggestion(&text).unwrap();
        let smaller = Policy::parse(&suggestion.text, "a suggestion").unwrap();
        assert_eq!(warded_lib::policy::widening::wider(&policy, &smaller), [""; 0]);
        for (name, procedure) in &smaller.procedures {
            assert!(name.as_str() == "renew-host" || *procedure == policy.procedures[name], "{name}");
        }
        let changes: Vec<String> = suggestion.changes.iter().map(Change::to_string).collect();
        insta::assert_snapshot!(changes.join("\n"), @r"
        renew-host: authority issue host (not used)
        renew-host: certificates beside-key (not used)
        renew-host: files.read /etc/x/* (used for these names alone), instead: /etc/x/one
        renew-host: files.read /etc/y (not used)
        renew-host: sshd.effective (not used)
        ");
    }
}
