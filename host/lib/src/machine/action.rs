//! Programs of an appliance that a policy allows a procedure to run: their description in a policy, which a journal
//! stores, too.

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

/// The longest time limit of a query: half of that of a host call.
const QUERY_SECONDS: u64 = 20;
/// The longest time limit of a change: less than a stage of a run.
const CHANGE_SECONDS: u64 = 90;
/// The time limit of either where the policy sets none.
const DEFAULT_SECONDS: u64 = 20;
/// The most bytes of an input where the policy sets no limit, and the highest limit that it can set.
const INPUT_BYTES: usize = 4096;
const MOST_INPUT_BYTES: usize = 1 << 20;
/// The longest argument that Linux passes to a program, without the final NUL (execve(2)).
const ARGUMENT_BYTES: usize = (128 << 10) - 1;

/// One `[action.NAME]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Whether it may change anything.
    pub kind: Kind,
    /// The program and its arguments.
    pub argv: Vec<Argument>,
    /// Whether the last element of `argv` is the program's standard input instead of an argument.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stdin: bool,
    /// The inputs that a procedure may give it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub input: BTreeMap<Name, Input>,
    /// The directories whose copies a query works on. The key is a path below `{scratch}`; the directories are merged
    /// there by file name, and for equal names the last directory counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scratch: BTreeMap<String, Vec<AbsolutePath>>,
    /// The part of its output that leaves the host.
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
    /// The file that an appliance makes from the inputs of this action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yields: Option<Yield>,
    /// The time limit in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Whether the change cannot be undone.
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
    /// It changes nothing, so it runs at once, even in a plan.
    Query,
    /// It is queued, and runs after the files are in place.
    Change,
}

/// A file that an appliance makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Yield {
    /// sshd's main configuration file. The answer of a query is the whole file; the value that a change sets is a part
    /// of it.
    #[serde(rename = "{sshd-config}")]
    SshdConfig,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "an argument is a text, or { json = … }")]
pub enum Argument {
    /// A literal text, or a placeholder that stands for the whole text.
    Text(String),
    /// A JSON document; each string in it is like an [`Argument::Text`].
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
    /// These members of the object, or of each object of a list.
    Json(Vec<String>),
    Text(WholeText),
    /// The text of this file below `{scratch}`, which the program writes.
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
    /// The required standard output, compared without surrounding white space.
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
    /// The query that shows the state.
    pub query: Name,
    /// The member of its answer that is the state; none: the whole answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The state after the change: a value, `"absent"` or `"present"`.
    pub becomes: Value,
}

/// What undoes a change: another change, with its inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    pub action: Name,
    /// The inputs of that change.
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

    /// The file below `{scratch}` to which it writes the answer that leaves the host.
    fn output_file(&self) -> Option<&str> {
        match &self.output {
            Some(Output::File(name)) => Some(name),
            Some(Output::Json(_) | Output::Text(_)) | None => None,
        }
    }

    /// Whether one of its texts names this binary.
    #[must_use]
    pub fn names_warded(&self) -> bool {
        self.argv.iter().any(|argument| match argument {
            Argument::Text(text) => text.contains(fill::WARDED),
            Argument::Json(Json { json }) => json.to_string().contains(fill::WARDED),
        })
    }
}

/// What the action runs, for the operator who has to accept it, such as
/// `runs /usr/bin/midclt call ssh.config; the procedure gets of it: options`.
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
