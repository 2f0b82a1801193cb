//! The files by which this machine trusts a CA: the root certificate, and the configuration that names it. Both are
//! Warded's own, so the host writes or stages them itself, and no guest can.

use crate::context::{Context, Options};
use std::{
    fs,
    path::{Path, PathBuf, absolute},
};
use warded_lib::{
    ca::{
        step::{
            CaUrl, Fingerprint, Identification, Settings, StepAuthority, api,
            bootstrap::{self, FetchError},
            http::Problem,
            provisioner::{Provisioner, Purpose, choose},
            x509::X509,
        },
        unreached,
    },
    change_set::review::Entry,
    config::{self, Config, edit},
    error::{Error, Result},
    machine::{durable, path::AbsolutePath},
    name::Name,
    text::neutral,
    transaction::{FileChange, NewFile, Order},
};

/// What a person should check if something else than a CA answers.
const ADDRESS: &str = "make sure that the address and the port are the CA's";
/// What a person should do about a fingerprint that no server has.
const COMPARE: &str = "compare the fingerprint with what `warded root-fingerprint root_ca.crt` prints on the CA";
/// The mode of both files: everybody may read them.
const MODE: u32 = 0o644;

/// The command that makes the machine trust a CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrustRequest {
    /// `bootstrap`. With `force` it replaces a CA that is trusted already.
    Bootstrap { force: bool },
    /// `enrol`, with a code.
    Enrol,
}

/// The present configuration.
pub(super) struct CurrentConfig {
    file: PathBuf,
    /// The name that the CA has in it, if any.
    name: Option<Name>,
    /// The step-ca that it names.
    pub(super) step_ca: Option<Settings>,
}

/// The two files as they will be.
pub(super) struct Trust {
    /// The configuration file.
    pub(super) file: PathBuf,
    /// The file of the root certificate.
    pub(super) root_file: PathBuf,
    /// The root certificate.
    pub(super) root: X509,
    /// What will be configured.
    pub(super) settings: Settings,
    name: Option<Name>,
    before: Option<Settings>,
}

impl CurrentConfig {
    /// Reads what the configuration says of the CA with this name, or of the one without a name.
    ///
    /// # Errors
    /// It cannot be read, or the CA without a name is a local one.
    pub(super) fn read(options: &Options, name: Option<&Name>) -> Result<Self> {
        let file = absolute(options.config.clone().unwrap_or_else(config::default_file))
            .map_err(|error| Error::usage("the configuration file has no usable path").cause(error))?;
        let mut configured = if file.exists() { Config::load(Some(&file))? } else { Config::default() };
        if let Some(name) = name {
            return Ok(Self { file, step_ca: configured.named_ca.remove(name), name: Some(name.clone()) });
        }
        if let Some(ca) = &configured.ca {
            return Err(
                Error::usage(format!("{} names a local CA, {ca}", file.display())).next("take `ca` out of it first")
            );
        }
        Ok(Self { file, step_ca: configured.step_ca, name: None })
    }

    /// Fetches the root with this fingerprint. Nothing is written yet.
    ///
    /// # Errors
    /// Another CA is trusted, and this one must not replace it; or there is no such root.
    pub(super) fn trust(self, url: CaUrl, fingerprint: Fingerprint, asked: TrustRequest) -> Result<Trust> {
        let Self { file, name, step_ca: before } = self;
        let may_replace = asked == TrustRequest::Bootstrap { force: true };
        if let Some(before) = before.as_ref().filter(|before| before.fingerprint != fingerprint && !may_replace) {
            let differing = FingerprintConflict::between(&url, fingerprint, before);
            let error = match asked {
                TrustRequest::Bootstrap { .. } => differing.told(name.is_none()),
                TrustRequest::Enrol => differing.told_of_code(),
            };
            return Err(error.unchanged());
        }
        let proxy = before.as_ref().and_then(|before| before.proxy.as_deref());
        let root =
            bootstrap::fetch(&url, &fingerprint, proxy).map_err(|error| not_fetched(&url, &error, proxy, asked))?;
        let directory = file.parent().unwrap_or(Path::new("/"));
        // Another root gets another file: only the configuration says which one counts.
        let root_file = match &before {
            None => match &name {
                None => directory.join("root_ca.crt"),
                Some(name) => directory.join(format!("root_ca-{name}.crt")),
            },
            Some(known) if known.fingerprint == fingerprint => known.root.as_path().into(),
            Some(_) => directory.join(format!("root_ca-{fingerprint}.crt")),
        };
        let place: AbsolutePath = root_file.as_path().try_into().map_err(|error: String| Error::usage(error))?;
        let mut settings = before.clone().unwrap_or_else(|| Settings::new(url.clone(), fingerprint, place.clone()));
        (settings.url, settings.fingerprint, settings.root) = (url, fingerprint, place);
        Ok(Trust { file, root_file, root, settings, name, before })
    }
}

