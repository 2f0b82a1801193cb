//! An action with its inputs: its placeholders are filled in, and the host does the quoting.

use super::{ARGUMENT_BYTES, Action, Argument, Call, Element, Fault, INPUT_BYTES, InputType, Json, Kind, StateValue};
use crate::{digest::Digest, name::Name, text::count};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The placeholder for this binary. Unlike the others it may be part of a text, since a guest never chooses its value.
pub(super) const WARDED: &str = "{warded}";
/// The placeholder for the copies that a query works on; it may be part of a text, too.
pub(super) const SCRATCH: &str = "{scratch}";

/// A text of an action, parsed: literal, or a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A literal text; [`WARDED`] and [`SCRATCH`] in it are replaced.
    Literal(&'a str),
    Input(Name),
    /// `{state.MEMBER}`: a member of the one object that the state query shows.
    State(String),
    /// `{before}` or `{before.MEMBER}`: the state before the change.
    Before(Option<String>),
}

impl<'a> Piece<'a> {
    pub(super) fn of(text: &'a str) -> Result<Self, String> {
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match inner.filter(|inner| !["warded", "scratch"].contains(inner) && !inner.contains(['{', '}'])) {
            Some("before") => Ok(Self::Before(None)),
            Some(inner) => match inner.split_once('.') {
                Some(("state", member)) if !member.is_empty() => Ok(Self::State(member.to_owned())),
                Some(("before", member)) if !member.is_empty() => Ok(Self::Before(Some(member.to_owned()))),
                Some(_) => Err(format!("{text} is no placeholder")),
                None => inner.parse().map(Self::Input),
            },
            None if text.replace(WARDED, "").replace(SCRATCH, "").contains(['{', '}']) => {
                Err(format!("{text:?}: a placeholder fills a whole text, and other braces have no meaning"))
            }
            None => Ok(Self::Literal(text)),
        }
    }
}

