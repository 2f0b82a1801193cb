//! Programs of an appliance that a policy lets a procedure have run: what a policy says of one, and a journal keeps.

mod check;
mod copy;
mod fill;
mod output;
mod runner;
mod step;

pub use copy::{Overlay, inside};
pub use fill::Invocation;
pub use output::{Element, QueryAnswer, StateValue};
pub use runner::{Call, Code, Fault, Programs, Runner};
pub use step::{StateChange, Step, StepRollback};

pub use crate::machine::exec::RawOutput;
use crate::{machine::path::AbsolutePath, name::Name};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fmt, time::Duration};

/// The longest that a query may take: half of what a host call may.
const QUERY_SECONDS: u64 = 20;
/// The longest that a change may take: less than a stage of a run.
const CHANGE_SECONDS: u64 = 90;
/// How long either may take where the policy does not say.
const DEFAULT_SECONDS: u64 = 20;
/// The most bytes of an input where the policy does not say, and ever.
const INPUT_BYTES: usize = 4096;
const MOST_INPUT_BYTES: usize = 1 << 20;
/// The longest argument that Linux gives to a program, without the zero behind it (execve(2)).
const ARGUMENT_BYTES: usize = (128 << 10) - 1;

/// One `[action.NAME]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Whether it may change anything.
    pub kind: Kind,
    /// The program and its arguments.
    pub argv: Vec<Argument>,
    /// Whether the last of them is the program's standard input instead.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stdin: bool,
    /// What a procedure may give it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub input: BTreeMap<Name, Input>,
    /// The directories that a query works on copies of: by the way below `{scratch}`, those that are merged there by the
    /// names of their files, the last one counting.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scratch: BTreeMap<String, Vec<AbsolutePath>>,
    /// What of its output leaves the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// What counts as success.
    #[serde(default, skip_serializing_if = "Success::is_default")]
    pub ok: Success,
    /// How the host sees whether a change has happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// What undoes a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// The file that its program makes from what it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yields: Option<Yield>,
    /// Seconds that it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Whether nothing undoes a change.
    #[serde(default, skip_serializing_if = "is_false")]
    pub irreversible: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Whether an action may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It changes nothing, so it runs at once, in a plan, too.
    Query,
    /// It is queued, and runs after the files are in place.
    Change,
}

/// A file that an appliance makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Yield {
    /// sshd's main configuration file: the answer of a query is the file; what a change sets is a part of it.
    #[serde(rename = "{sshd-config}")]
    SshdConfig,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "an argument is a text, or { json = … }")]
pub enum Argument {
    /// As it stands, or all of it from a placeholder.
    Text(String),
    /// A JSON document, whose texts are those of a [`Argument::Text`].
    Json(Json),
}

/// `{ json = … }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// The document.
    pub json: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: InputType,
    /// The most bytes that it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputType {
    /// Lines of text.
    Text,
    Line,
    /// A whole number; in JSON a number.
    Integer,
    /// `true` or `false`; in JSON without quotes.
    Boolean,
}

/// The part of a query's output that a guest gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// These members of an object, or of each object of a list.
    Json(Vec<String>),
    Text(WholeText),
    /// The text in this file below `{scratch}`, where the program writes it.
    File(String),
}

/// `text = true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "bool", into = "bool")]
pub struct WholeText;

impl TryFrom<bool> for WholeText {
    type Error = &'static str;
    fn try_from(is_whole: bool) -> Result<Self, &'static str> {
        if is_whole { Ok(Self) } else { Err("`text` is true, or not there") }
    }
}

impl From<WholeText> for bool {
    fn from(_: WholeText) -> Self {
        true
    }
}

/// What counts as success.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Success {
    /// The exit status.
    #[serde(default)]
    pub status: i32,
    /// What it prints, white space around it aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
}

impl Success {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How the host sees whether a change has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The query that is asked.
    pub query: Name,
    /// The member of its answer that counts; none: the whole answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// What that is afterwards: a value, `"absent"` or `"present"`.
    pub becomes: Value,
}

/// What undoes a change: another change, with its inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    pub action: Name,
    /// What it is given.
    #[serde(flatten)]
    pub input: BTreeMap<Name, String>,
}

impl Action {
    /// How long it may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.unwrap_or(DEFAULT_SECONDS))
    }

    #[must_use]
    pub fn program(&self) -> &str {
        match self.argv.first() {
            Some(Argument::Text(text)) => text,
            Some(Argument::Json(_)) | None => "",
        }
    }

    /// Where below `{scratch}` it writes what leaves the host.
    fn output_file(&self) -> Option<&str> {
        match &self.output {
            Some(Output::File(name)) => Some(name),
            Some(Output::Json(_) | Output::Text(_)) | None => None,
        }
    }

    /// Whether a text of it names this binary.
    #[must_use]
    pub fn names_warded(&self) -> bool {
        self.argv.iter().any(|argument| match argument {
            Argument::Text(text) => text.contains(fill::WARDED),
            Argument::Json(Json { json }) => json.to_string().contains(fill::WARDED),
        })
    }
}

/// What it runs, for the operator who is to accept it: `runs /usr/bin/midclt call ssh.config; gives away options`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.irreversible {
            f.write_str("CANNOT BE UNDONE: ")?;
        }
        f.write_str("runs")?;
        for argument in &self.argv {
            match argument {
                Argument::Text(text) => write!(f, " {text}")?,
                Argument::Json(Json { json }) => write!(f, " {json}")?,
            }
        }
        if self.stdin {
            f.write_str(" (the last on its standard input)")?;
        }
        match &self.output {
            Some(Output::Json(members)) => write!(f, "; the procedure gets of it: {}", members.join(", "))?,
            Some(Output::Text(_)) => f.write_str("; the procedure gets all that it prints")?,
            Some(Output::File(name)) => write!(f, "; the procedure gets what it writes to {{scratch}}/{name}")?,
            None => {}
        }
        for (below, directories) in &self.scratch {
            let directories: Vec<String> = directories.iter().map(ToString::to_string).collect();
            write!(f, "; {{scratch}}/{below} is a copy of {}", directories.join(", then "))?;
        }
        match &self.undo {
            Some(undo) => write!(f, "; undone by {}", undo.action),
            None => Ok(()),
        }
    }
}
