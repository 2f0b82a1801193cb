//! Credentials for registries, as podman and docker keep them for the user who runs this.

use crate::components::read;
use std::{
    env,
    path::{Path, PathBuf},
};
use warded_lib::{
    error::Result,
    machine::files,
    registry::{Reference, credentials::Credentials},
    text::neutral_path,
};

/// Those for a repository, if the user has some.
pub(super) fn credentials(reference: &Reference) -> Result<Option<Credentials>> {
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
