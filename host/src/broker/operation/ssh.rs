//! `ssh.effective`.

use super::{Failure, Operation};
use crate::broker::{
    granted::Granted,
    session::{Level, Session},
};
use serde_json::{Value, json};
use std::path::Path;
use warded_lib::{machine::ssh::Ssh, policy::need::Need};

/// The values of a keyword for a host.
#[derive(Debug)]
pub struct EffectiveValues {
    pub keyword: String,
    /// The host, as ssh looks it up.
    pub host: String,
}

impl Operation for EffectiveValues {
    type Output = Vec<String>;

    fn need(&self) -> Need {
        Need::ClientEffective(self.keyword.clone())
    }

    fn arguments(&self) -> Value {
        json!({ "host": self.host })
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<Self::Output, Failure> {
        let Self { keyword, host } = granted.operation();
        if keyword.is_empty() || !keyword.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Failure::new("invalid-keyword", "a keyword of ssh is letters and digits"));
        }
        let host = host.parse().map_err(|why| Failure::new("invalid-host", why))?;
        tell_home(session);
        let ssh = Ssh::find().ok_or_else(|| {
            Failure::new("no-ssh", "there is no `ssh` program on this machine")
                .about("next", "install OpenSSH's client")
        })?;
        let settings = ssh.settings(&host).map_err(|error| Failure::of_configuration(&error))?;
        Ok(settings.values(keyword))
    }
}

/// ssh uses the home directory from passwd(5), whatever HOME says. On CI runners the two differ.
fn tell_home(session: &mut Session) {
    let variable = std::env::var_os("HOME").filter(|home| !home.is_empty());
    if let (Some(home), Some(variable)) = (session.circumstances.places.home.clone(), variable)
        && Path::new(&variable) != home.as_path()
    {
        session.tell(
            Level::Warn,
            format!("ssh reads its files in {home}, although HOME says {}.", variable.to_string_lossy()),
        );
    }
}