/// The texts of an argument that may be placeholders.
pub(super) fn texts(argument: &Argument) -> Vec<&str> {
    fn of<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::String(text) => found.push(text),
            Value::Array(values) => values.iter().for_each(|value| of(value, found)),
            Value::Object(members) => members.values().for_each(|value| of(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut found = Vec::new();
    match argument {
        Argument::Text(text) => found.push(text.as_str()),
        Argument::Json(Json { json }) => of(json, &mut found),
    }
    found
}

/// An action with its inputs: everything needed to run it, even if the policy has changed since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invocation {
    /// Its name in the policy.
    pub name: Name,
    /// Its description in the policy.
    pub action: Action,
    /// Its inputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub input: BTreeMap<Name, String>,
    /// The path of this binary with its options, quoted for a shell.
    pub warded: String,
}

impl Invocation {
    /// Checks the given inputs against those that the action takes.
    ///
    /// # Errors
    /// `invalid-input`: says what is wrong.
    pub fn new<'a>(
        name: &Name,
        action: &Action,
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
        warded: &str,
    ) -> Result<Self, Fault> {
        let invalid = |what: &str, why: &str| Fault::invalid(format!("input {what} of {name}: {why}"));
        let mut input = BTreeMap::new();
        for (given, value) in given {
            let Some((declared, kind)) = action.input.iter().find(|(declared, _)| declared.as_str() == given) else {
                return Err(Fault::invalid(format!("{name} has no such input")));
            };
            kind.check(value).map_err(|why| invalid(given, &why))?;
            if input.insert(declared.clone(), value.to_owned()).is_some() {
                return Err(invalid(given, "it is given twice"));
            }
        }
        if let Some(missing) = action.input.keys().find(|declared| !input.contains_key(*declared)) {
            return Err(invalid(missing.as_str(), "it is missing"));
        }
        Ok(Self { name: name.clone(), action: action.clone(), input, warded: warded.to_owned() })
    }

    /// Whether both run the same action with the same inputs, wherever this binary was at the time.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.name, &self.action, &self.input) == (&other.name, &other.action, &other.input)
    }

    /// The program with its arguments. `state`: the object that the state query shows, if a placeholder needs it.
    ///
    /// # Errors
    /// `invalid-input`: an argument that cannot be passed to a program, or that the program would take for an option.
    pub fn call(&self, state: Option<&Element>) -> Result<Call, Fault> {
        let mut argv = Vec::new();
        for (index, argument) in self.action.argv.iter().enumerate() {
            let is_input = self.action.stdin && index + 1 == self.action.argv.len();
            let (word, is_own) = match argument {
                Argument::Text(text) => {
                    (plain(&self.value(text, state)?), matches!(Piece::of(text), Ok(Piece::Literal(_))))
                }
                Argument::Json(Json { json }) => (self.document(json, state)?.to_string(), false),
            };
            // A value that the policy does not contain itself must not be an option.
            if !is_own && !is_input && (word.is_empty() || word.starts_with('-') || word.contains(char::is_control)) {
                return Err(Fault::invalid(format!("argument {index} of {} would be no plain one", self.name)));
            }
            argv.push(word);
        }
        let stdin = if self.action.stdin { argv.pop().map(|last| Zeroizing::new(last.into_bytes())) } else { None };
        if let Some(long) = argv.iter().find(|argument| argument.len() > ARGUMENT_BYTES) {
            return Err(Fault::invalid(format!(
                "an argument of {} would have {} bytes, and no program can be given more than {ARGUMENT_BYTES}",
                self.name,
                long.len()
            )));
        }
        let (name, timeout, is_change) = (self.name.clone(), self.action.timeout(), self.action.kind == Kind::Change);
        Ok(Call { name, argv, stdin, file: None, timeout, is_change })
    }

    /// Whether it uses a member of the state at the time when it runs.
    pub(super) fn needs_state(&self) -> bool {
        let is_of_state = |text: &str| matches!(Piece::of(text), Ok(Piece::State(_)));
        self.action.argv.iter().flat_map(texts).any(is_of_state)
    }

    /// The value of a text after an input or a state has been filled in.
    fn value(&self, text: &str, state: Option<&Element>) -> Result<Value, Fault> {
        match Piece::of(text).map_err(Fault::invalid)? {
            Piece::Literal(text) => Ok(Value::String(text.replace(WARDED, &self.warded))),
            Piece::Input(name) => {
                let (Some(value), Some(kind)) = (self.input.get(&name), self.action.input.get(&name)) else {
                    return Err(Fault::invalid(format!("input {name} of {} is missing", self.name)));
                };
                Ok(kind.kind.value(value))
            }
            Piece::State(member) => {
                let value = state.and_then(|state| state.get(&member));
                value.cloned().ok_or_else(|| Fault::unexpected(format!("{}: there is no {member}", self.name)))
            }
            Piece::Before(_) => Err(Fault::invalid(format!("{text} has no meaning here"))),
        }
    }

    fn document(&self, template: &Value, state: Option<&Element>) -> Result<Value, Fault> {
        Ok(match template {
            Value::String(text) => self.value(text, state)?,
            Value::Array(values) => {
                Value::Array(values.iter().map(|value| self.document(value, state)).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let filled = members.iter().map(|(name, value)| Ok((name.clone(), self.document(value, state)?)));
                Value::Object(filled.collect::<Result<_, Fault>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
        })
    }

    /// The state after this has run.
    ///
    /// # Errors
    /// `invalid-input`.
    pub fn becomes(&self, becomes: &Value) -> Result<StateValue, Fault> {
        Ok(match becomes.as_str() {
            Some("absent") => StateValue::Absent,
            Some("present") => StateValue::Present,
            Some(_) | None => StateValue::Value(self.document(becomes, None)?),
        })
    }

    /// The change that undoes this one, given the state before it.
    ///
    /// # Errors
    /// The state before has no value to pass to that change, or one that the change does not accept.
    pub(super) fn undo(&self, back: &Action, before: (&StateValue, Option<&Element>)) -> Result<Option<Self>, Fault> {
        let Some(undo) = &self.action.undo else { return Ok(None) };
        let (observed, element) = before;
        let none = || Fault::unexpected(format!("{} cannot be undone: the state before has no value", self.name));
        let mut given = Vec::new();
        for (name, text) in &undo.input {
            let value = match Piece::of(text).map_err(Fault::invalid)? {
                Piece::Before(None) => match observed {
                    StateValue::Value(value) => plain(value),
                    StateValue::Absent | StateValue::Present => return Err(none()),
                },
                Piece::Before(Some(member)) => plain(element.and_then(|one| one.get(&member)).ok_or_else(none)?),
                Piece::Literal(text) => text.to_owned(),
                Piece::Input(_) | Piece::State(_) => return Err(none()),
            };
            given.push((name.as_str(), value));
        }
        let given = given.iter().map(|(name, value)| (*name, value.as_str()));
        let filled = Self::new(&undo.action, back, given, &self.warded)?;
        Ok(Some(filled))
    }

    /// The inputs for the record: the length and digest of each.
    #[must_use]
    pub fn digests(&self) -> String {
        let one = |(name, value): (&Name, &String)| {
            format!("{name}: {}, {}", count(value.len(), "byte"), Digest::of(value.as_bytes()))
        };
        self.input.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

/// A value as the text of an input.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl super::Input {
    fn check(&self, value: &str) -> Result<(), String> {
        let most = self.max.unwrap_or(INPUT_BYTES);
        if value.len() > most {
            return Err(format!("it has {}, and may have {most}", count(value.len(), "byte")));
        }
        let is_hidden = |character: char| character.is_control() && !matches!(character, '\n' | '\t' | '\r');
        match self.kind {
            InputType::Text if value.contains(is_hidden) => Err("it has a control character".to_owned()),
            InputType::Line if value.contains(char::is_control) => Err("it is more than one line".to_owned()),
            InputType::Integer if value.parse::<i64>().is_err() => Err("it is no whole number".to_owned()),
            InputType::Boolean if !matches!(value, "true" | "false") => Err("it is neither true nor false".to_owned()),
            InputType::Text | InputType::Line | InputType::Integer | InputType::Boolean => Ok(()),
        }
    }
}

impl InputType {
    /// A checked value as part of a JSON document.
    fn value(self, text: &str) -> Value {
        match self {
            Self::Text | Self::Line => Value::String(text.to_owned()),
            Self::Integer => text.parse::<i64>().map_or(Value::Null, Value::from),
            Self::Boolean => Value::Bool(text == "true"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(argv: &str, more: &str) -> Action {
        toml::from_str(&format!("kind = 'query'\nargv = {argv}\noutput = {{ text = true }}\n{more}")).unwrap()
    }

    fn call(action: &Action, given: &[(&str, &str)]) -> Result<Call, Fault> {
        let element: Element = serde_json::from_str(r#"{"id": 7, "name": "-rf"}"#).unwrap();
        Invocation::new(&"x".parse().unwrap(), action, given.iter().copied(), "/bin/warded --state '/a b'")
            .and_then(|filled| filled.call(Some(&element)))
    }

    #[test]
    fn the_host_does_the_quoting() {
        let bare = action("['/t', '{a}']", "input.a = { type = 'text' }");
        let json = action("['/t', { json = { a = ['{a}'], n = 1 } }]", "input.a = { type = 'text', max = 1048576 }");
        let number = action("['/t', '{a}', { json = '{a}' }]", "input.a = { type = 'integer' }");
        let document = action("['/t', { json = '{a}' }]", "input.a = { type = 'integer' }");
        let truth = action("['/t', { json = '{a}' }]", "input.a = { type = 'boolean' }");
        let line = action("['/t', { json = '{a}' }]", "input.a = { type = 'line' }");
        for (action, given, expected) in [
            (&bare, "x", Some("x")),
            (&bare, "x;rm -rf $(x) '\"", Some("x;rm -rf $(x) '\"")),
            (&bare, "-x", None),
            (&bare, "", None),
            (&bare, "a\nb", None),
            (&bare, "a\0b", None),
            (&bare, &"x".repeat(4097), None),
            (&json, "-x", Some(r#"{"a":["-x"],"n":1}"#)),
            (&json, "a\n\"b\" {a} {warded}", Some(r#"{"a":["a\n\"b\" {a} {warded}"],"n":1}"#)),
            (&json, "a\0b", None),
            (&json, "a\u{1b}b", None),
            (&json, &"\"".repeat(65_536), None),
            (&json, &"x".repeat(1 << 20), None),
            (&number, "7", Some("7 7")),
            (&number, "-7", None),
            (&document, "-7", None),
            (&number, "7.5", None),
            (&truth, "true", Some("true")),
            (&truth, "yes", None),
            (&line, "a\nb", None),
            (&line, "a\"b", Some(r#""a\"b""#)),
        ] {
            let argv = call(action, &[("a", given)]).ok().map(|call| call.argv[1..].join(" "));
            assert_eq!(argv.as_deref(), expected, "{given:.40}");
        }
    }

    #[test]
    fn what_is_not_declared_is_refused() {
        let json = action("['/t', { json = { a = '{a}' } }]", "input.a = { type = 'text' }");
        for given in [&[("a", "x"), ("b", "y")][..], &[], &[("a", "x"), ("a", "y")], &[("A", "x")], &[("a\n", "x")]] {
            assert_eq!(call(&json, given).unwrap_err().code, super::super::Code::InvalidInput, "{given:?}");
        }
    }

    #[test]
    fn the_longest_argument_is_given() {
        let json = action("['/t', { json = '{a}' }]", "input.a = { type = 'text', max = 200000 }");
        assert!(call(&json, &[("a", &"x".repeat(ARGUMENT_BYTES - 2))]).is_ok());
        assert!(call(&json, &[("a", &"x".repeat(ARGUMENT_BYTES - 1))]).is_err());
        let input = Action { stdin: true, ..json };
        let filled = call(&input, &[("a", &"x".repeat(ARGUMENT_BYTES))]).unwrap();
        assert_eq!((filled.argv.len(), filled.stdin.unwrap().len()), (1, ARGUMENT_BYTES + 2));
    }

    #[test]
    fn the_hosts_own_words() {
        let own = action("['/t', '{warded} renew', '{state.id}']", "");
        assert_eq!(call(&own, &[]).unwrap().argv[1..], ["/bin/warded --state '/a b' renew", "7"]);
        // A value from an appliance must not be an option either.
        let option = action("['/t', '{state.name}']", "");
        assert_eq!(call(&option, &[]).unwrap_err().code, super::super::Code::InvalidInput);
    }
}
