//! `warded ca roots`.

use crate::{cli::output::Output, context::Context};
use clap::Args;
use serde::Serialize;
use ssh_key::PublicKey;
use warded_lib::{
    ca::{CertificateAuthority, Kind},
    error::{Error, Exit, Result},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Roots {
    /// Only the keys that sign machines, for known_hosts
    #[arg(long, conflicts_with = "user")]
    host: bool,
    /// Only the keys that sign people, for sshd's TrustedUserCAKeys
    #[arg(long)]
    user: bool,
}

#[derive(Serialize)]
struct RootsObject {
    schema: &'static str,
    kind: String,
    keys: Vec<String>,
}

#[derive(Serialize)]
struct AllRootsObject {
    schema: &'static str,
    host: Vec<String>,
    user: Vec<String>,
}

impl Roots {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let authority = context.authority.open()?;
        match (self.host, self.user) {
            (true, _) => one(authority, Kind::Host, output)?,
            (_, true) => one(authority, Kind::User, output)?,
            (false, false) => both(authority, output)?,
        }
        Ok(Exit::Done)
    }
}

fn one(authority: &dyn CertificateAuthority, kind: Kind, output: Output) -> Result<()> {
    let keys = lines(&authority.roots(kind)?)?;
    keys.iter().try_for_each(|key| output.line(key))?;
    output.object(&RootsObject { schema: "warded.ca-roots/1", kind: kind.to_string(), keys })
}

/// The keys of both kinds, each where it belongs: pasted into the other place, a key trusts nobody, or the wrong ones.
fn both(authority: &dyn CertificateAuthority, output: Output) -> Result<()> {
    let of = |kind| authority.roots(kind).map_err(Error::from).and_then(|keys| lines(&keys));
    let (host, user) = (of(Kind::Host), of(Kind::User));
    let (host, user) = match (host, user) {
        // A CA may sign one kind alone.
        (Err(error), Err(_)) => return Err(error),
        (host, user) => (host.unwrap_or_default(), user.unwrap_or_default()),
    };
    output.line("# machines, for known_hosts (narrow the *):")?;
    for key in &host {
        output.line(format!("@cert-authority * {key}"))?;
    }
    output.line("# people, for the file that sshd's TrustedUserCAKeys names:")?;
    user.iter().try_for_each(|key| output.line(key))?;
    output.object(&AllRootsObject { schema: "warded.ca-roots-of-both/1", host, user })
}

fn lines(keys: &[PublicKey]) -> Result<Vec<String>> {
    keys.iter()
        .map(|key| key.to_openssh().map_err(|error| Error::failed("cannot write the CA's public key").cause(error)))
        .collect()
}
