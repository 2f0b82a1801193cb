//! `warded policy push` and `warded policy pull`: components with their signatures in an OCI registry. Neither changes
//! anything on the machine but the files that `pull` is to write, and neither trusts what it moves: `add` verifies it.

use crate::{
    cli::output::Output,
    components::read::{self, MAX_COMPONENT_BYTES},
    publishing::{self, Manifest},
};
use clap::Args;
use serde_json::json;
use std::{
    env, io,
    path::{Path, PathBuf},
};
use warded_lib::{
    ca::step::x509::X509,
    digest::Digest,
    error::{Error, Exit, Result},
    machine::{durable, files},
    policy::file::Policy,
    registry::{Artifact, Means, Reference, Registry, Signed, credentials::Credentials},
    text::neutral_path,
};

#[derive(Debug, Args)]
struct Reach {
    /// Also trust the root certificates in this file (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Without TLS; only for a registry at a loopback address
    #[arg(long)]
    plain_http: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Push {
    /// The component; FILE.wasm.manifest and FILE.wasm.manifest.sig go with it
    #[arg(value_name = "FILE.wasm")]
    component: PathBuf,
    /// Where to: oci://HOST[:PORT]/NAME:TAG
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Pull {
    /// Where from: oci://HOST[:PORT]/NAME:TAG or oci://HOST[:PORT]/NAME@sha256:HEX
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    /// Where to write the component, instead of the last part of NAME, with .wasm
    #[arg(long, short, value_name = "FILE.wasm")]
    output: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

impl Reach {
    fn registry(&self, reference: &Reference) -> Result<Registry> {
        let mut roots = Vec::new();
        if let Some(file) = &self.ca_file {
            let pem = read::any(file, files::MAX_BYTES)?;
            let found = X509::parse_all(&pem).map_err(|error| {
                Error::usage(format!("{} is no file of root certificates", neutral_path(file))).cause(error)
            })?;
            roots = found.into_iter().map(|root| root.der).collect();
        }
        let credentials = credentials(reference)?;
        Registry::new(reference, Means { roots, plain_http: self.plain_http }, credentials)
    }
}

/// Those that podman or docker keep for the person who runs this.
fn credentials(reference: &Reference) -> Result<Option<Credentials>> {
    let within = |name: &str, rest: &str| env::var_os(name).map(|directory| Path::new(&directory).join(rest));
    let named = env::var_os("REGISTRY_AUTH_FILE").map(PathBuf::from);
    let usual = [
        within("XDG_RUNTIME_DIR", "containers/auth.json"),
        within("HOME", ".config/containers/auth.json"),
        within("DOCKER_CONFIG", "config.json"),
        within("HOME", ".docker/config.json"),
    ];
    let all: Vec<PathBuf> = match named {
        Some(named) => vec![named],
        None => usual.into_iter().flatten().filter(|file| file.exists()).collect(),
    };
    for file in all {
        let bytes = zeroize::Zeroizing::new(read::any(&file, files::MAX_BYTES)?);
        let found = Credentials::find(&bytes, &reference.authority, &reference.name)
            .map_err(|error| error.seen(neutral_path(&file)))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

impl Push {
    pub(super) fn run(&self, output: Output) -> Result<Exit> {
        let (component, request) = read::component(&self.component)?;
        let policy = Policy::parse(&request, "the component's request")?;
        let (manifest, signature) = publishing::beside(&self.component);
        if !manifest.exists() || !signature.exists() {
            return Err(Error::refused(format!("{} is not signed", neutral_path(&self.component)))
                .state("nothing was pushed")
                .next("warded policy sign FILE.wasm"));
        }
        let text = |file: &Path| {
            String::from_utf8(read::any(file, publishing::MAX_BYTES)?)
                .map_err(|error| Error::refused(format!("{} is not text", neutral_path(file))).cause(error))
        };
        let signed = Signed { manifest: text(&manifest)?, signature: text(&signature)? };
        Manifest::read(signed.manifest.as_bytes(), &component, &request, &policy)?;
        let digest = Digest::of(&component);
        let artifact = Artifact { component, signed: Some(signed) };
        let (stored, changed) = self.reach.registry(&self.reference)?.push(&artifact)?;
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
        let (artifact, stored) = self.reach.registry(&self.reference)?.pull(MAX_COMPONENT_BYTES)?;
        let (manifest, signature) = publishing::beside(&file);
        let signed = artifact.signed.as_ref();
        let texts = [signed.map(|one| one.manifest.as_bytes()), signed.map(|one| one.signature.as_bytes())];
        let limit = usize::try_from(publishing::MAX_BYTES).unwrap_or(usize::MAX);
        if texts.iter().flatten().any(|text| text.len() > limit) {
            return Err(Error::refused("the signature in the registry is larger than one may be")
                .cause(format!("the limit is {} KiB", publishing::MAX_BYTES >> 10)));
        }
        let [manifest_text, signature_text] = texts;
        let all =
            [(&file, Some(artifact.component.as_slice())), (&manifest, manifest_text), (&signature, signature_text)];
        let mut missing = Vec::new();
        for (path, bytes) in all {
            match (there(path)?, bytes) {
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
            durable::replace(path, bytes, 0o644)
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

/// What is in a file, if there is one.
fn there(path: &Path) -> Result<Option<Vec<u8>>> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::failed(format!("cannot look at {}", neutral_path(path))).cause(error)),
        Ok(_) => read::any(path, MAX_COMPONENT_BYTES).map(Some),
    }
}
