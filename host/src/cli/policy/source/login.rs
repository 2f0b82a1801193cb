//! Credentials for registries, as podman and docker keep them for the user who runs this.

use crate::components::read;
use std::{
    env,
    path::{Path, PathBuf},
};
use warded_lib::{
    config,
    error::{Error, Result},
    machine::{
        exec::{self, Program},
        files,
    },
    registry::{Reference, credentials::Credentials},
    text::{neutral, neutral_path},
};
use zeroize::Zeroizing;

/// What a helper needs to reach the store of the user who runs it.
const ENVIRONMENT: [&str; 8] = [
    "HOME",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "GNUPGHOME",
    "GPG_TTY",
];

/// Those for a repository, if the user has some. A helper is run only where a person waits for that.
pub(super) fn credentials(reference: &Reference, is_person: bool) -> Result<Option<Credentials>> {
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
    let Reference { authority, name, .. } = reference;
    for file in all {
        let bytes = Zeroizing::new(contents(&file)?);
        let seen = |error: Error| error.seen(neutral_path(&file));
        let found = Credentials::find(&bytes, authority, name).map_err(seen)?;
        if found.is_some() {
            return Ok(found);
        }
        let helper = Credentials::helper(&bytes, authority).map_err(seen)?;
        if let Some(helper) = helper.filter(|_| is_person) {
            return of_helper(&helper, authority).map(Some);
        }
    }
    Ok(None)
}

/// Root takes only what nobody else can have written.
fn contents(file: &Path) -> Result<Vec<u8>> {
    if !config::is_root() {
        return read::any(file, files::MAX_BYTES);
    }
    let cannot = |why: &dyn std::fmt::Display| Error::failed(format!("cannot read {}", neutral_path(file))).cause(why);
    files::read_ours(file, files::MAX_BYTES, cannot)?.ok_or_else(|| cannot(&"there is no such file"))
}

fn of_helper(helper: &str, authority: &str) -> Result<Credentials> {
    let cannot = || Error::failed(format!("{helper} gives no credentials for {authority}"));
    let program = exec::find(helper).ok_or_else(|| {
        cannot()
            .cause("there is no such program in the directories of the system")
            .next(format!("install it, or log in without it: podman login {authority}"))
    })?;
    let mut program = Program::new(program).arg("get").input_bytes(Zeroizing::new(authority.as_bytes().to_vec()));
    for name in ENVIRONMENT {
        if let Some(value) = env::var_os(name) {
            program = program.env(name, value);
        }
    }
    let ran = program.run_unread()?;
    if ran.status != Some(0) {
        // What it prints instead of credentials is a message.
        let said = [&ran.stdout, &ran.stderr].map(|text| neutral(String::from_utf8_lossy(text).trim()));
        return Err(cannot().cause(said.join(" ")).next(format!("podman login {authority}")));
    }
    Credentials::of_helper(&ran.stdout).map_err(|error| cannot().cause(error.message()))
}
