//! `warded root-fingerprint`.

use super::output::Output;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use warded_lib::{
    ca::step::bootstrap::Root,
    error::{Error, Exit, Result},
};

#[derive(Debug, Args)]
pub(super) struct RootFingerprint {
    /// The root certificate, in PEM or DER: on the CA, `certs/root_ca.crt` in its step directory
    file: PathBuf,
}

#[derive(Serialize)]
struct Found {
    schema: &'static str,
    name: String,
    fingerprint: String,
}

impl RootFingerprint {
    pub(super) fn run(&self, output: Output) -> Result<Exit> {
        let wrong = |cause: String| {
            Error::usage(format!("cannot read a root certificate from {}", self.file.display())).cause(cause)
        };
        let bytes = std::fs::read(&self.file).map_err(|error| wrong(error.to_string()))?;
        let root = Root::parse(&bytes).map_err(wrong)?;
        let fingerprint = root.fingerprint().to_string();
        output.line(&fingerprint)?;
        output.object(&Found { schema: "warded.root-fingerprint/1", name: root.name, fingerprint })?;
        Ok(Exit::Done)
    }
}
