//! What a schedule has to run for the files of this context.

use super::{Context, RENEW_EVERY};
use crate::{broker::operation::schedule::Terms, public_status::directory_of};
use std::path::{Path, PathBuf, absolute};
use warded_lib::{
    config,
    machine::{
        facts::Init,
        path::AbsolutePath,
        schedule::{Schedule, Schedulers, is_of_machine},
    },
};

/// Hours between two renewals, where the configuration file does not say: Warded's own schedule runs every hour.
#[must_use]
pub fn rhythm(sshd_config: &Path, init: Init) -> u8 {
    let is_ours = || Schedule::find(Path::new("/"), init == Init::Systemd).is_ours();
    if is_of_machine(sshd_config) && is_ours() { 1 } else { RENEW_EVERY }
}

impl Context {
    /// The terms of a schedule: this program, with the options that lead it to the same files where these are not
    /// the default ones. It is led to no sshd: `renew` is for all that are enrolled.
    #[must_use]
    pub fn schedule(&self, schedulers: Option<Schedulers>, sshds: Vec<AbsolutePath>) -> Terms {
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
        Terms { schedulers, program: program(), options: options.collect(), state, status, sshds }
    }
}

/// This program by its path: Linux says `(deleted)` behind it where an upgrade has put another one in its place.
fn program() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let replaced = program.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(Path::new);
    replaced.filter(|path| path.exists()).map_or(program.clone(), Path::to_owned)
}
