//! `warded policy push` and `warded policy pull`: components with their signatures in an OCI registry. Neither changes
//! anything on the machine, except the files that `pull` writes. Neither trusts what it transfers: `add` verifies it.

use super::source::Reach;
use crate::{
    cli::output::{Output, can_ask},
    publishing,
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use warded_artifact::{
    manifest::Manifest,
    read::{self, MAX_COMPONENT_BYTES},
};
use warded_lib::{
    digest::Digest,
    error::{Error, Exit, Result},
    machine::durable,
    policy::file::Policy,
    registry::{Artifact, Reference},
    text::neutral_path,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Push {
    /// The component; FILE.wasm.manifest and FILE.wasm.manifest.sig go with it
    #[arg(value_name = "FILE.wasm")]
    component: PathBuf,
    /// The destination: oci://HOST[:PORT]/NAME:TAG
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Pull {
    /// The source: oci://HOST[:PORT]/NAME:TAG or oci://HOST[:PORT]/NAME@sha256:HEX
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    /// The file to write, instead of the last part of NAME, with .wasm
    #[arg(long, short, value_name = "FILE.wasm")]
    output: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

impl Push {
    pub(super) fn run(&self, output: Output) -> Result<Exit> {
        let (component, request) = read::component(&self.component)?;
        let policy = Policy::parse(&request, "the component's request")?;
        let signed = publishing::signed_beside(&self.component)?.ok_or_else(|| {
            Error::refused(format!("{} is not signed", neutral_path(&self.component)))
                .state("nothing was pushed")
                .next("warded policy sign FILE.wasm")
        })?;
        Manifest::read(signed.manifest.as_bytes(), &component, &request, &policy)?;
        let digest = Digest::of(&component);
        let artifact = Artifact { component, signed: Some(signed) };
        let (stored, changed) = self.reach.registry(&self.reference, can_ask(), output)?.push(&artifact)?;
        let pinned = self.reference.pinned(stored);
        let what = if changed { "Pushed" } else { "There already:" };
        output.line(format!("{what} {} {} as {}", policy.name, policy.version, self.reference))?;
        output.line(format!("By its digest: {pinned}"))?;
        output.object(&json!({
            "schema": "warded.policy-push/1", "name": policy.name.as_str(), "version": policy.version,
            "reference": self.reference.to_string(), "pinned": pinned.to_string(),
            "component": digest, "changed": changed,
        }))?;
        Ok(Exit::Done)
    }
}

impl Pull {
    pub(super) fn run(&self, output: Output) -> Result<Exit> {
        let last = self.reference.name.rsplit('/').next().unwrap_or_default();
        let file = self.output.clone().unwrap_or_else(|| PathBuf::from(format!("{last}.wasm")));
        let (artifact, stored) = self.reach.pull(&self.reference, can_ask(), output)?;
        let (manifest, signature) = publishing::beside(&file);
        let signed = artifact.signed.as_ref();
        let [manifest_text, signature_text] =
            [signed.map(|one| one.manifest.as_bytes()), signed.map(|one| one.signature.as_bytes())];
        let all =
            [(&file, Some(artifact.component.as_slice())), (&manifest, manifest_text), (&signature, signature_text)];
        let mut missing = Vec::new();
        for (path, bytes) in all {
            match (read::there(path, MAX_COMPONENT_BYTES)?, bytes) {
                (Some(there), Some(bytes)) if there == bytes => {}
                (Some(_), _) => {
                    return Err(Error::refused(format!(
                        "{} is there, and is not what the registry has",
                        neutral_path(path)
                    ))
                    .state("nothing was written")
                    .next("name another file with -o, or remove this one"));
                }
                (None, Some(bytes)) => missing.push((path, bytes)),
                (None, None) => {}
            }
        }
        for (path, bytes) in &missing {
            durable::create(path, bytes, 0o644)
                .map_err(|error| Error::failed(format!("cannot write {}", neutral_path(path))).cause(error))?;
        }
        let (pinned, digest) = (self.reference.pinned(stored), Digest::of(&artifact.component));
        let what = if missing.is_empty() { "There already:" } else { "Wrote" };
        output.line(format!("{what} {} · {digest}", neutral_path(&file)))?;
        output.line(format!("By its digest: {pinned}"))?;
        let signature = if signed.is_some() { "Its signature is beside it" } else { "It is not signed" };
        output.line(format!("{signature}; to look at it and accept it: warded policy add {}", neutral_path(&file)))?;
        output.object(&json!({
            "schema": "warded.policy-pull/1", "file": neutral_path(&file), "component": digest, "signed": signed.is_some(),
            "reference": self.reference.to_string(), "pinned": pinned.to_string(), "changed": !missing.is_empty(),
        }))?;
        Ok(Exit::Done)
    }
}
