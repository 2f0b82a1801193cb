//! What the next `warded renew` will meet: the checks that it makes first, made without side effects.

use super::{renew, status};
use crate::{components, context::Context, enrolment::Enrolment};
use serde::{Serialize, Serializer};
use std::{
    collections::BTreeSet,
    fmt,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};
use warded_lib::{
    ca::{self, CaError, Certificate, Kind, due, rotation, step::inspection::Concern, verify},
    error::{Error, Label, Result},
    guard::files,
    machine::{
        ownership::chmod_unwritable,
        path::AbsolutePath,
        sshd::{
            Effective,
            tree::{Overlay, StagedFiles, Tree},
        },
    },
    moment::distance,
    text::neutral,
    transaction::{self, Target},
};

/// What is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) seen: String,
    pub(super) next: Option<String>,
    pub(super) kind: ProblemKind,
}

/// The subject of a problem, where something depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ProblemKind {
    #[default]
    Other,
    /// The CA, which `doctor` checks separately.
    Ca,
    /// Something that Warded set and that has changed since.
    Drift,
}

impl Problem {
    pub(super) fn of(seen: impl Into<String>) -> Self {
        Self { seen: seen.into(), next: None, kind: ProblemKind::Other }
    }

    pub(super) fn with(seen: impl Into<String>, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..Self::of(seen) }
    }

    pub(super) fn of_drift(seen: impl Into<String>, next: impl Into<String>) -> Self {
        Self { kind: ProblemKind::Drift, ..Self::with(seen, next) }
    }

    fn of_ca(error: CaError) -> Self {
        Self { kind: ProblemKind::Ca, ..Self::of_error("renew would fail", &error.into()) }
    }

    pub(super) fn of_error(what: &str, error: &Error) -> Self {
        let next = error.notes_of(Label::Next).next().map(str::to_owned);
        Self { next, ..Self::of(format!("{what}: {}", error.brief())) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.next {
            Some(next) => write!(f, "{}; {next}", self.seen),
            None => f.write_str(&self.seen),
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Problems that prevent the next renewal, or will.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    pub(super) problems: Vec<Problem>,
    /// What is not a problem yet.
    pub(super) notes: Vec<String>,
    /// Whether the CA answered; `None` if it was not asked.
    pub(super) ca_reachable: Option<bool>,
}

/// Checks an enrolled machine with these certificates, which are listed with their files.
pub(super) fn look(context: &Context, enrolled: &Enrolment, certificates: &[(String, Certificate)]) -> Outlook {
    let mut outlook = Outlook::default();
    if let Some(problem) = unrenewed(context, enrolled) {
        outlook.problems.push(problem);
        return outlook;
    }
    let (now, rhythm) = (ca::now(), context.renew_every);
    // An expired certificate is reported as expired.
    let holding = || certificates.iter().map(|(_, certificate)| certificate).filter(|one| now < one.valid_before());
    outlook.problems.extend(holding().find_map(|one| too_short(one, rhythm)));
    let due_since = |certificate: &Certificate| {
        due::due_at(certificate, context.renew_after, &context.facts.machine_id).filter(|due| *due <= now)
    };
    let is_due = certificates.iter().any(|(_, certificate)| due_since(certificate).is_some());
    let earliest = holding().filter_map(due_since).min();
    outlook.problems.extend(irreplaceable(context, certificates));
    let before = outlook.problems.len();
    ask(context, certificates, is_due, &mut outlook);
    if let Some(due) = earliest.filter(|due| due::is_overdue(*due, now, rhythm))
        && outlook.problems.len() == before
    {
        let seen = format!("a renewal has been due for {}, and there was none", in_words(now - due));
        outlook.problems.push(Problem::with(
            seen,
            "warded renew shows why; run it every hour from cron or a systemd timer (docs/RENEWAL.md)",
        ));
    }
    outlook
}

/// The problem of a certificate that can expire between two renewals, which come every `rhythm` seconds.
pub(super) fn too_short(certificate: &Certificate, rhythm: u64) -> Option<Problem> {
    let life = due::short_life(certificate, rhythm)?;
    let seen = format!(
        "its certificates last {}, and `warded renew` runs every {}: they can end before they are renewed",
        distance(life),
        in_words(rhythm)
    );
    let next = "run `warded renew` more often and set renew-every, or have the CA certify for a longer time";
    Some(Problem::with(seen, next))
}

/// Asks the CA what it would do.
fn ask(context: &Context, certificates: &[(String, Certificate)], is_due: bool, outlook: &mut Outlook) {
    let asked = context.authority.open().and_then(|authority| authority.roots(Kind::Host));
    outlook.ca_reachable = match &asked {
        Ok(_) | Err(CaError::Refused { .. } | CaError::Wrong(_)) => Some(true),
        Err(CaError::Unreachable { .. }) => Some(false),
        Err(_) => None,
    };
    let roots = match asked {
        Ok(roots) => roots,
        // It may answer again before a certificate is due.
        Err(error @ CaError::Unreachable { .. }) if !is_due && !has_expired(context) => {
            return outlook.notes.push(format!("{error}; no renewal is due yet"));
        }
        Err(error) => return outlook.problems.push(Problem::of_ca(error)),
    };
    let now = ca::now();
    for (path, certificate) in certificates {
        if let Err(wrong) = verify::signed_by(certificate, &roots) {
            let next = "warded apply certify-host gets one from this CA";
            outlook.problems.push(Problem::with(format!("renew would leave {path} as it is: {wrong}"), next));
            continue;
        }
        let change =
            roots.first().and_then(|signer| rotation::new_signer(certificate, signer, now, context.rotation_terms()));
        let Some(change) = change else { continue };
        let problem = Problem::with(
            format!("renew puts new certificates off: {change}"),
            format!("{}; then: warded renew --accept-risk=new-ca-key, or {}", rotation::NEXT, change.setting()),
        );
        if !outlook.problems.contains(&problem) {
            outlook.problems.push(problem);
        }
    }
    // If the CA answered a moment ago and does not now, the next check asks it again.
    let Ok(Some(step)) = context.authority.open_step() else { return };
    for concern in step.concerns().unwrap_or_default() {
        // `renew` finds the provisioner that renews instead.
        if matches!(concern, Concern::RenamedProvisioner { .. }) {
            outlook.notes.push(concern.seen());
        } else {
            let problem = Problem::with(concern.seen(), concern.next(step.http().base()));
            outlook.problems.push(Problem { kind: ProblemKind::Ca, ..problem });
        }
    }
}

/// Whether a certificate has expired on which TLS with the CA depends. The CA's last answer showed it.
fn has_expired(context: &Context) -> bool {
    let step = context.authority.open_step().ok().flatten();
    step.is_some_and(|step| step.chain().iter().any(|(_, certificate)| certificate.until < ca::now()))
}

/// Certificates that the file system does not allow to replace.
fn irreplaceable(context: &Context, certificates: &[(String, Certificate)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, certificate) in certificates {
        let Ok(path) = AbsolutePath::spelled(Path::new(path)) else { continue };
        let bytes = Some(certificate.to_file().len());
        let found = context.root.place(&path, usize::MAX).map_err(Error::from).and_then(|place| {
            let Some(place) = &place else { return Ok(()) };
            // A file with a second hard link is not read.
            place.metadata()?;
            transaction::refuse_irreplaceable(&[Target { path: &path, place, bytes }])
        });
        problems.extend(found.err().map(|error| Problem::of_error("renew would be refused", &error)));
    }
    problems
}

/// Why `renew` would refuse to renew this machine, if it would.
fn unrenewed(context: &Context, enrolled: &Enrolment) -> Option<Problem> {
    let (message, cause) = match components::find(&context.policies, &enrolled.policy) {
        Ok(granting) => {
            let renew::Obstacle { message, cause } = renew::obstacle(context, enrolled, &granting)?;
            (message, format!("{cause}; {}", renew::accept(context, enrolled, &granting)))
        }
        Err(error) => {
            let notes: Vec<&str> = error.notes().map(|(_, text)| text).collect();
            (error.message().to_owned(), notes.join("; "))
        }
    };
    Some(Problem::of(format!("renew would refuse: {message} ({})", cause.replace('\n', "; "))))
}

fn in_words(seconds: u64) -> String {
    distance(std::time::Duration::from_secs(seconds))
}

/// Faults of the lists of keys that sshd reads at each login.
#[derive(Default)]
pub(super) struct ListFaults {
    /// No renewal succeeds with such a list: it is not a regular file, so sshd would wait for it; or others than root
    /// can change it.
    pub(super) problems: Vec<Problem>,
    /// The list affects only logins. Warded did not make it, and it does not hinder Warded.
    pub(super) warnings: Vec<Problem>,
}

/// Checks those lists. `tree` contains the lists that sshd reads only for some connections.
pub(super) fn lists(effective: &Effective, tree: Option<&Tree>) -> ListFaults {
    let keywords = ["revokedkeys", "trustedusercakeys"];
    let everywhere =
        keywords.iter().flat_map(|keyword| effective.values(keyword).iter().map(move |path| (*keyword, path.clone())));
    let lines = tree.and_then(|tree| tree.lines().ok()).unwrap_or_default();
    let within = lines.iter().filter(|line| !line.within.is_empty()).flat_map(|line| {
        let keyword = keywords.into_iter().find(|keyword| *keyword == line.directive.keyword);
        keyword
            .into_iter()
            .flat_map(|keyword| line.directive.arguments.iter().map(move |one| (keyword, one.text.clone())))
    });
    let named: BTreeSet<(&str, String)> = everywhere.chain(within).collect();
    // Warded's own list is checked separately.
    let others = named.iter().filter(|(_, path)| !status::is_own_list(path));
    let (endless, lists): (Vec<_>, Vec<_>) = others.partition(|(_, path)| is_endless(Path::new(path)));
    let faults = |lists: Vec<&(&str, String)>| {
        let lines: String = lists.into_iter().map(|(keyword, path)| format!("{keyword} {path}\n")).collect();
        let nothing = StagedFiles::new();
        let found = files::problems(&Effective::parse(&lines), Overlay(&nothing), &[], ca::now());
        let next = "restore the file, or take its line out of sshd's configuration and reload sshd";
        found.into_iter().map(move |fault| Problem::with(fault, next))
    };
    let open = named.iter().filter_map(|(_, path)| open_to_others(Path::new(path)));
    ListFaults { problems: faults(endless).chain(open).collect(), warnings: faults(lists).collect() }
}

/// A FIFO or a device: a program that reads it may wait for ever.
fn is_endless(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// The problem of a list that users other than root can write, so that they decide whom sshd lets in.
fn open_to_others(path: &Path) -> Option<Problem> {
    let found = fs::metadata(path).ok().filter(Metadata::is_file)?;
    let shown = neutral(&path.to_string_lossy());
    let seen = format!("others can write {shown}, by which sshd decides whom it lets in");
    (found.mode() & 0o022 != 0).then(|| Problem::with(seen, chmod_unwritable(path, found.mode())))
}
