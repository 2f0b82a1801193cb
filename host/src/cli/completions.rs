//! `warded completions`, and the candidates that a shell asks for while a person types.

use super::{definition, output::Output};
use crate::context::{self, Options};
use clap::{Args, ValueEnum};
use clap_complete::{CompleteEnv, engine::CompletionCandidate, env::Shells};
use std::{env, io::Write as _};
use warded_lib::{
    config,
    error::{Error, Exit, Result},
    machine::private::StateDir,
    policy::file::Procedure,
    transaction::{WayBack, history},
};

/// The environment variable that a shell sets when it asks this program for candidates.
const VARIABLE: &str = "WARDED_COMPLETE";

/// Print completions for a shell, such as: warded completions bash > /etc/bash_completion.d/warded
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

/// If a shell asks for candidates, prints them and ends the process.
pub(super) fn answer() {
    // If only the variable is set, because it was left in the environment, the command must run normally.
    if env::args_os().nth(1).is_none_or(|first| first != "--") {
        return;
    }
    CompleteEnv::with_factory(definition).var(VARIABLE).bin("warded").complete();
}

impl Completions {
    pub(super) fn run(&self, _: Output) -> Result<Exit> {
        let name = self.shell.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let shells = Shells::builtins();
        let unknown = || Error::failed(format!("there are no completions for {name}"));
        let mut script = Vec::new();
        let shell = shells.completer(&name).ok_or_else(unknown)?;
        let written = shell
            .write_registration(VARIABLE, "warded", "warded", "warded", &mut script)
            .and_then(|()| std::io::stdout().write_all(&script));
        match written {
            Ok(()) => Ok(Exit::Done),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Error::quiet(Exit::Done)),
            Err(error) => Err(Error::failed("cannot write to stdout").cause(error)),
        }
    }
}

/// Each procedure, with its description.
pub(super) fn procedures() -> Vec<CompletionCandidate> {
    let named = |name: String, procedure: &Procedure| candidate(name, &procedure.summary);
    all(|_, procedures| procedures.iter().map(|(name, procedure)| named(name.clone(), procedure)).collect())
}

/// `NAME=` for each setting of each procedure.
pub(super) fn settings() -> Vec<CompletionCandidate> {
    all(|_, procedures| {
        let settings = procedures.iter().flat_map(|(_, procedure)| &procedure.settings);
        settings.map(|(name, setting)| candidate(format!("{name}="), &setting.help)).collect()
    })
}

/// The name of each policy.
pub(super) fn policies() -> Vec<CompletionCandidate> {
    all(|policy, _| vec![CompletionCandidate::new(policy)])
}

/// Each run that can be undone.
pub(super) fn runs() -> Vec<CompletionCandidate> {
    let state = env::var_os("WARDED_STATE").map_or_else(config::default_state, Into::into);
    let history = StateDir::find(&state).ok().flatten().and_then(|state| history(&state).ok());
    let runs = history.into_iter().flat_map(|history| history.runs);
    let undoable = runs.filter(|past| !matches!(past.way_back, WayBack::None));
    undoable.map(|past| candidate(past.journal.run.run.to_string(), &past.journal.run.procedure)).collect()
}

/// What `of` finds in each policy of this machine, without duplicates.
fn all(of: impl Fn(&str, &[(String, Procedure)]) -> Vec<CompletionCandidate>) -> Vec<CompletionCandidate> {
    let options = Options {
        config: env::var_os("WARDED_CONFIG").map(Into::into),
        policies: env::var_os("WARDED_POLICIES").map(Into::into),
        ..Options::default()
    };
    let Ok((policies, ..)) = context::policies_only(&options) else { return Vec::new() };
    let mut found: Vec<CompletionCandidate> = policies
        .iter()
        .flat_map(|granting| {
            let procedures = granting.policy.procedures.iter();
            let procedures: Vec<_> = procedures.map(|(name, one)| (name.to_string(), one.clone())).collect();
            of(granting.policy.name.as_str(), &procedures)
        })
        .collect();
    found.sort();
    found.dedup_by(|one, other| one.get_value() == other.get_value());
    found
}

fn candidate(value: String, about: &str) -> CompletionCandidate {
    CompletionCandidate::new(value).help(Some(warded_lib::text::neutral(about).into()))
}
