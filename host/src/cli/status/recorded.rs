//! The certificates that root recorded, compared with their files as an ordinary user sees them now.

use crate::{
    cli::outlook::Problem,
    public_status::{CertifiedKey, PublicStatus},
};
use sshd_config::include;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use warded_lib::{
    ca::{self, Kind, certificate, verify},
    machine::{
        bounded,
        sshd::{
            DIRECTORY, host_key,
            tree::{Overlay, StagedFiles, Tree},
        },
    },
    text::neutral,
};

const NEXT: &str = "sudo warded status says what to do";

/// What is wrong with them. Only root can judge a file that this user may not read. `has_arguments` says that sshd was
/// started with arguments that may name certificates.
pub(super) fn look(recorded: &PublicStatus, has_arguments: bool) -> Vec<Problem> {
    let seen = |key: &CertifiedKey| {
        let file = key.file.as_deref()?;
        let config = key.sshd_config.as_deref().filter(|_| !has_arguments);
        let named = config.and_then(named);
        let is_unnamed = || named.is_some_and(|named| !named.iter().any(|one| one == Path::new(file)));
        let unnamed = || format!("no HostCertificate line of sshd's configuration names {}", neutral(file));
        wrong(key, Path::new(file)).or_else(|| is_unnamed().then(unnamed))
    };
    recorded.keys.iter().filter_map(seen).map(|seen| Problem::with(seen, NEXT)).collect()
}

/// What is wrong with a certificate's file, except its age, which is reported separately.
fn wrong(key: &CertifiedKey, path: &Path) -> Option<String> {
    let shown = neutral(&path.to_string_lossy());
    let bytes = match bounded::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some(format!("the certificate {shown} is gone"));
        }
        Err(error) => return Some(format!("the certificate {shown} cannot be read: {error}")),
    };
    let found = match certificate::parse(&bytes) {
        Ok(found) => found,
        Err(error) => return Some(format!("{shown} is {error}")),
    };
    let beside = path.to_str().and_then(|path| path.strip_suffix("-cert.pub"));
    let public = beside.and_then(|key| host_key::public(Path::new(key))).unwrap_or_else(|| found.key().clone());
    match verify::problem(&found, Kind::Host, &[public], ca::now()) {
        Some(verify::CertificateFault::Expired(_)) => None,
        Some(fault) => Some(format!("the certificate {shown}: {fault}")),
        None if found.key().algorithm().as_str() != key.algorithm => {
            Some(format!("the certificate {shown} is for a key of another type"))
        }
        None => None,
    }
}

/// The files that the `HostCertificate` lines of a configuration name; `None` if this user cannot read all of it.
fn named(config: &Path) -> Option<Vec<PathBuf>> {
    let tree = Tree::read(config, Overlay(&StagedFiles::new())).ok()?;
    let is_read = |path: &PathBuf| tree.find(path).is_some();
    if !tree.files.iter().flat_map(|file| file.includes.values().flatten()).all(is_read) {
        return None;
    }
    let mut includes = tree.directives().filter(|(_, _, directive)| directive.keyword == "include");
    let is_listed = |argument: &str| {
        let directory = include::pattern(argument).and_then(|pattern| Some(Path::new(&*pattern).parent()?.to_owned()));
        let listed = directory.map(fs::read_dir);
        listed.is_some_and(|listed| !listed.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied))
    };
    if !includes.all(|(_, _, directive)| directive.arguments.iter().all(|argument| is_listed(&argument.text))) {
        return None;
    }
    Some(host_key::named(&tree, "hostcertificate").iter().map(|path| Path::new(DIRECTORY).join(path)).collect())
}
