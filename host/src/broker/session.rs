//! The state that the operations of one run work on.

use super::{
    answers::SshdAnswers,
    operation::{Failure, schedule::Terms},
};
use ssh_key::PublicKey;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
};
use warded_lib::{
    ca::{CaError, Certificate, Kind, configured::Authority, due},
    change_set::ChangeSet,
    error::{Error, Exit},
    guard::config_digest::{self, Digests},
    machine::{
        action::{self, Action, Programs, Runner},
        facts::Facts,
        files::{Place, Root},
        path::AbsolutePath,
        sshd::{Effective, HostKey, Sshd},
    },
    name::Name,
    policy::authorize::Circumstances,
    text::neutral,
};

/// How urgent a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Something to look into.
    Warn,
}

/// Something that a procedure said, with control characters neutralised.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Message {
    pub level: Level,
    pub text: String,
}

/// When certificates are renewed.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The percentage of a certificate's life after which it is due.
    pub after_percent: u8,
    /// Used to spread the renewals of different machines over time.
    pub machine_id: String,
    /// Whether every certificate counts as due.
    pub force: bool,
    /// Whether certificates that are of no use are due, whatever their age. A renewal leaves these alone, since the
    /// clock may be wrong.
    pub replaces_useless: bool,
    /// The serial numbers of certificates that are not due, even if `force` is set: this command got them for another
    /// sshd.
    pub renewed: BTreeSet<u64>,
    /// The time, in seconds since 1970.
    pub now: u64,
}

impl Renewal {
    /// Whether a certificate is due.
    #[must_use]
    pub fn is_due(&self, certificate: &Certificate) -> bool {
        let is_forced = self.force && !self.renewed.contains(&certificate.serial());
        let is_useless = self.replaces_useless && due::is_useless(certificate, self.now);
        is_forced || is_useless || due::is_due(certificate, self.now, self.after_percent, &self.machine_id)
    }
}

/// One run's state: the machine it reads, and the change set it builds.
#[derive(Debug)]
pub struct Session {
    /// What the policy's decisions depend on.
    pub circumstances: Circumstances,
    /// What has been staged and read.
    pub changes: ChangeSet,
    /// What the procedure said.
    pub messages: Vec<Message>,
    /// The machine's files.
    pub root: Root,
    pub facts: Facts,
    pub authority: Rc<Authority>,
    /// When certificates are due.
    pub renewal: Renewal,
    /// The keys for which the CA gave an earlier run a certificate that was not installed.
    pub issued: Vec<PublicKey>,
    /// The services that the policy names.
    pub services: BTreeSet<Name>,
    /// The policy's actions.
    pub actions: BTreeMap<Name, Action>,
    /// Runs the actions' programs.
    pub runner: Arc<dyn Runner>,
    /// What a schedule depends on; `None` if nothing can be scheduled.
    pub schedule: Option<Terms>,
    /// The sshd binary that the operator named.
    pub sshd_binary: Option<PathBuf>,
    /// sshd's configuration when sshd was first asked anything; `None` if it was not asked, or there is no sshd.
    pub configuration: Option<Digests>,
    /// The CA's keys for users' certificates, once they were asked for.
    pub user_authorities: Vec<PublicKey>,
    /// The last error of the CA.
    pub authority_failure: Option<CaError>,
    answers: Option<SshdAnswers>,
    sshd: Option<Option<Sshd>>,
    effective: BTreeMap<Vec<(String, String)>, Effective>,
    host_keys: Option<Vec<HostKey>>,
    /// The configuration outside of every `Match`, as sshd printed it with the host keys. Its `LogLevel` is not the
    /// configured one.
    for_nobody: Option<Effective>,
}

impl Session {
    /// A session in which nothing has been asked yet.
    #[must_use]
    pub fn new(
        circumstances: Circumstances,
        root: Root,
        facts: Facts,
        authority: Rc<Authority>,
        renewal: Renewal,
        services: BTreeSet<Name>,
        sshd_binary: Option<PathBuf>,
    ) -> Self {
        Self {
            circumstances,
            changes: ChangeSet::default(),
            messages: Vec::new(),
            root,
            facts,
            authority,
            renewal,
            issued: Vec::new(),
            services,
            actions: BTreeMap::new(),
            runner: Arc::new(Programs),
            schedule: None,
            sshd_binary,
            configuration: None,
            user_authorities: Vec::new(),
            authority_failure: None,
            answers: None,
            sshd: None,
            effective: BTreeMap::new(),
            host_keys: None,
            for_nobody: None,
        }
    }

    /// Uses these answers instead of asking an sshd.
    pub fn answer(&mut self, answers: SshdAnswers) {
        self.effective.clone_from(&answers.effective);
        self.host_keys = answers.version.as_ref().map(|_| answers.host_keys.clone());
        self.answers = Some(answers);
    }

