//! A change set as people and programs review it: one entry for each file, with a diff.

use super::{ChangeSet, Request, staged::After};
use crate::{
    ca::{certificate, step::x509::X509},
    machine::{
        action::Step,
        keys::{holds_private_key, replaced::KeyReplacement},
        schedule::{SCHEDULE, Started},
        service::{Service, ServiceOperation},
    },
    name::Name,
    text::{diff, neutral},
};
use serde::{Serialize, Serializer};
use ssh_key::PublicKey;
use std::{collections::BTreeMap, fmt};

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The file is created.
    Add,
    Change,
    /// The file is removed.
    Remove,
}

/// One file of a change set.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// What happens to the file.
    pub action: Action,
    /// The path of the file.
    pub path: String,
    /// What the file is, in a few words; empty for plain text.
    pub what: String,
    /// What works before the change and no longer after it, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<String>,
    /// The removed and added lines, with `-`, `+` or a blank before each; empty where the contents are not text, or
    /// not known yet.
    pub diff: Vec<String>,
    /// Permission bits, in octal, where they are new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The grant that allows the change.
    pub grant: String,
}

/// A change set, prepared for review.
#[derive(Clone, Debug, Serialize)]
pub struct Review {
    pub files: Vec<Entry>,
    /// The programs that are run, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<ProgramRun>,
    /// The services that are reloaded or restarted, in order.
    pub reloads: Vec<ServiceChange>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ProgramRun {
    /// The name of the program in the policy.
    pub name: String,
    pub program: String,
    /// Whether nothing can undo the program.
    pub irreversible: bool,
    /// What the program changes, line by line, as in [`Entry::diff`].
    pub diff: Vec<String>,
}

impl ProgramRun {
    /// A queued program.
    #[must_use]
    pub fn of(step: &Step) -> Self {
        let diff = step.seen.as_ref().map(|seen| lines(seen.before.lines().as_bytes(), seen.after.lines().as_bytes()));
        let (name, program) = (step.change.name.to_string(), neutral(step.change.action.program()));
        Self { name, program, irreversible: step.seen.is_none(), diff: diff.unwrap_or_default() }
    }
}

/// A service that is reloaded or restarted. A program gets its name, after `restart ` for a restart. A person also
/// sees what that name stands for, since a policy can call anything `ssh`.
#[derive(Clone, Debug)]
pub struct ServiceChange {
    operation: ServiceOperation,
    name: String,
    told: String,
}

impl ServiceChange {
    /// A service, as a policy describes it.
    #[must_use]
    pub fn of(operation: ServiceOperation, name: &Name, service: &Service) -> Self {
        Self { operation, name: name.to_string(), told: service.to_string() }
    }

    /// The parts of a schedule that the init system takes up.
    #[must_use]
    pub fn schedule(started: &[Started]) -> Self {
        let names: Vec<&str> = started.iter().map(Started::name).collect();
        let by = started.first().map(Started::by).unwrap_or_default();
        let operation = ServiceOperation::Reload;
        Self { operation, name: SCHEDULE.to_owned(), told: format!("{by} takes up {}", names.join(", ")) }
    }

    /// The operation, and the name of the service in the policy.
    #[must_use]
    pub fn named(&self) -> (ServiceOperation, &str) {
        (self.operation, &self.name)
    }
}

impl fmt::Display for ServiceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.operation, self.name, self.told)
    }
}

impl Serialize for ServiceChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.operation {
            ServiceOperation::Reload => serializer.serialize_str(&self.name),
            ServiceOperation::Restart => serializer.serialize_str(&format!("restart {}", self.name)),
        }
    }
}

impl Review {
    /// The review of a change set. `services` are those of the policy, `roots` the keys of the CA that will sign;
    /// none: they are not known.
    #[must_use]
    pub fn of(changes: &ChangeSet, services: &BTreeMap<Name, Service>, roots: &[PublicKey]) -> Self {
        let told = changes.services().iter();
        let reloads = told.filter_map(|(what, name)| Some(ServiceChange::of(*what, name, services.get(name)?)));
        let schedule = Some(changes.schedule()).filter(|started| !started.is_empty()).map(ServiceChange::schedule);
        let files = changes.staged().iter().map(|staged| entry(changes, staged, roots));
        let programs = changes.steps().iter().map(ProgramRun::of).collect();
        Self { files: files.collect(), programs, reloads: reloads.chain(schedule).collect() }
    }
}

impl Entry {
    /// The entry of a change whose contents are known on both sides. A private key is never shown, whichever side it
    /// is on.
    #[must_use]
    pub fn new(path: &str, before: Option<&[u8]>, after: Option<&[u8]>, grant: &str) -> Self {
        let action = match (before, after) {
            (_, None) => Action::Remove,
            (None, Some(_)) => Action::Add,
            (Some(_), Some(_)) => Action::Change,
        };
        let sides = [before.unwrap_or_default(), after.unwrap_or_default()];
        let [was, becomes] = sides;
        let what = if sides.into_iter().any(holds_private_key) {
            "private key"
        } else if sides.into_iter().all(|side| side.is_empty() || is_certificate(side)) && sides.concat() != b"" {
            "certificate"
        } else {
            ""
        };
        let diff = if what.is_empty() { lines(was, becomes) } else { Vec::new() };
        let ends = KeyReplacement::between(path, was, becomes).iter().map(KeyReplacement::ends).collect();
        let (path, grant) = (neutral(path), grant.to_owned());
        Self { action, path, what: what.to_owned(), ends, diff, mode: None, grant }
    }
}

