//! Reads the configuration of the `step` program (`$STEPPATH`, or else `~/.step`), including contexts. Changes nothing
//! there.
//!
//! Source: smallstep/cli-utils `step/config.go`, `step/context.go`.

use super::settings::Settings;
use crate::{
    error::{Error, Result},
    machine::files,
    text::neutral,
};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
};

/// `config/defaults.json`: each key is the default for the flag of that name; unknown keys are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Defaults {
    ca_url: Option<String>,
    fingerprint: Option<String>,
    root: Option<PathBuf>,
    provisioner: Option<String>,
}

#[derive(Deserialize)]
struct Current {
    context: String,
}

#[derive(Deserialize)]
struct Context {
    authority: String,
    profile: String,
}

/// The directory of `step` for this user.
#[must_use]
pub fn directory() -> Option<PathBuf> {
    let named = env::var_os("STEPPATH").map(PathBuf::from);
    // A system service has no HOME.
    let home = env::var_os("HOME").or_else(|| rustix::process::geteuid().is_root().then(|| "/root".into()));
    let home = || home.map(|home| PathBuf::from(home).join(".step"));
    named.or_else(home).filter(|path| path.is_absolute())
}

/// The CA that `step` is configured for; `None` if there is none.
///
/// # Errors
/// There is a configuration, but it cannot be read, or other users can write it.
pub fn read(directory: &Path) -> Result<Option<Settings>> {
    let (authority, profile) = match json::<Current>(&directory.join("current-context.json"))? {
        None => (directory.to_owned(), directory.to_owned()),
        Some(Current { context: name }) => {
            let mut contexts: BTreeMap<String, Context> = json(&directory.join("contexts.json"))?.unwrap_or_default();
            let Some(context) = contexts.remove(&name) else {
                return Err(Error::usage(format!("cannot use the set-up of step in {}", directory.display()))
                    .cause(format!("its current context {:?} is not in contexts.json", neutral(&name)))
                    .next("step context select NAME, or warded bootstrap --ca-url … --fingerprint …"));
            };
            // Only a plain name, which cannot lead out of the directory.
            let one = |name: &str| Path::new(name).components().count() == 1 && !matches!(name, "." | "..");
            if !one(&context.authority) || !one(&context.profile) {
                return Err(Error::usage(format!("cannot use the set-up of step in {}", directory.display()))
                    .cause("an authority or a profile in contexts.json is not a plain name"));
            }
            (directory.join("authorities").join(context.authority), directory.join("profiles").join(context.profile))
        }
    };
    let file = "config/defaults.json";
    let below: Defaults = json(&authority.join(file))?.unwrap_or_default();
    let above: Defaults =
        if profile == authority { Defaults::default() } else { json(&profile.join(file))?.unwrap_or_default() };
    let url = above.ca_url.or(below.ca_url);
    let fingerprint = above.fingerprint.or(below.fingerprint);
    let (Some(url), Some(fingerprint)) = (url, fingerprint) else { return Ok(None) };
    let root = above.root.or(below.root).unwrap_or_else(|| authority.join("certs/root_ca.crt"));
    let wrong = |why: String| {
        Error::usage(format!("cannot use the set-up of step in {}", authority.display()))
            .cause(why)
            .next("warded bootstrap --ca-url … --fingerprint … makes one for Warded")
    };
    let mut settings = Settings::new(
        url.parse().map_err(wrong)?,
        fingerprint.parse().map_err(wrong)?,
        root.as_path().try_into().map_err(wrong)?,
    );
    settings.provisioner = above.provisioner.or(below.provisioner);
    Ok(Some(settings))
}

fn json<T: DeserializeOwned>(file: &Path) -> Result<Option<T>> {
    let failed = |why: String| {
        Error::usage(format!("cannot read {} of step", file.display()))
            .cause(why)
            .next("warded bootstrap --ca-url … --fingerprint … makes a set-up of Warded's own")
    };
    let Some(bytes) = files::read_ours(file, files::MAX_BYTES, |why| failed(why.to_string()))? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(neutral(&error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn put(directory: &Path, file: &str, contents: &str) {
        let file = directory.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, contents).unwrap();
    }

    #[test]
    fn what_step_wrote_is_used_as_it_is() {
        let scratch = tempfile::tempdir().unwrap();
        let here = scratch.path().canonicalize().unwrap();
        assert_eq!(read(&here).unwrap(), None);
        let fingerprint = "ab".repeat(32);
        let defaults = |url: &str| {
            format!("{{\"ca-url\": \"{url}\", \"fingerprint\": \"{fingerprint}\", \"min-password-length\": 8}}")
        };
        put(&here, "config/defaults.json", &defaults("https://one.example"));
        let found = read(&here).unwrap().unwrap();
        assert_eq!(found.url.to_string(), "https://one.example");
        assert_eq!(found.root.as_path(), here.join("certs/root_ca.crt"));

        put(&here, "current-context.json", r#"{"context": "work"}"#);
        assert!(read(&here).unwrap_err().to_string().contains("\"work\" is not in contexts.json"));
        put(&here, "contexts.json", r#"{"work": {"authority": "a", "profile": "p"}}"#);
        put(&here, "authorities/a/config/defaults.json", &defaults("two.example:9000"));
        put(&here, "profiles/p/config/defaults.json", r#"{"provisioner": "me", "root": "/srv/root.crt"}"#);
        let found = read(&here).unwrap().unwrap();
        assert_eq!(found.url.to_string(), "https://two.example:9000");
        assert_eq!((found.root.as_str(), found.provisioner.as_deref()), ("/srv/root.crt", Some("me")));

        put(&here, "contexts.json", r#"{"work": {"authority": "../a", "profile": "p"}}"#);
        assert!(read(&here).unwrap_err().to_string().contains("plain name"));
        put(&here, "contexts.json", "{");
        assert!(read(&here).unwrap_err().to_string().contains("contexts.json of step"));
    }
}
