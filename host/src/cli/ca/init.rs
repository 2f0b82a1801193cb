//! `warded ca init`.

use crate::cli::output::Output;
use clap::Args;
use serde::Serialize;
use ssh_key::HashAlg;
use std::path::{PathBuf, absolute};
use warded_lib::{
    ca::{CertificateAuthority as _, Kind, local::LocalAuthority},
    error::{Error, Exit, Result},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Init {
    /// The directory to make; whoever can read it can certify anything
    directory: PathBuf,
}

#[derive(Serialize)]
struct Made {
    schema: &'static str,
    directory: String,
    host_ca: String,
    user_ca: String,
}

impl Init {
    pub(super) fn run(&self, output: Output) -> Result<Exit> {
        let directory = absolute(&self.directory).map_err(|error| {
            Error::usage(format!("cannot make the directory {}", self.directory.display())).cause(error)
        })?;
        let authority = LocalAuthority::init(&directory)?;
        let key = |kind| -> Result<String> {
            let roots = authority.roots(kind).map_err(Error::from)?;
            let root = roots.first().ok_or_else(|| Error::failed("the new CA has no key"))?;
            root.to_openssh().map_err(|error| Error::failed("cannot write the CA's public key").cause(error))
        };
        let fingerprint = |kind| -> Result<String> {
            let roots = authority.roots(kind).map_err(Error::from)?;
            Ok(roots.first().map(|root| root.fingerprint(HashAlg::Sha256).to_string()).unwrap_or_default())
        };
        let (host_ca, user_ca) = (key(Kind::Host)?, key(Kind::User)?);
        output.line(format!("Made a CA in {}", directory.display()))?;
        output.line(format!("host CA  {}  signs machines", fingerprint(Kind::Host)?))?;
        output.line(format!("user CA  {}  signs people", fingerprint(Kind::User)?))?;
        output.line("")?;
        output.line("To use it, put this line into Warded's configuration file:")?;
        output.line(format!("  ca = \"{}\"", directory.display()))?;
        output.line("Clients trust the machines it certifies with this line in known_hosts (narrow the `*`):")?;
        output.line(format!("  @cert-authority * {host_ca}"))?;
        let schema = "warded.ca-init/1";
        output.object(&Made { schema, directory: directory.display().to_string(), host_ca, user_ca })?;
        Ok(Exit::Done)
    }
}
