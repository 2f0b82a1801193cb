//! Where a component comes from: a file, an OCI registry, or standard input; and how a registry is reached.

mod login;

use crate::{cli::output::Output, publishing};
use clap::Args;
use std::{
    fmt,
    io::{self, Read as _},
    path::{Path, PathBuf},
    str::FromStr,
};
use warded_artifact::{
    imports, lock, manifest,
    read::{self, MAX_COMPONENT_BYTES},
};
use warded_lib::{
    ca::step::x509::X509,
    digest::Digest,
    error::{Error, Result},
    machine::files,
    name::Name,
    policy::file::Policy,
    registry::{Artifact, Means, Reference, Registry},
    text::neutral_path,
};

/// What an operator named.
#[derive(Clone, Debug)]
pub(super) enum Source {
    File(PathBuf),
    Registry(Reference),
    Input,
}

/// A component with its signature, which has not been verified.
pub(super) struct LocatedComponent {
    pub(super) artifact: Artifact,
    /// Where the component was, for messages.
    pub(super) place: PathBuf,
    /// What the lock file records as its source; `None` if the source has no name.
    pub(super) source: Option<String>,
    /// The digest of the artifact in a registry.
    pub(super) pinned: Option<Digest>,
}

#[derive(Debug, Args)]
pub(super) struct Reach {
    /// Also trust the root certificates in this file (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Ask this registry instead of the one that a reference names
    #[arg(long, value_name = "HOST[:PORT]")]
    mirror: Option<String>,
    /// Use no TLS; only for a registry at a loopback address
    #[arg(long)]
    plain_http: bool,
}

impl LocatedComponent {
    /// The name of the policy in the component's request; `None` if it has no readable one.
    pub(super) fn policy(&self) -> Option<Name> {
        let request = imports::request(&self.artifact.component).ok()??;
        Some(Policy::parse(&request, "the component's request").ok()?.name)
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "-" => Ok(Self::Input),
            _ if text.starts_with("oci://") => text.parse().map(Self::Registry),
            _ => Ok(Self::File(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.write_str(&neutral_path(file)),
            Self::Registry(reference) => write!(f, "{reference}"),
            Self::Input => f.write_str("standard input"),
        }
    }
}

impl Source {
    /// Reads the component, and its signed manifest.
    pub(super) fn find(&self, reach: &Reach, output: Output) -> Result<LocatedComponent> {
        match self {
            Self::File(file) => in_file(file),
            Self::Registry(reference) => {
                let (artifact, pinned) = reach.pull(reference, false, output)?;
                let source = reference.to_string();
                Ok(LocatedComponent {
                    artifact,
                    place: PathBuf::from(&source),
                    source: Some(source),
                    pinned: Some(pinned),
                })
            }
            Self::Input => {
                let mut component = Vec::new();
                let read = io::stdin().take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut component);
                read.map_err(|error| Error::failed("cannot read standard input").cause(error))?;
                if u64::try_from(component.len()).is_ok_and(|length| length > MAX_COMPONENT_BYTES) {
                    return Err(Error::refused("standard input is larger than a component may be"));
                }
                let artifact = Artifact { component, signed: None };
                Ok(LocatedComponent { artifact, place: PathBuf::from("standard input"), source: None, pinned: None })
            }
        }
    }
}

fn in_file(file: &Path) -> Result<LocatedComponent> {
    let artifact =
        Artifact { component: read::any(file, MAX_COMPONENT_BYTES)?, signed: publishing::signed_beside(file)? };
    let name = file.file_name().and_then(|name| name.to_str()).filter(|name| lock::is_file_name(name));
    Ok(LocatedComponent { artifact, place: file.to_owned(), source: name.map(str::to_owned), pinned: None })
}

impl Reach {
    /// Connects to a registry. `is_person` says that a person is waiting, so that a credential helper may ask
    /// questions.
    pub(super) fn registry(&self, reference: &Reference, is_person: bool, output: Output) -> Result<Registry> {
        let asked = match &self.mirror {
            Some(mirror) => reference.at_mirror(mirror).map_err(Error::usage)?,
            None => reference.clone(),
        };
        let mut roots = Vec::new();
        if let Some(file) = &self.ca_file {
            let pem = read::any(file, files::MAX_BYTES)?;
            let found = X509::parse_all(&pem).map_err(|error| {
                Error::usage(format!("{} is no file of root certificates", neutral_path(file))).cause(error)
            })?;
            roots = found.into_iter().map(|root| root.der).collect();
        }
        let credentials = login::credentials(&asked, is_person, output)?;
        Registry::new(&asked, Means { roots, plain_http: self.plain_http }, credentials)
    }

    /// Fetches an artifact, and the digest of its manifest.
    pub(super) fn pull(&self, reference: &Reference, is_person: bool, output: Output) -> Result<(Artifact, Digest)> {
        let (artifact, stored) = self.registry(reference, is_person, output)?.pull(MAX_COMPONENT_BYTES)?;
        let limit = usize::try_from(manifest::MAX_BYTES).unwrap_or(usize::MAX);
        if artifact.signed.iter().any(|signed| signed.manifest.len().max(signed.signature.len()) > limit) {
            return Err(Error::refused("the signature in the registry is larger than one may be")
                .cause(format!("the limit is {} KiB", manifest::MAX_BYTES >> 10)));
        }
        Ok((artifact, stored))
    }
}
