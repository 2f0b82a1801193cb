//! Everything that a command works on, found once: configuration, state, audit log, facts, paths.

mod choice;
mod renewal;
mod sshd;
#[cfg(test)]
mod tests;

pub use choice::{Choice, ca_name, step_ca};
use renewal::in_seconds;
pub use renewal::{Scheduling, installation, rhythm, rhythm_of_machine};

use crate::{
    broker::answers::SshdAnswers,
    components,
    public_status::directory_of,
    publishing::beside_policies,
    sandbox::{compiled::CompiledCache, granting::BoundPolicy},
};
use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::{Path, PathBuf, absolute},
    process,
    rc::Rc,
    sync::Arc,
};
use warded_lib::{
    audit::{Event, Kind, Log},
    ca::{
        configured::Authority,
        due, rotation,
        step::{Identification, Settings, steppath},
    },
    config::{self, Config},
    error::{Error, Exit, Result},
    machine::{
        action::{Programs, Runner},
        exec,
        facts::{Facts, Init},
        files::Root,
        path::AbsolutePath,
        private::StateDir,
        schedule::Installation,
        sshd::default_config,
    },
    name::Name,
    policy::{condition, pattern::Places},
    text::by_sudo,
    transaction,
};

/// Reports a host call that does not return, ends the programs that Warded started, and ends the process.
#[derive(Clone, Copy, Debug)]
pub struct HangHandler(pub fn(&Error) -> !);

impl Default for HangHandler {
    fn default() -> Self {
        Self(|error| {
            drop(writeln!(io::stderr(), "{error}"));
            exec::end_all();
            process::exit(i32::from(error.exit().code()))
        })
    }
}

/// Where the operator says that things are. What the operator leaves out comes from the configuration file, or else
/// from the defaults.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub config: Option<PathBuf>,
    /// Whether the command writes the configuration file, so that the file need not exist yet.
    pub makes_config: bool,
    /// Whether the command changes how the CA knows this machine. Such a command uses the CA that has no name.
    pub is_for_machine: bool,
    pub state: Option<PathBuf>,
    /// The directory of policies.
    pub policies: Option<PathBuf>,
    /// sshd's main configuration file.
    pub sshd_config: Option<PathBuf>,
    pub sshd: Option<PathBuf>,
    /// The directory of a local CA, or the name of a configured one.
    pub ca: Option<PathBuf>,
    /// How this machine identifies itself to a step-ca.
    pub identification: Identification,
    /// Reports a host call that does not return, and ends the process.
    pub on_hang: HangHandler,
}

impl Options {
    /// The same options without the configuration file, for code that must not depend on that file.
    #[must_use]
    pub fn without_config(&self) -> Self {
        Self { config: Some(PathBuf::from("/dev/null")), ..self.clone() }
    }
}

/// The machine, the configuration and the services of a command.
#[derive(Debug)]
pub struct Context {
    /// State, journal, enrolment.
    pub state: StateDir,
    pub log: Arc<Log>,
    /// The machine's files.
    pub root: Root,
    pub facts: Facts,
    /// What `{sshd}` and `{home}` stand for.
    pub places: Places,
    /// The CA that the operator chose.
    pub authority: Rc<Authority>,
    /// The CA's name in the configuration, if it has one.
    pub ca_name: Option<Name>,
    /// The configured CAs that have names.
    pub named_cas: BTreeMap<Name, Settings>,
    /// Whether the operator named the sshd on this command line.
    pub is_sshd_chosen: bool,
    /// The sshd program that the operator named.
    pub sshd_binary: Option<PathBuf>,
    /// The percentage of a certificate's life after which it is due for renewal.
    pub renew_after: u8,
    /// Seconds between two runs of `warded renew`.
    pub renew_every: u64,
    /// The fingerprints of the CA's host keys that clients know, as the operator configured them.
    pub known_ca_keys: Vec<String>,
    /// Directory of the administrator's policies.
    pub policies: PathBuf,
    /// Directory in which packages offer components.
    pub offered: PathBuf,
    /// Who runs the programs of actions.
    pub runner: Arc<dyn Runner>,
    /// The files that a schedule needs in order to run `warded renew`.
    pub installation: Installation,
    /// The paths that no grant covers.
    pub protected: Vec<AbsolutePath>,
    /// Reports a host call that does not return, and ends the process.
    pub on_hang: HangHandler,
    /// Answers to use instead of asking a real sshd, if any.
    pub answers: Option<SshdAnswers>,
    pub scheduling: Scheduling,
    /// The options that this context was opened with: a watchdog opens the same context from them.
    pub options: Options,
}

/// Hours between two renewals, unless the configuration or the schedule says otherwise.
const RENEW_EVERY: u8 = 24;

