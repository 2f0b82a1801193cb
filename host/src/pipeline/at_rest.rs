//! What a renewal looked at when nothing was due, or when it had renewed everything that was due. As long as none of it
//! has changed and nothing is due, the next unattended renewal need not look again: it reads one file, stats some
//! others, and starts no program.

use super::RunReport;
use crate::{broker::session::Session, context::Context, enrolment::Enrolments, outcomes::Outcome};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};
use warded_lib::{
    ca::{Certificate, certificate, due, now},
    config,
    error::Exit,
    guard::config_digest::{self, Digests},
    machine::{
        facts,
        file_identity::FileIdentity,
        path::AbsolutePath,
        sshd::{Listener, Sshd, listener},
    },
    transaction,
};

/// After so many seconds a renewal looks at everything again, whether or not a change is known.
const LONGEST: u64 = 24 * 3600;
/// The programs that sshd runs for each connection, since 9.8 the first and since 10.0 both (sshd_config(5)).
const PARTS_OF_SSHD: [&str; 2] = ["SshdSessionPath", "SshdAuthPath"];
/// A certificate file is smaller than this.
const MAX_BYTES: u64 = 64 * 1024;

/// The files and the time span for which a renewal found nothing to do.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestRecord {
    /// The time of that renewal, in seconds since 1970.
    since: u64,
    /// When the first certificate is due, or when everything is to be looked at again.
    until: u64,
    /// The main configuration file of the one sshd that is enrolled.
    sshd: AbsolutePath,
    authority: String,
    /// The boot ID at that time.
    boot: String,
    /// The process that accepts connections, and when it started.
    listener: Option<(i32, u64)>,
    configuration: Digests,
    /// Programs, keys, certificates and Warded's own files; `None` if the file did not exist.
    files: BTreeMap<PathBuf, Option<FileIdentity>>,
}

impl Outcome for RestRecord {
    const FILE: &'static str = "at-rest.json";
}

/// What a session looked at before anything changed.
#[derive(Debug)]
pub struct RestObservation {
    sshd: Sshd,
    configuration: Digests,
    files: BTreeSet<PathBuf>,
    began: SystemTime,
}

impl RestObservation {
    /// What a session that began at `began` looked at; `None` if it is not known what the result depends on.
    #[must_use]
    pub fn at(session: &mut Session, began: SystemTime) -> Option<Self> {
        let sshd = session.sshd().ok()?.clone();
        let configuration = session.configuration.clone()?;
        let mut files = BTreeSet::from([sshd.binary.clone()]);
        for keyword in PARTS_OF_SSHD {
            files.extend(session.values(&[], keyword).ok()?.into_iter().map(PathBuf::from));
        }
        for key in session.host_keys().ok()? {
            let path = key.private_path();
            let beside = |end: &str| PathBuf::from(format!("{}{end}", path.display()));
            files.extend(["", ".pub", "-cert.pub"].map(beside));
        }
        files.extend(session.changes.reads().map(|(place, _)| place.resolved().as_path().to_owned()));
        Some(Self { sshd, configuration, files, began })
    }

    /// The record of a machine on which nothing was due; `None` if something changed meanwhile.
    #[must_use]
    pub fn where_nothing_was_due(self, context: &Context) -> Option<RestRecord> {
        self.rest(context, &BTreeSet::new())
    }

    /// The record of a machine whose certificates were renewed and were all seen to be served; `None` if that is not
    /// so, or if anything else changed meanwhile.
    #[must_use]
    pub fn after(self, context: &Context, done: &RunReport) -> Option<RestRecord> {
        let is_settled = done.exit() == Exit::Done && done.confirm.is_none() && done.left_alone.is_empty();
        let verified = done.verified.as_ref().filter(|_| is_settled && done.bystanders.is_empty())?;
        let of = |path: &PathBuf| certificate_in(path).map(|found| (path.clone(), found));
        let found: BTreeMap<PathBuf, Certificate> = self.files.iter().filter_map(of).collect();
        // A CA may give the same serial number to several certificates.
        let is_same = |one: &Certificate, other: &Certificate| {
            one.serial() == other.serial() && one.key().key_data() == other.key().key_data()
        };
        let is_new = |found: &Certificate| done.given.certificates.iter().any(|one| is_same(one, found));
        let is_served = |found: &Certificate| {
            self.sshd.listener.is_none() || is_new(found) && verified.certificates.contains(&found.serial())
        };
        if !found.values().all(is_served) {
            return None;
        }
        let renewed = found.into_iter().filter(|(_, found)| is_new(found)).map(|(path, _)| path).collect();
        self.rest(context, &renewed)
    }