impl Trust {
    /// The CA, with this root as the only trusted one.
    ///
    /// # Errors
    /// It cannot be trusted as a root.
    pub(super) fn authority(&self) -> Result<StepAuthority> {
        Ok(StepAuthority::with_root(&self.settings, &Identification::default(), self.root.der.clone())?)
    }

    /// Sets which provisioner renews, unless one that exists is named already.
    ///
    /// # Errors
    /// The CA does not answer.
    pub(super) fn name_renewer(&mut self, step: &StepAuthority) -> Result<()> {
        if let Some(provisioners) = step.shown_provisioners()?
            && !is_there(&self.settings, provisioners)
        {
            self.settings.renewal_provisioner =
                choose(provisioners, Purpose::Renew, None).ok().map(|found| found.name().to_owned());
        }
        Ok(())
    }

    /// Writes both files. Returns whether anything changed.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn write(&self) -> Result<bool> {
        let Self { file, root_file, root, settings, name, before } = self;
        let failed = |error| Error::failed(format!("cannot write {}", root_file.display())).cause(error);
        let same_root = fs::read(root_file).is_ok_and(|there| there == root.pem.as_bytes());
        if !same_root {
            if let Some(directory) = root_file.parent() {
                durable::directory(directory).map_err(failed)?;
            }
            durable::replace(root_file, root.pem.as_bytes(), MODE).map_err(failed)?;
        }
        let same = before.as_ref() == Some(settings);
        if !same {
            edit::set_step_ca(file, name.as_ref(), settings)?;
        }
        Ok(!same || !same_root)
    }

    /// The files that change, as parts of a run.
    ///
    /// # Errors
    /// A present file cannot be read.
    pub(super) fn staged(&self) -> Result<Vec<StagedFile>> {
        let mut staged = Vec::new();
        let there = fs::read(&self.root_file).ok();
        if there.as_deref() != Some(self.root.pem.as_bytes()) {
            let what = format!("root certificate · {}", neutral(&self.root.subject));
            let after = self.root.pem.clone().into_bytes();
            staged.push(StagedFile::new(&self.root_file, (there, after), Order::WriteCertificate, what)?);
        }
        if self.before.as_ref() != Some(&self.settings) {
            let (before, after) = edit::with_step_ca(&self.file, self.name.as_ref(), &self.settings)?;
            // If the path is a link, its target is changed, and the link stays.
            let file = self.file.canonicalize().unwrap_or_else(|_| self.file.clone());
            staged.push(StagedFile::new(&file, (before, after), Order::WriteOther, String::new())?);
        }
        Ok(staged)
    }
}

/// One of the two files, as part of a run.
pub(super) struct StagedFile {
    path: AbsolutePath,
    before: Option<Vec<u8>>,
    after: Vec<u8>,
    order: Order,
    what: String,
}

impl StagedFile {
    fn new(path: &Path, (before, after): (Option<Vec<u8>>, Vec<u8>), order: Order, what: String) -> Result<Self> {
        let path = path.try_into().map_err(|error: String| Error::usage(error))?;
        Ok(Self { path, before, after, order, what })
    }