impl Context {
    /// Reads the configuration and the facts, and opens the state directory.
    ///
    /// # Errors
    /// The configuration is not valid, or the state directory cannot be used.
    pub fn open(options: &Options) -> Result<Self> {
        let config = match &options.config {
            Some(file) if options.makes_config && !file.exists() => Config::default(),
            named => Config::load(named.as_deref())?,
        };
        let config_file = options.config.clone().unwrap_or_else(config::default_file);
        let choose = |flag: &Option<PathBuf>, configured: &Option<AbsolutePath>| -> Result<Option<AbsolutePath>> {
            flag.as_deref().map(operators_path).transpose().map(|path| path.or_else(|| configured.clone()))
        };
        let given = |path: Option<AbsolutePath>| path.map(|path| path.as_path().to_owned());

        let state = given(choose(&options.state, &config.state)?).unwrap_or_else(config::default_state);
        let policies = policies_directory(options, &config)?;
        // Which CA was chosen matters only to commands that ask it, so an error is kept until then.
        let chosen = Choice::of(options, &config);
        let ca_name = chosen.as_ref().ok().and_then(Choice::name).cloned();
        let of_choice: Vec<PathBuf> = match &chosen {
            Ok(Choice::Local(directory)) => vec![directory.as_path().to_owned()],
            Ok(Choice::Step(_, settings)) => settings.files().collect(),
            Ok(Choice::Several(_) | Choice::None) | Err(_) => Vec::new(),
        };
        let sshd_config = match choose(&options.sshd_config, &config.sshd_config)? {
            Some(path) => path,
            None => operators_path(Path::new(default_config()))?,
        };
        let facts = Facts::read(Path::new("/"));
        let home = facts.home.as_deref().and_then(|home| home.parse().ok());
        let state = StateDir::open(&state)?;
        let own = [
            Some(state.path().to_owned()),
            Some(directory_of(state.path())),
            Some(policies.clone()),
            Some(config.offered()),
            Some(config_file),
            std::env::current_exe().ok(),
        ];
        // A flag changes the paths for one command only; the configured paths are still Warded's own and stay
        // protected.
        let configured = [&config.state, &config.policies, &config.ca];
        let of_step = config.step_ca.iter().chain(config.named_ca.values()).flat_map(Settings::files);
        let protected = own
            .into_iter()
            .flatten()
            .chain(beside_policies(&policies))
            .chain(configured.into_iter().flatten().map(|path| path.as_path().to_owned()))
            .chain(of_choice)
            .chain(of_step)
            .chain(steppath::directory())
            .chain([PathBuf::from("/etc/warded"), PathBuf::from("/var/lib/warded")])
            .flat_map(|path| [path.canonicalize().ok(), absolute(path).ok()])
            .flatten()
            .filter_map(|path| AbsolutePath::try_from(path.as_path()).ok())
            .collect();
        let places = Places { sshd_config, home };
        let installation = installation(options, &config);
        let found = || rhythm(places.sshd_config.as_path(), facts.init, &installation);
        let renew_every = config.renew_every.map_or_else(found, in_seconds);
        Ok(Self {
            offered: config.offered(),
            log: Arc::new(Log::open(&state.path().join("audit"))?),
            state,
            root: Root::ambient().map_err(|error| Error::failed("cannot open the root directory").cause(error))?,
            places,
            facts,
            authority: Rc::new(match chosen {
                Ok(choice) => choice.authority(&options.identification),
                Err(error) => Authority::broken(error),
            }),
            ca_name,
            named_cas: config.named_ca,
            is_sshd_chosen: options.sshd_config.is_some(),
            sshd_binary: given(choose(&options.sshd, &config.sshd)?),
            renew_after: config.renew_after.unwrap_or(due::RENEW_AFTER),
            renew_every,
            known_ca_keys: config.known_ca_keys,
            policies,
            runner: Arc::new(Programs),
            installation,
            protected,
            on_hang: options.on_hang,
            answers: None,
            scheduling: Scheduling::default(),
            options: options.clone(),
        })
    }

