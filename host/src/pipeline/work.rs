//! The work of a run: the reviewed change set. The certificates are filled in on the way.

mod known_hosts;
mod order;
mod queue;
mod requests;

use super::{
    PlannedRun, Terms,
    vouch::{HostKeyRecords, Voucher},
};
use crate::broker::Identity;
use jiff::Timestamp;
use order::{order_of, order_of_removal};
pub use queue::QueueItem;
use ssh_key::PublicKey;
use sshd_config::principals::Mapping;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    path::PathBuf,
};
use warded_lib::{
    ca::Certificate,
    change_set::{
        ChangeSet, Request, RequestId,
        staged::{After, StagedChange},
    },
    error::{Error, Result},
    guard::{Authorship, MayChange, config_digest::Digests},
    machine::{
        action::Step, keys::replaced::KeyReplacement, path::AbsolutePath, schedule::SCHEDULE,
        service::ServiceOperation, users,
    },
    name::Name,
    text::{count, neutral},
    transaction::{
        FileChange, NewFile, Order, OwnFile, ReadSet, Reload, RunIdentity, Target, Undo, refuse_irreplaceable,
    },
};

/// Changes on their way to the machine. Their files are those that were reviewed; none can be added.
#[derive(Debug)]
pub struct Work {
    source: Source,
    certificates: BTreeMap<RequestId, Certificate>,
    /// Services to reload, with how each is reached according to the policy.
    pub reloads: Vec<Reload>,
    /// Programs to run, each with how many of the reloads come before it.
    pub steps: Vec<Step>,
    /// The files by which this machine trusts its CA: the host stages them, and no guest can write them.
    pub trust: Vec<FileChange>,
    /// What happens to a file of Warded's own once this run is kept.
    pub own: Option<OwnFile>,
    /// The terms on which the changes are made.
    pub terms: Terms,
    /// For a renewal: what is known of the host keys. It may leave certificates to another run.
    pub renewal: Option<HostKeyRecords>,
    /// For a renewal: warnings from before it began, such as about a key that it leaves out.
    pub warnings: Vec<String>,
    /// The requests that are made on the word of other host keys.
    pub vouched: BTreeMap<RequestId, Vec<Voucher>>,
    /// The requests for new certificates that became renewals.
    pub succeeded: BTreeSet<RequestId>,
    /// The keys that the CA gave this run for users' certificates: sshd may not come to trust any others.
    pub user_authorities: Vec<PublicKey>,
    /// Which principals the operator lets log in as which users; `None` if the operator did not say.
    pub principals: Option<Mapping>,
    /// The configuration that sshd used when it answered the procedure.
    pub configuration: Option<Digests>,
    /// Which lines of sshd's configuration Warded wrote.
    pub authorship: Authorship,
    /// The files that were planned, and left for another run.
    pub withdrawn: Vec<AbsolutePath>,
    /// The command that shows what is left to do if another run is faster.
    pub shows_rest: String,
    /// Whether certificates that the machine had before may be restored although they have expired since.
    pub restores_expired: bool,
    keywords: Vec<String>,
    undoes: Option<RangeInclusive<u64>>,
}

#[derive(Debug)]
enum Source {
    Staged(ChangeSet),
    Undo(Vec<FileChange>),
}

impl Work {
    /// The work that results from a plan.
    #[must_use]
    pub fn of(planned: PlannedRun<'_>, terms: Terms) -> Self {
        let services = &planned.granting.policy.services;
        let changes = planned.session.changes;
        let reload = |(operation, name): &(ServiceOperation, Name)| {
            Some(Reload::service(name.clone(), services.get(name)?.clone()).by(*operation))
        };
        let (units, steps) = (changes.schedule(), changes.steps().to_vec());
        let schedule = SCHEDULE.parse().ok().filter(|_| !units.is_empty());
        Self {
            reloads: changes
                .services()
                .iter()
                .filter_map(reload)
                .chain(schedule.map(|name| Reload::schedule(name, units.to_vec())))
                .collect(),
            keywords: planned.procedure.sshd.keywords.iter().map(|keyword| keyword.as_str().to_owned()).collect(),
            source: Source::Staged(changes),
            certificates: BTreeMap::new(),
            steps,
            trust: Vec::new(),
            own: None,
            authorship: planned.authorship.with_unrecorded(terms.unrecorded_lines),
            terms,
            renewal: None,
            warnings: Vec::new(),
            vouched: BTreeMap::new(),
            succeeded: BTreeSet::new(),
            withdrawn: Vec::new(),
            user_authorities: planned.session.user_authorities,
            principals: mapping(&planned.session.circumstances.mapped),
            configuration: planned.session.configuration,
            shows_rest: format!("warded plan {}", planned.identity.procedure),
            restores_expired: false,
            undoes: None,
        }
    }

