//! Which agent `ssh` uses: `IdentityAgent` in its configuration takes precedence over `SSH_AUTH_SOCK`.

use crate::{
    error::Result,
    machine::{
        exec::{self, Program},
        ssh::{Host, asked, with_variables, without_dns},
        users,
    },
    text::neutral,
};
use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// A name that never resolves (RFC 2606): for it `ssh -G` shows the settings that hold for every host.
const ANY_HOST: &str = "host.invalid";
/// The environment variable with the path of the agent's socket.
const VARIABLE: &str = "SSH_AUTH_SOCK";

/// The agent that `ssh` uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentChoice {
    /// The agent at this socket.
    Socket {
        path: PathBuf,
        /// The setting or the environment variable that names the socket.
        by: String,
    },
    /// No agent: the configuration says so, or a variable is not set.
    None(NoAgentReason),
}

/// Why `ssh` uses no agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAgentReason {
    /// `IdentityAgent none`.
    #[error("ssh's configuration says `IdentityAgent none`")]
    SwitchedOff,
    /// The environment variable is not set.
    #[error("{0} is not set: there is no agent")]
    Unset(String),
    /// A setting that is not a usable path on this machine.
    #[error("ssh's configuration says `IdentityAgent {0}`, which is not a usable path on this machine")]
    Unclear(String),
}

/// The agent that `ssh` uses for a host, according to `ssh -G`; without a host, the one for every host.
///
/// # Errors
/// `ssh` rejects its configuration.
pub fn chosen(host: Option<&str>) -> Result<AgentChoice> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let Some(ssh) = exec::find("ssh") else { return Ok(of(None, variable, None)) };
    let host = Host { name: host.unwrap_or(ANY_HOST).to_owned(), port: None };
    let program = with_variables(Program::new(ssh)).args(["-o", without_dns(&host.name)]);
    let settings = asked(program, &host, "ssh cannot use its configuration, so the agent that it uses is not known")?;
    let setting = settings.values("identityagent").into_iter().next();
    let setting = setting.as_deref();
    let home = setting.filter(|setting| setting.starts_with('~')).and_then(|_| users::own()).map(|user| user.home);
    Ok(of(setting, variable, home.as_deref()))
}

/// Interprets a value of `IdentityAgent` (ssh_config(5)) as `ssh -G` prints it. `ssh` has already expanded tokens and
/// `${…}`, but not a variable that stands alone; older releases also leave `~` unexpanded.
fn of(setting: Option<&str>, variable: impl Fn(&str) -> Option<OsString>, home: Option<&str>) -> AgentChoice {
    let by_variable = |name: &str| match variable(name) {
        Some(path) => AgentChoice::Socket { path: path.into(), by: name.to_owned() },
        None => AgentChoice::None(NoAgentReason::Unset(name.to_owned())),
    };
    match setting {
        None | Some(VARIABLE) => by_variable(VARIABLE),
        Some("none") => AgentChoice::None(NoAgentReason::SwitchedOff),
        Some(name) if name.starts_with('$') => by_variable(name.trim_start_matches('$')),
        Some(setting) => {
            let below_home = setting.strip_prefix("~/").zip(home).map(|(rest, home)| Path::new(home).join(rest));
            let path = below_home.unwrap_or_else(|| setting.into());
            if path.is_absolute() {
                AgentChoice::Socket { path, by: format!("IdentityAgent {}", neutral(setting)) }
            } else {
                AgentChoice::None(NoAgentReason::Unclear(neutral(setting)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_goes_before_the_variable() {
        let variable = |name: &str| match name {
            "SSH_AUTH_SOCK" => Some(OsString::from("/run/agent")),
            "MINE" => Some(OsString::from("/run/mine")),
            _ => None,
        };
        let socket = |path: &str, by: &str| AgentChoice::Socket { path: path.into(), by: by.to_owned() };
        for (setting, expected) in [
            (None, socket("/run/agent", "SSH_AUTH_SOCK")),
            (Some("SSH_AUTH_SOCK"), socket("/run/agent", "SSH_AUTH_SOCK")),
            (Some("none"), AgentChoice::None(NoAgentReason::SwitchedOff)),
            (Some("$MINE"), socket("/run/mine", "MINE")),
            (Some("$GONE"), AgentChoice::None(NoAgentReason::Unset("GONE".to_owned()))),
            (Some("/home/a b/agent"), socket("/home/a b/agent", "IdentityAgent /home/a b/agent")),
            (Some("~/agent"), socket("/home/ann/agent", "IdentityAgent ~/agent")),
            (Some("relative"), AgentChoice::None(NoAgentReason::Unclear("relative".to_owned()))),
        ] {
            assert_eq!(of(setting, variable, Some("/home/ann")), expected, "{setting:?}");
        }
        assert_eq!(of(None, |_| None, None), AgentChoice::None(NoAgentReason::Unset("SSH_AUTH_SOCK".to_owned())));
    }
}
