//! Warded's own configuration file, and the default places of its files.

pub mod edit;

use crate::{
    ca::step,
    error::{Error, Result},
    machine::{files, path::AbsolutePath},
    name::Name,
};
use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
};
use ssh_key::Fingerprint;
use std::{
    collections::BTreeMap,
    env,
    fmt::{self, Display},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

/// The contents of the file. Every key can be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The directory of a local CA (`warded ca init`).
    pub ca: Option<AbsolutePath>,
    /// A step-ca (`warded bootstrap`), instead of a local CA.
    pub step_ca: Option<step::Settings>,
    /// Further step-cas, each by a name, for people who log in with several (`--ca NAME`).
    #[serde(default)]
    pub named_ca: BTreeMap<Name, step::Settings>,
    /// sshd's main configuration file.
    pub sshd_config: Option<AbsolutePath>,
    pub sshd: Option<AbsolutePath>,
    /// The directory with the administrator's policies.
    pub policies: Option<AbsolutePath>,
    /// The directory in which packages put the components that they offer.
    pub offered_policies: Option<AbsolutePath>,
    /// The directory for state, journal and audit log.
    pub state: Option<AbsolutePath>,
    /// Percent of a certificate's life after which it is renewed: 10 to 70. With a later renewal the certificate could
    /// expire first.
    #[serde(default, deserialize_with = "renew_after")]
    pub renew_after: Option<u8>,
    /// Hours between two runs of `warded renew`: 1 to 168.
    #[serde(default, deserialize_with = "renew_every")]
    pub renew_every: Option<u8>,
    /// The fingerprints (`SHA256:…`) of the CA's keys for host certificates that clients know.
    #[serde(default)]
    pub known_ca_keys: Vec<String>,
}

impl Config {
    /// Reads the file at `path`, or the default file, which may be missing.
    ///
    /// # Errors
    /// The file cannot be read, another user could have written it, or it is not valid; the error names line and
    /// column.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let file = path.map_or_else(default_file, Path::to_owned);
        // Nobody can store anything in /dev/null, so it may stand for an empty configuration.
        if file == Path::new("/dev/null") {
            return Ok(Self::default());
        }
        let unreadable =
            |why: &dyn Display| Error::usage(format!("cannot read the configuration {}", file.display())).cause(why);
        match files::read_ours(&file, files::MAX_BYTES, unreadable)? {
            Some(bytes) => Self::parse(str::from_utf8(&bytes).map_err(|error| unreadable(&error))?, &file),
            None if file.is_symlink() => {
                Err(unreadable(&"it is a link to a file that is not there")
                    .next("put the file there, or remove the link"))
            }
            None if path.is_none() => Ok(Self::default()),
            None => Err(unreadable(&"there is no such file")
                .next("make it, or name another one with --config FILE or WARDED_CONFIG")),
        }
    }

    /// The directory in which packages offer components. Nothing is run from there.
    #[must_use]
    pub fn offered(&self) -> PathBuf {
        let configured = self.offered_policies.as_ref().map(|path| path.as_path().to_owned());
        configured.unwrap_or_else(|| PathBuf::from("/usr/share/warded/policies"))
    }

    fn parse(text: &str, file: &Path) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let before = text.get(..offset).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            Error::usage(format!("{}:{line}:{column}: {}", file.display(), crate::text::neutral(error.message())))
                .next("docs/USAGE.md describes the configuration")
        })?;
        if let Some(wrong) = config.known_ca_keys.iter().find(|print| !is_fingerprint(print)) {
            let wrong = crate::text::neutral(wrong);
            return Err(Error::usage(format!("{}: known-ca-keys: {wrong} is not a key's fingerprint", file.display()))
                .next("write each as `ssh-keygen -l` prints it: SHA256:…"));
        }
        if config.ca.is_some() && config.step_ca.is_some() {
            return Err(Error::usage(format!("{}: there are two CAs, `ca` and [step-ca]", file.display()))
                .next("take one of them out"));
        }
        Ok(config)
    }
}

