//! What a schedule has to run for the files of this context.

use super::{Context, Options, RENEW_EVERY};
use crate::{
    broker::operation::schedule::{DESCRIBED, Terms},
    public_status::{ROOTS_CONFIG, directory_of, state_of_machine},
};
use jiff::Timestamp;
use std::path::{Path, PathBuf, absolute};
use warded_lib::{
    config::{self, Config},
    machine::{
        facts::Init,
        path::AbsolutePath,
        schedule::{Installation, Schedule, Schedulers, is_of_machine},
    },
    transaction,
};

/// In seconds: systemd may start a unit so much late, and cron knows no shorter interval.
const MINUTE: u64 = 60;

/// Hours, in seconds.
pub(super) fn in_seconds(hours: u8) -> u64 {
    u64::from(hours) * 3600
}

/// Seconds between two renewals if the configuration file does not say: the interval of the schedule that was found, or
/// else the default.
#[must_use]
pub fn rhythm(sshd_config: &Path, init: Init, installation: &Installation) -> u64 {
    found_rhythm(sshd_config, init, installation).unwrap_or_else(|| in_seconds(RENEW_EVERY))
}

/// The interval of the schedule that was found; `None` if there is none, or its interval is not known.
fn found_rhythm(sshd_config: &Path, init: Init, installation: &Installation) -> Option<u64> {
    let found = || Schedule::find(Path::new("/"), init == Init::Systemd, installation).interval(Timestamp::now());
    let interval = is_of_machine(sshd_config).then(found).flatten()?;
    Some(interval.as_secs().max(MINUTE))
}

/// The number of seconds between root's renewals on this machine, as far as an ordinary user can see it: from root's
/// configuration, or from a schedule that everybody can read; `None` if it is not known.
#[must_use]
pub fn rhythm_of_machine(sshd_config: &Path, init: Init) -> Option<u64> {
    let config = Config::load(Some(Path::new(ROOTS_CONFIG))).unwrap_or_default();
    let state = state_of_machine();
    let installation = Installation {
        state: state.clone(),
        config: ROOTS_CONFIG.into(),
        default_state: state,
        default_config: ROOTS_CONFIG.into(),
    };
    config.renew_every.map(in_seconds).or_else(|| found_rhythm(sshd_config, init, &installation))
}

/// The files that a schedule needs in order to run `warded renew`.
#[must_use]
pub fn installation(options: &Options, config: &Config) -> Installation {
    let default_state = config.state.as_ref().map(|path| path.as_path().to_owned());
    let default_state = default_state.unwrap_or_else(config::default_state);
    let named = |option: &Option<PathBuf>| option.as_deref().map(|path| absolute(path).unwrap_or_else(|_| path.into()));
    Installation {
        state: named(&options.state).unwrap_or_else(|| default_state.clone()),
        config: named(&options.config).unwrap_or_else(config::default_file),
        default_state,
        default_config: config::default_file(),
    }
}

impl Context {
    /// What runs renewals of this installation. A job of an appliance is recognised by the run that made it, unless a
    /// job was seen and rejected, which may be the same one.
    #[must_use]
    pub fn found_schedule(&self) -> Schedule {
        let found = Schedule::find(Path::new("/"), self.facts.init == Init::Systemd, &self.installation);
        let job = match found {
            Schedule::Nothing | Schedule::Unknown(_) => transaction::job_left(&self.state).ok().flatten(),
            Schedule::Timer(_)
            | Schedule::DisabledTimer(_)
            | Schedule::Cron(_)
            | Schedule::Job(_)
            | Schedule::DisabledJob(_)
            | Schedule::Passed(_) => None,
        };
        job.map_or(found, |step| Schedule::Job(step.change.name.to_string()))
    }

    /// The terms of a schedule: this program, with options for the files that are not in their default places. No
    /// option names an sshd: `renew` is for all that are enrolled. `None` if nothing can be scheduled.
    #[must_use]
    pub fn schedule(&self, schedulers: Option<Schedulers>, sshds: Vec<AbsolutePath>) -> Option<Terms> {
        let root = match &self.scheduling {
            Scheduling::Real => PathBuf::from("/"),
            Scheduling::Described(root) => return Some(described(root.clone(), schedulers)),
            Scheduling::Unknown => return None,
        };
        let options = &self.options;
        let given = [
            ("--config", &options.config, config::default_file()),
            ("--state", &options.state, config::default_state()),
            ("--policies", &options.policies, config::default_directory().join("policies")),
            ("--ca", &options.ca, PathBuf::new()),
        ];
        let options = given.into_iter().filter_map(|(option, given, default)| {
            let path = given.as_deref().map(|path| absolute(path).unwrap_or_else(|_| path.to_owned()))?;
            (path != default).then_some((option, path))
        });
        let state = self.state.path().to_owned();
        let status = directory_of(&state);
        let installation = self.installation.clone();
        let (program, options) = (program(), options.collect());
        Some(Terms { root, schedulers, program, options, state, status, sshds, installation })
    }
}

/// The terms on a machine that is only described, in a directory that stands for its `/`: everything there has its
/// default place.
fn described(root: PathBuf, schedulers: Option<Schedulers>) -> Terms {
    let (state, config) = (PathBuf::from("/var/lib/warded"), PathBuf::from("/etc/warded/config.toml"));
    let installation = Installation {
        state: state.clone(),
        config: config.clone(),
        default_state: state.clone(),
        default_config: config,
    };
    let (program, status) = (PathBuf::from(DESCRIBED), directory_of(&state));
    Terms { root, schedulers, program, options: Vec::new(), state, status, sshds: Vec::new(), installation }
}

/// Where to look for what starts programs by the clock.
#[derive(Clone, Debug, Default)]
pub enum Scheduling {
    /// On this machine.
    #[default]
    Real,
    /// Below a directory that stands for `/` of a machine that is only described.
    Described(PathBuf),
    /// The scheduler of the described machine is not known, so nothing can be scheduled there.
    Unknown,
}

/// The path of this program. Linux appends `(deleted)` to it if an upgrade has replaced the file.
fn program() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let replaced = program.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(Path::new);
    replaced.filter(|path| path.exists()).map_or(program.clone(), Path::to_owned)
}