    /// Whether the machine is only described.
    #[must_use]
    pub fn is_described(&self) -> bool {
        self.answers.is_some()
    }

    /// The place that a granted path stands for.
    ///
    /// # Errors
    /// The path to it cannot be trusted, or leads to a file that no grant covers.
    pub fn place(&self, path: &AbsolutePath, literal: usize) -> Result<Option<Place>, Failure> {
        self.unprotected(path, self.root.place(path, literal)?)
    }

    /// The same as [`Session::place`], but directories that the grant spells out may be missing.
    ///
    /// # Errors
    /// As [`Session::place`].
    pub fn place_to_be(&self, path: &AbsolutePath, literal: usize) -> Result<Option<Place>, Failure> {
        self.unprotected(path, self.root.place_to_be(path, literal)?)
    }

    fn unprotected(&self, path: &AbsolutePath, place: Option<Place>) -> Result<Option<Place>, Failure> {
        let Some(place) = place else { return Ok(None) };
        let resolved = place.resolved();
        match self.circumstances.protected.iter().find(|own| resolved.starts_with(own.as_path())) {
            None => Ok(Some(place)),
            Some(own) => Err(Failure::new("untrusted-path", format!("{path} leads into {own}, which no grant covers"))),
        }
    }

    /// The same as [`Session::place`], but the directory must exist.
    ///
    /// # Errors
    /// As [`Session::place`], or there is no such directory.
    pub fn existing_place(&self, path: &AbsolutePath, literal: usize) -> Result<Place, Failure> {
        self.place(path, literal)?.ok_or_else(|| absent(path))
    }