    /// How a person sees it in the review.
    pub(super) fn entry(&self) -> Entry {
        let entry = Entry::new(self.path.as_str(), self.before.as_deref(), Some(&self.after), "warded enrol");
        if self.what.is_empty() { entry } else { Entry { what: self.what.clone(), diff: Vec::new(), ..entry } }
    }

    /// The change, after the review; creates the directory if it is missing.
    ///
    /// # Errors
    /// Somebody has changed the file in the meantime; or another user could change the path to it.
    pub(super) fn change(&self, context: &Context) -> Result<FileChange> {
        let failed = |why: &dyn std::fmt::Display| Error::failed(format!("cannot write {}", self.path)).cause(why);
        let path = self.path.as_path();
        let (directory, name) = (path.parent().unwrap_or(path), path.file_name().and_then(|name| name.to_str()));
        durable::directory(directory).map_err(|error| failed(&error))?;
        let place = context.root.within(directory, name.unwrap_or_default())?;
        let place = place.ok_or_else(|| failed(&"its directory is gone"))?;
        let before = place.snapshot()?;
        if before.as_ref().map(|there| there.contents.as_slice()) != self.before.as_deref() {
            return Err(Error::refused(format!("{} changed since it was read", self.path))
                .unchanged()
                .next("run this again"));
        }
        let mode = before.as_ref().map_or(MODE, |there| there.mode);
        let after = Some(NewFile::new(self.after.clone(), mode));
        Ok(FileChange { path: self.path.clone(), place, before, after, order: self.order, scratch: None })
    }
}

fn is_there(settings: &Settings, provisioners: &[Provisioner]) -> bool {
    let named = settings.renewal_provisioner.as_deref();
    named.is_some() && choose(provisioners, Purpose::Renew, named).is_ok()
}

/// Two fingerprints for one machine: the trusted one and the one that was given now; and the roots that the server
/// claims to have. The claim is not verified, so it only affects the wording of the error.
struct FingerprintConflict<'a> {
    url: &'a CaUrl,
    given: Fingerprint,
    trusted: &'a Settings,
    says: Option<Vec<Fingerprint>>,
}

impl<'a> FingerprintConflict<'a> {
    fn between(url: &'a CaUrl, given: Fingerprint, trusted: &'a Settings) -> Self {
        let says = bootstrap::unverified_roots(url, trusted.proxy.as_deref()).ok();
        Self { url, given, trusted, says }
    }

    fn says_has(&self, root: &Fingerprint) -> bool {
        self.says.as_ref().is_some_and(|says| says.contains(root))
    }

    /// What differs, and what the server says of it.
    fn seen(&self) -> Error {
        let Self { url, given, trusted, says } = self;
        let both = format!("trusted: {}\ngiven:   {given}", trusted.fingerprint);
        if self.is_of_no_root() {
            return Error::refused(format!("no root of {url} has the fingerprint that was given")).cause(both).seen(
                format!(
                    "that server says that it has the root {}, which this machine trusts already",
                    trusted.fingerprint.short()
                ),
            );
        }
        let seen = match says {
            None => "that server does not say which root it has".to_owned(),
            Some(_) if self.says_has(given) && self.says_has(&trusted.fingerprint) => {
                "that server says that it has both roots".to_owned()
            }
            Some(_) if self.says_has(given) => "that server says that it has the root that was given".to_owned(),
            Some(says) => {
                let says: Vec<String> = says.iter().map(Fingerprint::short).collect();
                format!("that server says that it has neither, but {}", says.join(", "))
            }
        };
        let error = if self.is_same_address() {
            Error::refused(format!("{url} was trusted with another root"))
        } else {
            Error::refused(format!("this machine trusts another CA, {}", trusted.url))
        };
        error.cause(both).seen(seen)
    }

    fn is_of_no_root(&self) -> bool {
        self.says_has(&self.trusted.fingerprint) && !self.says_has(&self.given)
    }

    fn is_same_address(&self) -> bool {
        self.trusted.url.canonical() == self.url.canonical()
    }