    /// `renewed`: the files that this run wrote.
    fn rest(self, context: &Context, renewed: &BTreeSet<PathBuf>) -> Option<RestRecord> {
        let Self { sshd, configuration, files, began } = self;
        let since = now();
        let listener = match &sshd.listener {
            None => None,
            Some(Listener { pid, .. }) => Some((*pid, listener::started(*pid)?)),
        };
        let due = files.iter().filter_map(|path| due_at(context, path)).min()?;
        let looked_at = identities(files);
        let own = identities(own(context).collect());
        // The renewal itself takes a number for its run, which changes this directory.
        let runs = context.state.path().join(transaction::RUNS);
        let others = looked_at.iter().chain(&own).filter(|(path, _)| **path != runs && !renewed.contains(*path));
        if others.filter_map(|(_, identity)| identity.as_ref()).any(|identity| identity.is_fresh_at(began)) {
            return None;
        }
        Some(RestRecord {
            since,
            until: due.min(since.saturating_add(LONGEST)),
            sshd: sshd.config,
            authority: context.authority.identity(),
            boot: facts::boot()?,
            listener,
            configuration,
            files: looked_at.into_iter().chain(own).chain(identities(journals(context).collect())).collect(),
        })
    }
}

impl RestRecord {
    /// Whether nothing is due and nothing has changed.
    #[must_use]
    pub fn holds(&self, context: &Context) -> bool {
        (self.since..self.until).contains(&now())
            && self.is_of(context)
            && context.authority.identity() == self.authority
            && facts::boot().as_ref() == Some(&self.boot)
            && self.listener.is_none_or(|(pid, started)| listener::started(pid) == Some(started))
            && own(context).all(|path| self.files.contains_key(&path))
            && self.files.iter().all(|(path, identity)| FileIdentity::of(path) == *identity)
            && config_digest::now(self.sshd.as_path()).is_ok_and(|now| now == self.configuration)
    }

    /// Whether `context` is about the only sshd that is enrolled.
    fn is_of(&self, context: &Context) -> bool {
        let is_the_one = |enrolments: Enrolments| enrolments.iter().map(|one| &one.sshd_config).eq([&self.sshd]);
        (!context.is_sshd_chosen || context.places.sshd_config == self.sshd)
            && Enrolments::load(&context.state).is_ok_and(is_the_one)
    }
}

fn identities(files: BTreeSet<PathBuf>) -> BTreeMap<PathBuf, Option<FileIdentity>> {
    files.into_iter().map(|path| (path.clone(), FileIdentity::of(&path))).collect()
}

/// The journals and journal states of the runs, one of which may be in progress: these files can change while the
/// directory above them does not.
fn journals(context: &Context) -> impl Iterator<Item = PathBuf> {
    let runs = context.state.path().join(transaction::RUNS);
    let own = |run: PathBuf| [transaction::JOURNAL, transaction::JOURNAL_STATE].map(|name| run.join(name));
    fs::read_dir(&runs).into_iter().flatten().flatten().flat_map(move |run| own(run.path()))
}

/// What every run depends on: this program, the configuration, the policies, the enrolments, and the other runs.
fn own(context: &Context) -> impl Iterator<Item = PathBuf> {
    let configuration = context.options.config.clone().unwrap_or_else(config::default_file);
    let policies = fs::read_dir(&context.policies).into_iter().flatten().flatten().map(|entry| entry.path());
    let state = [transaction::RUNS, Enrolments::FILE].map(|name| context.state.path().join(name));
    std::env::current_exe()
        .into_iter()
        .chain([configuration, context.policies.clone()])
        .chain(policies)
        .chain(state)
        .chain(context.sshd_binary.clone())
}

/// When the certificate in a file is due; `None` if there is no certificate.
fn due_at(context: &Context, path: &Path) -> Option<u64> {
    due::due_at(&certificate_in(path)?, context.renew_after, &context.facts.machine_id)
}

fn certificate_in(path: &Path) -> Option<Certificate> {
    fs::metadata(path).ok().filter(|found| found.is_file() && found.len() <= MAX_BYTES)?;
    certificate::parse(&fs::read(path).ok()?).ok()
}