    /// Whether a query of the policy works on a copy of the directory that the file is in, by whatever path that is
    /// reached.
    ///
    /// # Errors
    /// The path to that directory cannot be trusted.
    pub fn is_copied(&self, place: &Place) -> Result<bool, Failure> {
        for directory in self.actions.values().flat_map(Action::copied) {
            if action::inside(&self.root, directory)?.is_some_and(|inside| inside.key().is_beside(&place.key())) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the path itself names the directory of such a query.
    #[must_use]
    pub fn is_copied_by_name(&self, path: &AbsolutePath) -> bool {
        path.parent().is_some_and(|parent| self.actions.values().flat_map(Action::copied).any(|one| *one == parent))
    }

    /// The CA's keys; the CA is opened when it is first needed.
    ///
    /// # Errors
    /// There is no CA, or it cannot be opened or does not answer.
    pub fn roots(&mut self, kind: Kind) -> Result<Vec<PublicKey>, Failure> {
        let roots = self.authority.open().and_then(|authority| authority.roots(kind)).map_err(|error| {
            self.authority_failure = Some(error.clone());
            Failure::from(error)
        })?;
        if kind == Kind::User {
            self.user_authorities.clone_from(&roots);
        }
        Ok(roots)
    }

    /// Whether the CA renews certificates that have expired.
    ///
    /// # Errors
    /// As [`Session::roots`].
    pub fn renews_expired(&mut self) -> Result<bool, Failure> {
        self.authority.open().and_then(warded_lib::ca::CertificateAuthority::renews_expired).map_err(|error| {
            self.authority_failure = Some(error.clone());
            error.into()
        })
    }

    /// This machine's sshd. It is looked for only once.
    ///
    /// # Errors
    /// There is no sshd, or its present configuration is not valid.
    pub fn sshd(&mut self) -> Result<&Sshd, Failure> {
        if self.answers.as_ref().is_some_and(|answers| answers.version.is_some()) {
            return Err(Failure::new("no-sshd", "the scenario does not say what sshd answers to that"));
        }
        if self.answers.is_some() {
            self.sshd = Some(None);
        }
        if self.sshd.is_none() {
            // Read before the first question, so that an edit in between is noticed.
            self.configuration = config_digest::now(self.circumstances.places.sshd_config.as_path()).ok();
            let found = Sshd::find(&self.circumstances.places.sshd_config, self.sshd_binary.as_deref())
                .map_err(|error| invalid(&error))?;
            self.sshd = Some(found);
        }
        if matches!(self.sshd, Some(Some(_))) {
            return self.sshd.as_ref().and_then(Option::as_ref).ok_or_else(no_sshd);
        }
        Err(if self.has_dropbear() { dropbear() } else { no_sshd() })
    }

    fn has_dropbear(&self) -> bool {
        DROPBEAR.iter().any(|path| {
            let place = path.parse().ok().and_then(|path: AbsolutePath| self.root.place(&path, usize::MAX).ok()?);
            place.is_some_and(|place| place.list().is_ok_and(|names| names.iter().any(|name| name == place.name())))
        })
    }

    /// The version of this machine's sshd; `None` if there is no sshd.
    ///
    /// # Errors
    /// Its present configuration is not valid.
    pub fn version(&mut self) -> Result<Option<String>, Failure> {
        if let Some(answers) = &self.answers {
            return Ok(answers.version.clone());
        }
        match self.sshd() {
            Ok(sshd) => Ok(Some(sshd.version().to_owned())),
            Err(failure) if failure.code == "no-sshd" => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The version of this machine's sshd, if the procedure asked anything of it.
    #[must_use]
    pub fn sshd_version(&self) -> Option<&str> {
        self.sshd.as_ref()?.as_ref().map(Sshd::version)
    }

    /// The number of different connections that sshd was asked about.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.effective.len()
    }

    /// Pretends that sshd was asked about so many connections.
    #[cfg(test)]
    pub(crate) fn pretend_connections(&mut self, count: usize) {
        let connection = |number: usize| vec![("user".to_owned(), number.to_string())];
        self.effective = (0..count).map(|number| (connection(number), Effective::default())).collect();
    }

    /// The host keys of sshd's configuration. sshd is asked only once.
    ///
    /// # Errors
    /// As [`Session::sshd`].
    pub fn host_keys(&mut self) -> Result<Vec<HostKey>, Failure> {
        if let Some(known) = &self.host_keys {
            return Ok(known.clone());
        }
        let (for_nobody, found) = self.sshd()?.look().map_err(|error| invalid(&error))?;
        self.for_nobody = Some(for_nobody);
        Ok(self.host_keys.insert(found).clone())
    }

    /// Adds a message to the operator that does not come from the procedure, unless it was added before.
    pub fn tell(&mut self, level: Level, text: String) {
        if !self.messages.iter().any(|known| known.text == text) {
            self.messages.push(Message { level, text });
        }
    }

    /// The values of a keyword in the effective configuration for a connection. sshd is asked only once per connection.
    ///
    /// # Errors
    /// As [`Session::sshd`].
    pub fn values(&mut self, connection: &[(String, String)], keyword: &str) -> Result<Vec<String>, Failure> {
        if connection.is_empty() && !keyword.eq_ignore_ascii_case("loglevel") {
            // Most procedures also ask for the host keys, and one start of sshd answers both.
            self.host_keys()?;
            if let Some(known) = &self.for_nobody {
                return Ok(known.values(keyword).to_vec());
            }
        }
        Ok(self.effective(connection)?.values(keyword).to_vec())
    }

    fn effective(&mut self, connection: &[(String, String)]) -> Result<&Effective, Failure> {
        if !self.effective.contains_key(connection) {
            let config = self.circumstances.places.sshd_config.clone();
            let effective = self.sshd()?.effective(config.as_path(), connection).map_err(|error| invalid(&error))?;
            self.effective.insert(connection.to_vec(), effective);
        }
        self.effective.get(connection).ok_or_else(|| Failure::new("no-sshd", "sshd did not answer"))
    }
}

fn no_sshd() -> Failure {
    Failure::new("no-sshd", "there is no sshd on this machine").about("next", "install OpenSSH's server")
}

/// The paths of dropbear on Debian, on Alpine and Gentoo, on OpenWrt, and on Void.
const DROPBEAR: [&str; 5] = [
    "/usr/sbin/dropbear",
    "/etc/default/dropbear",
    "/etc/conf.d/dropbear",
    "/etc/config/dropbear",
    "/etc/sv/dropbear/run",
];

fn dropbear() -> Failure {
    Failure::new("no-sshd", "the SSH server of this machine is dropbear, which knows no certificates")
        .about("next", "install OpenSSH's server in its place (package openssh-server; Alpine: openssh)")
        .about(
            "next",
            "before that, take its host key over, so that clients know the machine as before: dropbearconvert dropbear \
             openssh /etc/dropbear/dropbear_ed25519_host_key /etc/ssh/ssh_host_ed25519_key",
        )
}

/// Why there is no place for a file.
fn absent(path: &AbsolutePath) -> Failure {
    let (what, next) = match std::fs::read_link(path.as_path()) {
        Ok(target) => (
            format!("{path} is a link to {}, whose directory does not exist", neutral(&target.to_string_lossy())),
            format!("make that directory, or remove the link: rm {path}"),
        ),
        Err(_) => (format!("{path}: its directory does not exist"), format!("make the directory of {path}")),
    };
    Failure::new("io", what).about("path", path).about("next", next)
}

fn invalid(error: &Error) -> Failure {
    let failure = Failure::of_configuration(error);
    if error.exit() != Exit::Refused || failure.details.iter().any(|(name, _)| name == "next") {
        return failure;
    }
    failure.about("next", "correct sshd's configuration: `sshd -t` says nothing once sshd accepts it")
}