    /// The work of rolling a run back.
    #[must_use]
    pub fn undoing(undo: Undo, terms: Terms) -> Self {
        Self {
            undoes: Some(undo.runs()),
            restores_expired: false,
            source: Source::Undo(undo.changes),
            certificates: BTreeMap::new(),
            reloads: undo.reloads,
            steps: undo.steps,
            trust: Vec::new(),
            own: None,
            terms,
            renewal: None,
            warnings: Vec::new(),
            vouched: BTreeMap::new(),
            succeeded: BTreeSet::new(),
            withdrawn: Vec::new(),
            user_authorities: Vec::new(),
            principals: None,
            configuration: None,
            shows_rest: "warded undo".to_owned(),
            authorship: Authorship::default(),
            keywords: Vec::new(),
        }
    }

    /// The private key that the run makes at this path, if any.
    #[must_use]
    pub fn made_key(&self, path: &AbsolutePath) -> Option<&str> {
        let Source::Staged(changes) = &self.source else { return None };
        changes.staged().iter().find(|one| one.path == *path)?.after.private_key()
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.source, Source::Staged(changes) if changes.is_empty())
    }

    /// The files that certificates will be written to, by their real paths, with their requests.
    pub fn certificate_files(&self) -> impl Iterator<Item = (PathBuf, &Request)> {
        let changes = match &self.source {
            Source::Staged(changes) => Some(changes),
            Source::Undo(_) => None,
        };
        changes.into_iter().flat_map(|changes| {
            changes.staged().iter().filter_map(|staged| match &staged.after {
                After::Certificate { request } => Some((staged.place.resolved(), changes.request_of(*request)?)),
                After::Removed | After::Bytes { .. } | After::PrivateKey { .. } => None,
            })
        })
    }

    /// Fills a certificate in for its request.
    pub fn fill(&mut self, request: RequestId, certificate: Certificate) {
        self.certificates.insert(request, certificate);
    }

    /// Every file as it will be, by its real path; `None` if it is removed. `pending` supplies a stand-in for each
    /// certificate that has not been issued yet.
    ///
    /// # Errors
    /// What `pending` returns.
    pub fn result(
        &self,
        pending: impl Fn(&Request) -> Result<Certificate>,
    ) -> Result<BTreeMap<PathBuf, Option<Vec<u8>>>> {
        match &self.source {
            Source::Undo(changes) => Ok(changes
                .iter()
                .map(|change| (change.place.resolved(), change.after.as_ref().map(|after| after.contents.to_vec())))
                .collect()),
            Source::Staged(changes) => changes
                .staged()
                .iter()
                .map(|staged| {
                    let contents = match &staged.after {
                        After::Removed => None,
                        After::Bytes { contents, .. } => Some(contents.clone()),
                        After::PrivateKey { text, .. } => Some(text.as_bytes().to_vec()),
                        After::Certificate { request } => Some(match self.certificates.get(request) {
                            Some(certificate) => certificate.to_file().into_bytes(),
                            None => {
                                let request = changes.request_of(*request).ok_or_else(nameless)?;
                                pending(request)?.to_file().into_bytes()
                            }
                        }),
                    };
                    Ok((staged.place.resolved(), contents))
                })
                .collect(),
        }
    }

    /// The complete changes.
    ///
    /// # Errors
    /// A certificate is missing.
    pub fn changes(&self) -> Result<Vec<FileChange>> {
        let changes = match &self.source {
            Source::Undo(changes) => return Ok(changes.clone()),
            Source::Staged(changes) => changes,
        };
        let staged = changes.staged().iter().map(|staged| {
            let mode = staged.after.mode(staged.before.as_ref());
            let (after, order) = match &staged.after {
                After::Removed => (None, order_of_removal(staged, changes)),
                After::Bytes { contents, .. } => {
                    (Some(NewFile::new(contents.clone(), mode)), order_of(staged, contents, changes))
                }
                After::PrivateKey { text, .. } => (Some(NewFile::new(text.as_bytes().to_vec(), mode)), Order::WriteKey),
                After::Certificate { request } => {
                    let certificate = self.certificates.get(request).ok_or_else(nameless)?;
                    (Some(NewFile::new(certificate.to_file().into_bytes(), mode)), Order::WriteCertificate)
                }
            };
            let (path, place, before) = (staged.path.clone(), staged.place.clone(), staged.before.clone());
            Ok(FileChange { path, place, before, after, order, scratch: None })
        });
        staged.chain(self.trust.iter().cloned().map(Ok)).collect()
    }

    /// The private keys that other keys replace.
    #[must_use]
    pub fn replaced(&self) -> Vec<KeyReplacement> {
        match &self.source {
            Source::Staged(changes) => changes.replaced().collect(),
            Source::Undo(changes) => changes
                .iter()
                .filter_map(|change| {
                    let (before, after) = (change.before.as_ref()?, change.after.as_ref()?);
                    KeyReplacement::between(change.path.as_str(), &before.contents, &after.contents)
                })
                .collect(),
        }
    }

    /// Refuses to end the use of a host key, unless the operator accepted that.
    ///
    /// # Errors
    /// Refused: the error names the keys that would no longer be used.
    pub fn refuse_unaccepted(&self) -> Result<()> {
        let replaced = self.replaced();
        if self.terms.replace_host_keys || replaced.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = replaced.iter().map(|one| format!("{}: {}", neutral(&one.path), one.ends())).collect();
        Err(Error::refused("host keys that clients may know would end")
            .cause(keys.join("\n"))
            .next("if that is what you want, run it again with --accept-risk=replace-host-keys"))
    }

    /// Refuses changes that the file system does not allow, as far as that can be seen without trying.
    ///
    /// # Errors
    /// Refused: the first such file, why, and what to do.
    pub fn refuse_irreplaceable(&self) -> Result<()> {
        let targets: Vec<Target<'_>> = match &self.source {
            Source::Staged(changes) => changes.staged().iter().map(target).collect(),
            Source::Undo(changes) => changes.iter().map(Target::from).collect(),
        };
        refuse_irreplaceable(&targets)
    }

    /// Each file that is to change or that the run depended on, as it was when it was read.
    #[must_use]
    pub fn expected(&self) -> ReadSet {
        let before = |change: &FileChange| change.before.as_ref().map(|before| (before.digest, before.inode));
        match &self.source {
            Source::Staged(_) => self.reads(),
            Source::Undo(changes) => changes.iter().map(|change| (change.place.clone(), before(change))).collect(),
        }
    }

    /// The files that the run depended on.
    #[must_use]
    pub fn reads(&self) -> ReadSet {
        match &self.source {
            Source::Staged(changes) => changes.reads().cloned().collect(),
            Source::Undo(_) => Vec::new(),
        }
    }

    /// What may change in sshd's effective configuration.
    #[must_use]
    pub fn may_change(&self) -> MayChange<'_> {
        match &self.source {
            Source::Staged(_) => MayChange::Only(&self.keywords),
            Source::Undo(_) => MayChange::Any,
        }
    }

    /// The run as the journal identifies it.
    ///
    /// # Errors
    /// The run was planned as one that changes nothing.
    pub fn run_identity(&self, identity: &Identity) -> Result<RunIdentity> {
        let run = identity.run.ok_or_else(|| Error::failed("a run without a number cannot change anything"))?;
        let identity = RunIdentity {
            run,
            policy: identity.policy.to_string(),
            component: identity.component,
            procedure: identity.procedure.to_string(),
            started: Timestamp::now(),
            by: Some(users::operator()),
            undoes: None,
            down_to: None,
            enrols: self.own.is_some(),
        };
        Ok(match &self.undoes {
            Some(runs) => identity.undoing(runs),
            None => identity,
        })
    }

    /// A short description for the record.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut paths: Vec<String> = match &self.source {
            Source::Staged(changes) => changes.staged().iter().map(|staged| staged.path.to_string()).collect(),
            Source::Undo(changes) => changes.iter().map(|change| change.path.to_string()).collect(),
        };
        paths.extend(self.trust.iter().map(|change| change.path.to_string()));
        let reloads: Vec<&str> = self.reloads.iter().map(|reload| reload.name.as_str()).collect();
        let programs: String = self.steps.iter().map(|step| format!("; run: {}", step.change.name)).collect();
        let accepted: String = self.terms.accepted().map(|risk| format!("; accepted: {risk}")).collect();
        format!(
            "change {}: {}; reload: {}{programs}{accepted}",
            count(paths.len(), "file"),
            paths.join(" "),
            reloads.join(" ")
        )
    }
}

fn target(staged: &StagedChange) -> Target<'_> {
    let bytes = match &staged.after {
        After::Removed => None,
        After::Bytes { contents, .. } => Some(contents.len()),
        After::PrivateKey { text, .. } => Some(text.len()),
        // The CA has not made the certificate yet. Any content takes at least one block.
        After::Certificate { .. } => Some(1),
    };
    Target { path: &staged.path, place: &staged.place, bytes }
}

/// The operator's mapping of principals. If it cannot be parsed, no principal may change.
fn mapping(given: &[String]) -> Option<Mapping> {
    Mapping::parse(given.iter().map(String::as_str)).ok().filter(|_| !given.is_empty())
}

fn nameless() -> Error {
    Error::failed("a certificate was staged that the procedure had not requested")
}