/// Whether the contents are an SSH certificate, or X.509 certificates in PEM as Warded writes them, and nothing else.
/// A person has to see each line of any other text.
fn is_certificate(contents: &[u8]) -> bool {
    let is_x509 =
        || X509::parse_all(contents).is_ok_and(|all| all.iter().flat_map(|one| one.pem.as_bytes()).eq(contents));
    certificate::parse(contents).is_ok() || (contents.starts_with(b"-----BEGIN CERTIFICATE-----") && is_x509())
}

/// What the replaced certificate makes possible and the new one will not.
fn ends(before: &[u8], request: &Request, roots: &[PublicKey]) -> Vec<String> {
    let Ok(old) = certificate::parse(before) else { return Vec::new() };
    let mut ends = Vec::new();
    let gone: Vec<String> =
        old.principals().iter().filter(|name| !request.principals.contains(name)).map(|name| neutral(name)).collect();
    if !gone.is_empty() {
        ends.push(format!(
            "no longer holds for {}: who knows only the CA cannot connect by that name",
            gone.join(", ")
        ));
    }
    let signer = old.signer();
    if !roots.is_empty() && !roots.iter().any(|root| root.key_data() == signer.key_data()) {
        ends.push(format!("signed by another CA than now: who knows only {} cannot connect", old.signer_fingerprint()));
    }
    ends
}

fn entry(changes: &ChangeSet, staged: &super::StagedChange, roots: &[PublicKey]) -> Entry {
    let before = staged.before.as_ref().map(|before| before.contents.as_slice());
    let after = match &staged.after {
        After::Bytes { contents, .. } => Some(contents.as_slice()),
        After::Removed => None,
        // The contents are not known yet, or must not be shown: the words below stand for them.
        After::PrivateKey { .. } | After::Certificate { .. } => Some(b"".as_slice()),
    };
    let mut entry = Entry::new(staged.path.as_str(), before, after, &staged.grant);
    match &staged.after {
        After::Bytes { .. } if staged.place.is_to_be() => entry.what = "in a new directory".to_owned(),
        After::Removed | After::Bytes { .. } => {}
        After::PrivateKey { .. } => {
            let replaced = staged.replaced();
            let how = if replaced.is_some() { "another one, made here" } else { "made here" };
            entry.what = format!("private key, {how}");
            entry.ends = replaced.iter().map(KeyReplacement::ends).collect();
            entry.diff.clear();
        }
        After::Certificate { request } => {
            entry.diff.clear();
            if let Some(request) = changes.request_of(*request) {
                let how = match &request.current {
                    None => "new",
                    Some(_) if request.is_rekey() => "rekeyed",
                    Some(_) => "renewed",
                };
                entry.what = format!("{how} {} certificate · {}", request.kind, request.principals);
                entry.ends = ends(before.unwrap_or_default(), request, roots);
            }
        }
    }
    let mode = staged.after.mode(staged.before.as_ref());
    let new_mode =
        !matches!(staged.after, After::Removed) && staged.before.as_ref().is_none_or(|before| before.mode != mode);
    entry.mode = new_mode.then(|| format!("{mode:04o}"));
    entry
}

/// With more lines than this, no person reads the diff, and comparing them takes too long.
const LINES: usize = 20_000;

/// The changed lines with up to two lines of context, as `diff -U2` has them, without headers.
#[must_use]
pub fn lines(before: &[u8], after: &[u8]) -> Vec<String> {
    let (Ok(before), Ok(after)) = (std::str::from_utf8(before), std::str::from_utf8(after)) else { return Vec::new() };
    let many = |text: &str| text.lines().count() > LINES;
    if many(before) || many(after) {
        let (before, after) = (before.lines().count(), after.lines().count());
        return vec![format!("… too many lines to compare: {before} before, {after} after")];
    }
    diff::lines(before, after, 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::step::x509::tests::PLAIN;

    #[test]
    fn a_private_key_is_never_shown() {
        let key = b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n".as_slice();
        for (before, after) in [(Some(key), None), (None, Some(key)), (Some(key), Some(b"x\n".as_slice()))] {
            let entry = Entry::new("/k", before, after, "g");
            assert_eq!((entry.what.as_str(), entry.diff.len()), ("private key", 0));
        }
    }

    /// A diff of certificates tells a person nothing, but any other text in such a file does.
    #[test]
    fn certificates_are_named_and_other_text_is_shown() {
        let root = X509::parse(PLAIN.as_bytes()).unwrap().pem;
        let more = format!("{root}more\n");
        for (before, after, what) in [
            (Some(root.as_str()), None, "certificate"),
            (None, Some(root.as_str()), "certificate"),
            (Some(root.as_str()), Some(more.as_str()), ""),
            (Some(root.as_str()), Some("other\n"), ""),
        ] {
            let entry = Entry::new("/c", before.map(str::as_bytes), after.map(str::as_bytes), "g");
            assert_eq!((entry.what.as_str(), entry.diff.is_empty()), (what, !what.is_empty()), "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_diff_shows_what_goes_and_comes() {
        assert_eq!(lines(b"", b"a\nb\n"), ["+a", "+b"]);
        assert_eq!(lines(b"a\nb\nc\nd\ne\nf\n", b"a\nb\nc\nX\ne\nf\n"), [" b", " c", "-d", "+X", " e", " f"]);
        assert_eq!(lines(b"\xff", b"a"), Vec::<String>::new());
        assert_eq!(lines(b"", b"\x1b[2J\n"), ["+\\u{1b}[2J"]);
    }
}