fn renew_after<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u8>, D::Error> {
    value.deserialize_any(Whole { range: 10..=70, what: "a whole percentage" }).map(Some)
}

fn renew_every<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u8>, D::Error> {
    value.deserialize_any(Whole { range: 1..=168, what: "a whole number of hours" }).map(Some)
}

/// Deserializes a whole number within bounds; the error names the bounds.
struct Whole {
    range: RangeInclusive<u8>,
    what: &'static str,
}

impl Visitor<'_> for Whole {
    type Value = u8;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} to {}", self.what, self.range.start(), self.range.end())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<u8, E> {
        let within = u8::try_from(number).ok().filter(|number| self.range.contains(number));
        within.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }
}

fn is_fingerprint(text: &str) -> bool {
    text.parse().is_ok_and(|print| matches!(print, Fingerprint::Sha256(_)))
}

/// Whether this process runs as root, and so may change the system's files.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `/etc/warded/config.toml` for root, below `$XDG_CONFIG_HOME` for a user.
#[must_use]
pub fn default_file() -> PathBuf {
    default_directory().join("config.toml")
}

/// The directory of the configuration file and the policies, by default.
#[must_use]
pub fn default_directory() -> PathBuf {
    if is_root() { PathBuf::from("/etc/warded") } else { xdg("XDG_CONFIG_HOME", ".config") }
}

/// `/var/lib/warded` for root, below `$XDG_STATE_HOME` for a user.
#[must_use]
pub fn default_state() -> PathBuf {
    if is_root() { PathBuf::from("/var/lib/warded") } else { xdg("XDG_STATE_HOME", ".local/state") }
}

/// A directory of the XDG Base Directory Specification, according to which relative values are ignored.
fn xdg(variable: &str, otherwise: &str) -> PathBuf {
    let set = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    set.unwrap_or_else(|| home().join(otherwise)).join("warded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_a_place() {
        for (text, place) in [
            ("ca = 'x'", "c.toml:1:6"),
            ("\ncolour = 1", "c.toml:2:1"),
            ("renew-after = 300", "c.toml:1:15"),
            ("renew-after = 99", "c.toml:1:15: invalid value: integer `99`, expected a whole percentage from 10 to 70"),
            ("renew-after = 9", "c.toml:1:15: invalid value: integer `9`, expected a whole percentage from 10 to 70"),
            ("renew-after = -1", "c.toml:1:15: "),
            (
                "renew-after = \"50\"",
                "c.toml:1:15: invalid type: string \"50\", expected a whole percentage from 10 to 70",
            ),
            ("renew-every = 0", "c.toml:1:15: "),
            ("renew-every = 169", "c.toml:1:15: "),
            ("renew-every = 1.5", "c.toml:1:15: invalid type: floating point `1.5`, expected a whole number of hours"),
            ("known-ca-keys = ['SHA256:short']", "c.toml: "),
            ("known-ca-keys = 'SHA256:short'", "c.toml:1:17"),
            ("[named-ca.work]\ncolour = 1", "c.toml:2:1"),
            ("[named-ca.'../x']", "c.toml:1:"),
        ] {
            let error = Config::parse(text, Path::new("c.toml")).unwrap_err();
            assert!(error.message().starts_with(place), "{text}: {error}");
        }
        let scratch = tempfile::tempdir().unwrap();
        let link = scratch.path().join("config.toml");
        std::os::unix::fs::symlink("/nonexistent/config.toml", &link).unwrap();
        let error = Config::load(Some(&link)).unwrap_err().to_string();
        assert!(error.contains("a link to a file that is not there") && error.contains("next: "), "{error}");
        assert_eq!(Config::parse("renew-after = 60\nca = '/ca'", Path::new("c")).unwrap().renew_after, Some(60));
    }
}