    /// What decides whether a certificate that the CA signed with another key can be installed now.
    #[must_use]
    pub fn rotation_terms(&self) -> rotation::Terms<'_> {
        rotation::Terms { rhythm: self.renew_every, known: &self.known_ca_keys }
    }

    /// The cache of machine code for policies that did not come with the binary.
    #[must_use]
    pub fn compiled(&self) -> CompiledCache {
        CompiledCache::in_state(&self.state)
    }

    /// The same context for another sshd of this machine, named by its main configuration file. Its program is the one
    /// that listens, or else the installed one.
    #[must_use]
    pub fn for_sshd(&self, config: &AbsolutePath) -> Self {
        let is_same = *config == self.places.sshd_config;
        Self {
            state: self.state.clone(),
            log: self.log.clone(),
            root: self.root.clone(),
            facts: self.facts.clone(),
            places: Places { sshd_config: config.clone(), home: self.places.home.clone() },
            authority: self.authority.clone(),
            ca_name: self.ca_name.clone(),
            named_cas: self.named_cas.clone(),
            is_sshd_chosen: self.is_sshd_chosen,
            sshd_binary: self.sshd_binary.clone().filter(|_| is_same),
            renew_after: self.renew_after,
            renew_every: self.renew_every,
            known_ca_keys: self.known_ca_keys.clone(),
            policies: self.policies.clone(),
            offered: self.offered.clone(),
            runner: Arc::clone(&self.runner),
            installation: self.installation.clone(),
            protected: self.protected.clone(),
            on_hang: self.on_hang,
            answers: self.answers.clone(),
            scheduling: self.scheduling.clone(),
            options: self.options.clone(),
        }
    }

    /// All policies.
    ///
    /// # Errors
    /// As [`components::load`].
    pub fn policies(&self) -> Result<Vec<BoundPolicy>> {
        components::load(&self.policies).inspect_err(|error| {
            if error.exit() == Exit::Refused {
                let notes: Vec<&str> = error.notes().map(|(_, text)| text).collect();
                let event = Event::new(0, Kind::Failed).detail(&format!("{}: {}", error.message(), notes.join("; ")));
                // The refusal stands, whether or not it can be recorded.
                drop(self.log.append_synced(&event));
            }
        })
    }

    /// Refuses early what only root can do, because this sshd's files belong to root. Commands that change nothing of
    /// sshd's do not call this.
    ///
    /// # Errors
    /// Usage: this is not root, and the files belong to root.
    pub fn may_change(&self, what: &str) -> Result<()> {
        let file = self.places.sshd_config.as_path();
        if config::is_root() || !file.starts_with("/etc") {
            return Ok(());
        }
        Err(Error::usage(format!("{what} needs root: {} and the keys beside it belong to root", file.display()))
            .unchanged()
            .next(by_sudo()))
    }

    /// Refuses a user who asks about runs and has made none: the runs that changed this sshd's files are root's. The
    /// runs that a user made with `trust-host-ca` are in that user's own state, which root's commands do not read.
    ///
    /// # Errors
    /// As [`Context::may_change`], or the journals cannot be read.
    pub fn has_runs(&self, what: &str) -> Result<()> {
        if transaction::newest(&self.state)?.is_some() { Ok(()) } else { self.may_change(what) }
    }
}

/// All policies and what is needed to assess them, without opening a state directory: a user without a home directory
/// has no place for one.
///
/// # Errors
/// As [`components::load`].
pub fn policies_only(options: &Options) -> Result<(Vec<BoundPolicy>, Facts, PathBuf)> {
    let config = Config::load(options.config.as_deref())?;
    Ok((components::load(&policies_directory(options, &config)?)?, Facts::read(Path::new("/")), config.offered()))
}

/// The directory of the administrator's policies: beside the configuration file, unless an option names another one.
///
/// # Errors
/// The option is no path.
pub fn policies_directory(options: &Options, config: &Config) -> Result<PathBuf> {
    let named = match options.policies.as_deref() {
        Some(path) => Some(operators_path(path)?),
        None => config.policies.clone(),
    };
    let config_file = options.config.clone().unwrap_or_else(config::default_file);
    let beside_config = || config_file.parent().unwrap_or(Path::new("/")).join("policies");
    Ok(named.map_or_else(beside_config, |path| path.as_path().to_owned()))
}

/// A path that the operator gave. A relative path is resolved against the working directory.
fn operators_path(path: &Path) -> Result<AbsolutePath> {
    let wrong = |why: String| Error::usage(format!("{} cannot be used as a path", path.display())).cause(why);
    let path = absolute(path).map_err(|error| wrong(error.to_string()))?;
    // `x/../y` is fine from an operator; links are resolved later, with care.
    let path: PathBuf = if path.components().any(|part| part == std::path::Component::ParentDir) {
        path.canonicalize().map_err(|error| wrong(error.to_string()))?
    } else {
        path.components().collect()
    };
    AbsolutePath::try_from(path.as_path()).map_err(wrong)
}

impl condition::Machine for Context {
    fn init(&self) -> Init {
        self.facts.init()
    }

    fn os(&self) -> &str {
        self.facts.os()
    }

    fn exists(&self, path: &AbsolutePath) -> bool {
        self.facts.exists(path)
    }
}
