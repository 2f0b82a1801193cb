//! `warded policy sign`.

use crate::{
    cli::output::Output,
    publishing::{self, signature},
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use warded_artifact::{manifest::Manifest, read};
use warded_lib::{
    error::{Exit, Result},
    machine::named_file,
    policy::file::Policy,
    text::neutral_path,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Sign {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    component: PathBuf,
    /// Who publishes it, as allowed_signers names them
    #[arg(long, value_name = "NAME")]
    publisher: String,
    /// An SSH private key, or the public half of one in the agent
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

impl Sign {
    pub(super) fn run(&self, output: Output) -> Result<Exit> {
        let (component, request) = read::component(&self.component)?;
        let policy = Policy::parse(&request, "the component's request")?;
        let manifest = Manifest::of(&self.publisher, &component, &request, &policy)?;
        let text = manifest.to_text()?;
        let signed = signature::sign(signature::NAMESPACE, text.as_bytes(), &self.key)?;
        let (manifest_file, signature_file) = publishing::beside(&self.component);
        for (file, bytes) in [(&manifest_file, text.as_bytes()), (&signature_file, signed.as_slice())] {
            named_file::replace(file, bytes, 0o644)?;
        }
        output.line(format!("Signed {} {} as {}.", policy.name, policy.version, manifest.publisher))?;
        output.line(format!("Wrote {} and {}.", neutral_path(&manifest_file), neutral_path(&signature_file)))?;
        output.object(&json!({
            "schema": "warded.policy-sign/1", "manifest": manifest,
            "files": [neutral_path(&manifest_file), neutral_path(&signature_file)],
        }))?;
        Ok(Exit::Done)
    }
}