    /// The error for `bootstrap`. `can_have_a_name` says that a second CA can exist beside the first under a name.
    fn told(&self, can_have_a_name: bool) -> Error {
        if !self.says_has(&self.given) {
            return self.seen().next(COMPARE);
        }
        let beside = if self.is_same_address() || !can_have_a_name {
            ""
        } else {
            "; if it is a second CA that you log in with: repeat the command with --name NAME"
        };
        self.seen().next(format!(
            "ask whoever runs the CA whether this is its new root, or the root of a CA that replaces it. Only then: \
             repeat the command with --force{beside}"
        ))
    }

    /// The error for `enrol`, which does not replace a CA; `bootstrap` does.
    fn told_of_code(&self) -> Error {
        let Self { url, given, .. } = self;
        if !self.says_has(given) {
            return self
                .seen()
                .next("ask the person who made the code which CA it is for, and how that CA is reached from here");
        }
        self.seen().next(format!(
            "ask whoever runs the CA whether this is its new root, or the root of a CA that replaces it. Only then: \
             sudo warded bootstrap --ca-url {url} --fingerprint {given} --force; and then: sudo warded enrol"
        ))
    }
}

const FINGERPRINT: &str = "get the fingerprint on the CA: warded root-fingerprint root_ca.crt";
/// A code contains the fingerprint that the admin's machine knew.
const CODE: &str = "ask whoever runs the CA whether it has a new root; then on the admin's machine: warded bootstrap with its \
                    fingerprint and --force, and warded invite NAME";

fn not_fetched(url: &CaUrl, error: &FetchError, proxy: Option<&str>, asked: TrustRequest) -> Error {
    let message = format!("the CA {url} cannot be trusted");
    match error {
        FetchError::Other(_) | FetchError::Unreadable(_) => Error::refused(message)
            .cause(error)
            .next("make sure that the address and the fingerprint are right; do not continue until you know"),
        FetchError::OutOfTime { .. } => Error::refused(message)
            .cause(error)
            .next("on the CA, make a new root and a new intermediate; or set this machine's clock, if that is wrong"),
        FetchError::Failure(api::Failure::Status { status: 404, text, .. }) => {
            let error =
                Error::failed(message).cause(format!("it has no root with that fingerprint; that server says: {text}"));
            let error = match bootstrap::unverified_roots(url, proxy) {
                Ok(says) if !says.is_empty() => {
                    let says: Vec<String> = says.iter().map(Fingerprint::short).collect();
                    error.seen(format!(
                        "that server says that its root is {}; nobody has verified that",
                        says.join(", ")
                    ))
                }
                Ok(_) | Err(_) => error,
            };
            error.next(match asked {
                TrustRequest::Bootstrap { .. } => FINGERPRINT,
                TrustRequest::Enrol => CODE,
            })
        }
        FetchError::Failure(failure @ (api::Failure::NotStepCa { .. } | api::Failure::Status { .. })) => {
            Error::failed(message).cause(failure).next(ADDRESS)
        }
        FetchError::Failure(api::Failure::Problem(problem)) => {
            let is_elsewhere = matches!(problem, Problem::Tls(_) | Problem::Redirect | Problem::TooLong(_));
            let next = if is_elsewhere { ADDRESS } else { "make sure that it runs, and that this machine reaches it" };
            Error::unreachable(format!("the CA {url} {}", unreached(problem.is_an_answer()))).cause(problem).next(next)
        }
    }
    .unchanged()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_against_an_unknown_root_is_for_the_command() {
        // Nothing answers there if it is asked for its roots.
        let url: CaUrl = "127.0.0.1:1".parse().unwrap();
        let failure = api::Failure::Status { status: 404, text: "not found".to_owned(), retry_after: None };
        let error = FetchError::Failure(failure);
        for (asked, next) in [
            (TrustRequest::Bootstrap { force: false }, "warded root-fingerprint"),
            (TrustRequest::Enrol, "warded invite NAME"),
        ] {
            let told = not_fetched(&url, &error, None, asked).to_string();
            assert!(told.contains(next), "{told}");
        }
    }
}
