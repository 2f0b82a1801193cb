//! Credentials for registries, as podman and docker keep them for the user who runs this.

use crate::cli::output::Output;
use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};
use warded_artifact::read;
use warded_lib::{
    config,
    error::{Error, Exit, Result},
    machine::{
        exec::{self, Program},
        files,
    },
    registry::{Reference, credentials::Credentials},
    text::{neutral, neutral_path},
};
use zeroize::Zeroizing;

/// The environment variables with which a helper reaches the credential store of the user who runs it.
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

/// What a helper prints if it has no credentials for a registry (docker-credential-helpers, `credentials/error.go`).
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The credentials for a repository, if the user has some. A helper is run only if a person is waiting.
pub(super) fn credentials(reference: &Reference, is_person: bool, output: Output) -> Result<Option<Credentials>> {
    let named = env::var_os("REGISTRY_AUTH_FILE").map(PathBuf::from);
    let is_named = named.is_some();
    let usual = || usual(|name| env::var_os(name), rustix::process::geteuid().as_raw());
    let all = named.map_or_else(usual, |named| vec![named]);
    let Reference { authority, name, .. } = reference;
    for file in all.into_iter().filter(|file| is_named || file.exists()) {
        let bytes = match contents(&file) {
            Ok(bytes) => Zeroizing::new(bytes),
            // The home or runtime directory of another user, as with `sudo -E`.
            Err(error) if !is_named && error.exit() == Exit::Refused => {
                output.note(format!("{}: it is not used for credentials", error.message()));
                continue;
            }
            Err(error) => return Err(error),
        };
        let seen = |error: Error| error.seen(neutral_path(&file));
        let found = Credentials::find(&bytes, authority, name).map_err(seen)?;
        if found.is_some() {
            return Ok(found);
        }
        let helper = Credentials::helper(&bytes, authority).map_err(seen)?;
        if let Some(helper) = helper.filter(|_| is_person)
            && let Some(found) = of_helper(&helper, authority, output)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The files in which podman (containers-auth.json(5)) and docker keep credentials.
fn usual(variable: impl Fn(&str) -> Option<OsString>, user: u32) -> Vec<PathBuf> {
    let within = |name: &str, rest: &str| variable(name).map(|directory| Path::new(&directory).join(rest));
    let all = [
        within("XDG_RUNTIME_DIR", "containers/auth.json"),
        Some(PathBuf::from(format!("/run/containers/{user}/auth.json"))),
        within("HOME", ".config/containers/auth.json"),
        within("DOCKER_CONFIG", "config.json"),
        within("HOME", ".docker/config.json"),
    ];
    all.into_iter().flatten().collect()
}

/// Root uses only a file that nobody else can have written.
fn contents(file: &Path) -> Result<Vec<u8>> {
    if !config::is_root() {
        return read::any(file, files::MAX_BYTES);
    }
    let cannot = |why: &dyn std::fmt::Display| Error::failed(format!("cannot read {}", neutral_path(file))).cause(why);
    files::read_ours(file, files::MAX_BYTES, cannot)?.ok_or_else(|| cannot(&"there is no such file"))
}

fn of_helper(helper: &str, authority: &str, output: Output) -> Result<Option<Credentials>> {
    let cannot = || Error::failed(format!("{helper} gives no credentials for {authority}"));
    let Some(program) = exec::find(helper) else {
        output.note(format!("{authority} is asked without credentials of {helper}: no such program is installed"));
        return Ok(None);
    };
    let mut program = Program::new(program).arg("get").input_bytes(Zeroizing::new(authority.as_bytes().to_vec()));
    for name in ENVIRONMENT {
        if let Some(value) = env::var_os(name) {
            program = program.env(name, value);
        }
    }
    let ran = program.run_unread()?;
    if ran.status != Some(0) {
        // If it prints no credentials, its output is a message.
        let said = [&ran.stdout, &ran.stderr].map(|text| neutral(String::from_utf8_lossy(text).trim()));
        if said.iter().any(|said| said == NOT_FOUND) {
            return Ok(None);
        }
        return Err(cannot().cause(said.join(" ")).next(format!("podman login {authority}")));
    }
    Credentials::of_helper(&ran.stdout).map(Some).map_err(|error| cannot().cause(error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podmans_and_dockers_files_are_looked_at() {
        for (set, files) in [
            (&[][..], &["/run/containers/1000/auth.json"][..]),
            (
                &[("HOME", "/home/a")],
                &[
                    "/run/containers/1000/auth.json",
                    "/home/a/.config/containers/auth.json",
                    "/home/a/.docker/config.json",
                ],
            ),
            (
                &[("XDG_RUNTIME_DIR", "/run/user/1000"), ("DOCKER_CONFIG", "/d")],
                &["/run/user/1000/containers/auth.json", "/run/containers/1000/auth.json", "/d/config.json"],
            ),
        ] {
            let variable = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).into());
            assert_eq!(usual(variable, 1000), files.iter().map(PathBuf::from).collect::<Vec<_>>());
        }
    }
}
