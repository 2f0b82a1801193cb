//! A scenario file: a machine, what is run on it, and the expected result.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use warded_lib::{
    change_set::staged::DEFAULT_MODE,
    error::{Error, Result},
    machine::{facts::Init, path::AbsolutePath},
    name::Name,
    policy::setting::Setting,
    text::neutral,
};

/// The file. `docs/TESTING-A-POLICY.md` describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// What the scenario shows, in one line.
    pub summary: String,
    /// The procedure to run.
    pub procedure: Name,
    #[serde(default)]
    pub settings: BTreeMap<Name, Values>,
    /// Whether every certificate counts as due.
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub machine: Machine,
    /// The expected result; what is not named is expected to be empty.
    #[serde(default)]
    pub expect: Outcome,
}

/// One value of a setting, or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Values {
    One(String),
    Many(Vec<String>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Machine {
    /// Fact `os.id`.
    pub os: String,
    /// Fact `os.version`.
    pub version: String,
    /// Fact `init`.
    pub init: Init,
    /// Fact `hostname`.
    pub hostname: String,
    /// The home directory of the user who runs the procedure; `/root` by default.
    pub home: Option<AbsolutePath>,
    /// sshd's main configuration file; `/etc/ssh/sshd_config` by default.
    pub sshd_config: Option<AbsolutePath>,
    /// Text files, by their paths; missing parent directories are created.
    pub files: BTreeMap<AbsolutePath, String>,
    /// Symbolic links, with their targets.
    pub links: BTreeMap<AbsolutePath, String>,
    /// Empty directories.
    pub directories: Vec<AbsolutePath>,
    /// The modes of files, keys and directories that do not have the usual one.
    pub modes: BTreeMap<AbsolutePath, Mode>,
    /// Private keys, by path, with their types; each has its public half beside it.
    pub keys: BTreeMap<AbsolutePath, String>,
    /// Certificates of the CA beside some of these keys, for these names.
    pub certificates: BTreeMap<AbsolutePath, Vec<String>>,
    /// The machine's sshd; `None` if there is none.
    pub sshd: Option<Sshd>,
    /// What queries of the policy's actions print, by the actions' names, before any change.
    pub queries: BTreeMap<Name, String>,
    /// Programs that fail: a query gives no answer, a change does nothing.
    pub failing: BTreeMap<Name, ProgramFailure>,
    /// What starts programs by the clock; `None` if that is not known, and nothing can be scheduled.
    pub scheduler: Option<Scheduler>,
    /// Whether there is a CA, or how it behaves.
    pub ca: Ca,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            os: "debian".to_owned(),
            version: "13".to_owned(),
            init: Init::Systemd,
            hostname: "web1".to_owned(),
            home: None,
            sshd_config: None,
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            directories: Vec::new(),
            modes: BTreeMap::new(),
            keys: BTreeMap::new(),
            certificates: BTreeMap::new(),
            sshd: None,
            queries: BTreeMap::new(),
            failing: BTreeMap::new(),
            scheduler: None,
            ca: Ca::IsThere(true),
        }
    }
}

/// The CA of the scenario.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "`ca` is true, false, \"refuses\" or \"away\"")]
pub enum Ca {
    /// Whether there is a CA; if so, it issues what it is asked for.
    IsThere(bool),
    Behaves(CaBehaviour),
}

/// Why a CA issues no certificate.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaBehaviour {
    /// It answers, and refuses every certificate.
    Refuses,
    /// It does not answer.
    Away,
}

/// How a program of the scenario fails.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a program fails by \"hangs\", { fails = \"WORDS\" } or { status = NUMBER, says = \"WORDS\" }"
)]
pub enum ProgramFailure {
    /// It does not end.
    Hangs(Hangs),
    /// It ends with status 1, and prints this.
    Fails { fails: String },
    /// It ends with this status, and prints this.
    Ends {
        status: i32,
        #[serde(default)]
        says: String,
    },
}

/// The word that a scenario uses for it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hangs {
    Hangs,
}

/// What starts programs by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheduler {
    Systemd,
    /// A cron daemon that reads `/etc/cron.d`.
    #[serde(rename = "cron.d")]
    CronD,
    /// BusyBox's crond, whose table runs the scripts of `/etc/periodic/hourly`.
    Periodic,
    /// Nothing does.
    None,
}

/// The answers of the scenario's sshd.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sshd {
    /// Its version, such as `10.0p1`.
    pub version: String,
    /// What `sshd -T` prints outside of every `Match`: keywords with their values.
    #[serde(default)]
    pub effective: BTreeMap<String, Vec<String>>,
    /// The private host keys that it has loaded.
    #[serde(default)]
    pub host_keys: Vec<AbsolutePath>,
}

/// The result of a run, or the expected one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outcome {
    /// The exit code of the command.
    pub exit: u8,
    /// Why the run did not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What that error says to do next.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
    /// The messages to the operator who applies it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
    /// Programs that run and services that are reloaded, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queue: Vec<String>,
    /// Files that were removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// The output of the queries that changed, by the names of their actions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub documents: BTreeMap<String, String>,
    /// New certificates, with the names in them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, Vec<String>>,
    /// The modes of files whose mode changed, and of new files whose mode is not 0644.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub modes: BTreeMap<String, Mode>,
    /// Text files that are new or changed, with their complete text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// Permission bits: `"0640"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

impl Mode {
    /// The mode of a new file if the run names no other.
    pub(super) const OF_NEW: Self = Self(DEFAULT_MODE);

    /// The permission bits of the mode that `stat` returns.
    pub(super) fn of(mode: u32) -> Self {
        Self(mode & 0o7777)
    }

    pub(super) fn bits(self) -> u32 {
        self.0
    }
}

impl TryFrom<String> for Mode {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix('0').filter(|digits| digits.len() == 3);
        let bits = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok());
        bits.map(Self).ok_or_else(|| {
            format!("a mode is four octal digits, the first of them 0, such as \"0640\", and not {text:?}")
        })
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:04o}", mode.0)
    }
}

impl Scenario {
    /// Parses a scenario.
    ///
    /// # Errors
    /// The text is not valid; the error says where, and why.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let (line, column) = (
                before.matches('\n').count() + 1,
                before.rsplit('\n').next().map_or(1, |rest| rest.chars().count() + 1),
            );
            Error::usage(format!("{origin}:{line}:{column}: {}", neutral(error.message())))
                .next("docs/TESTING-A-POLICY.md describes every key of a scenario")
        })
    }

    /// The settings, in the order of their names.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let values = |values: &Values| match values {
            Values::One(value) => vec![value.clone()],
            Values::Many(values) => values.clone(),
        };
        let each = self
            .settings
            .iter()
            .flat_map(|(name, given)| values(given).into_iter().map(|value| Setting { name: name.clone(), value }));
        each.collect()
    }
}
