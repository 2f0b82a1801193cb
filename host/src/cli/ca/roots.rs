//! `warded ca roots`.

use crate::{
    cli::{known_hosts, output::Output},
    context::Context,
};
use clap::Args;
use serde::Serialize;
use ssh_key::PublicKey;
use warded_lib::{
    ca::{CertificateAuthority, Kind},
    error::{Error, Exit, Result},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Roots {
    /// Only the keys that sign certificates of machines
    #[arg(long, conflicts_with = "user")]
    host: bool,
    /// Only the keys that sign certificates of people, for sshd's TrustedUserCAKeys
    #[arg(long)]
    user: bool,
    /// Print known_hosts lines for clients that connect to these machines: host name patterns, separated by commas
    #[arg(long, value_name = "PATTERN", conflicts_with_all = ["host", "user"], value_parser = known_hosts::pattern)]
    known_hosts: Option<String>,
}

#[derive(Serialize)]
struct RootsObject {
    schema: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_keys: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_keys: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    known_hosts: Option<Vec<String>>,
}

impl Roots {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let authority = context.authority.open()?;
        let of = |kind| authority.roots(kind).map_err(Error::from).and_then(|keys| lines(&keys));
        let mut object =
            RootsObject { schema: "warded.ca-roots/2", host_keys: None, user_keys: None, known_hosts: None };
        if let Some(pattern) = &self.known_hosts {
            let keys = authority.roots(Kind::Host)?;
            let known = keys.iter().map(|key| known_hosts::line(pattern, key)).collect::<Result<Vec<_>>>()?;
            known.iter().try_for_each(|line| output.verbatim(line))?;
            (object.host_keys, object.known_hosts) = (Some(lines(&keys)?), Some(known));
        } else if self.host || self.user {
            let keys = of(if self.host { Kind::Host } else { Kind::User })?;
            keys.iter().try_for_each(|key| output.verbatim(key))?;
            *(if self.host { &mut object.host_keys } else { &mut object.user_keys }) = Some(keys);
        } else {
            let (host, user) = both(authority)?;
            output.line("# Host CA, which signs machines. For clients, in known_hosts (narrow the *):")?;
            host.iter().try_for_each(|key| output.verbatim(format!("@cert-authority * {key}")))?;
            output.line("# User CA, which signs people. For the file that TrustedUserCAKeys names:")?;
            user.iter().try_for_each(|key| output.verbatim(key))?;
            (object.host_keys, object.user_keys) = (Some(host), Some(user));
        }
        output.object(&object)?;
        Ok(Exit::Done)
    }
}

/// The keys of both kinds. A CA may sign only one kind.
fn both(authority: &dyn CertificateAuthority) -> Result<(Vec<String>, Vec<String>)> {
    let of = |kind| authority.roots(kind).map_err(Error::from).and_then(|keys| lines(&keys));
    match (of(Kind::Host), of(Kind::User)) {
        (Err(error), Err(_)) => Err(error),
        (host, user) => Ok((host.unwrap_or_default(), user.unwrap_or_default())),
    }
}

fn lines(keys: &[PublicKey]) -> Result<Vec<String>> {
    keys.iter().map(known_hosts::key).collect()
}
