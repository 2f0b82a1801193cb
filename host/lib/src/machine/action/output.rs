//! The part of a query's output that leaves the host. Members that the policy does not list are never copied: the
//! reader skips them, and the program's output is wiped.

use super::{Action, Fault, Invocation, Output, RawOutput, State};
use crate::digest::Digest;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use std::fmt;

/// One object of an answer, with the members that the policy lists.
pub type Element = Map<String, Value>;

/// The part of a query's answer that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryAnswer {
    /// An object.
    One(Element),
    /// A list of objects.
    List(Vec<Element>),
    Text(String),
}

/// A state, as shown by a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateValue {
    /// The value does not exist.
    Absent,
    /// A value exists, whatever it is.
    Present,
    /// This value exists.
    Value(Value),
}

impl QueryAnswer {
    /// The part of a program's output that is shown.
    ///
    /// # Errors
    /// `unexpected-output`: the output is not of the form that the policy describes.
    pub(super) fn of(filled: &Invocation, ran: &RawOutput) -> Result<Self, Fault> {
        let unexpected = |what: &str| Fault::unexpected(format!("{} printed {what}", filled.name));
        match &filled.action.output {
            Some(Output::Json(members)) => {
                let mut reader = serde_json::Deserializer::from_slice(&ran.stdout);
                let shown = Members(members).deserialize(&mut reader);
                // A parser's error may quote what it read, so it is not shown.
                let shown = shown.and_then(|shown| reader.end().map(|()| shown));
                shown.map_err(|_| unexpected("neither an object nor a list of objects as JSON"))
            }
            Some(Output::Text(_) | Output::File(_)) => match std::str::from_utf8(&ran.stdout) {
                Ok(text) => Ok(Self::Text(text.to_owned())),
                Err(_) => Err(unexpected("what is no text")),
            },
            None => Err(unexpected("what the policy does not show")),
        }
    }

    /// The bytes that the procedure gets.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::One(element) => Value::Object(element.clone()).to_string().into_bytes(),
            Self::List(elements) => {
                Value::Array(elements.iter().cloned().map(Value::Object).collect()).to_string().into_bytes()
            }
            Self::Text(text) => text.clone().into_bytes(),
        }
    }

    /// Whether it shows an object that is disabled: its member `enabled` is false.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        let is_off = |element: &Element| element.get("enabled") == Some(&Value::Bool(false));
        match self {
            Self::One(element) => is_off(element),
            Self::List(elements) => elements.iter().any(is_off),
            Self::Text(_) => false,
        }
    }

    /// The digest of [`QueryAnswer::bytes`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes())
    }

    /// The state in this answer, and the one object that it belongs to.
    ///
    /// # Errors
    /// `unexpected-output`: it shows several objects, or lacks the member.
    pub(super) fn observed(&self, filled: &Invocation, state: &State) -> Result<(StateValue, Option<Element>), Fault> {
        let unexpected = |what: String| Fault::unexpected(format!("{} shows {what}", filled.name));
        let element = match self {
            Self::Text(text) if text.trim().is_empty() => return Ok((StateValue::Absent, None)),
            Self::Text(text) if is_presence(state) => return Ok((presence(text), None)),
            Self::Text(text) => return Ok((StateValue::Value(text.trim_end().into()), None)),
            Self::One(element) => element,
            Self::List(elements) => match elements.as_slice() {
                [] => return Ok((StateValue::Absent, None)),
                [one] => one,
                several => return Err(unexpected(format!("{} things where one is expected", several.len()))),
            },
        };
        let observed = match &state.member {
            // The appliance may have renamed the members; then this object may be another one, too.
            _ if is_presence(state) && element.is_empty() => {
                return Err(unexpected("none of the members that the policy names".to_owned()));
            }
            _ if is_presence(state) => StateValue::Present,
            Some(member) => match element.get(member) {
                Some(value) => StateValue::Value(value.clone()),
                None => return Err(unexpected(format!("no {member}"))),
            },
            None => StateValue::Value(Value::Object(element.clone())),
        };
        Ok((observed, Some(element.clone())))
    }
}

/// Whether only the existence of the object counts.
fn is_presence(state: &State) -> bool {
    matches!(&state.becomes, Value::String(word) if word == "absent" || word == "present")
}

fn presence(text: &str) -> StateValue {
    if text.trim().is_empty() { StateValue::Absent } else { StateValue::Present }
}

impl StateValue {
    /// The state as lines for a person to compare.
    #[must_use]
    pub fn lines(&self) -> String {
        match self {
            Self::Absent => String::new(),
            Self::Present => "present\n".to_owned(),
            Self::Value(Value::String(text)) => text.clone(),
            Self::Value(other) => serde_json::to_string_pretty(other).unwrap_or_default(),
        }
    }
}

impl Action {
    /// Whether the program's exit status and output mean success.
    pub(super) fn succeeded(&self, ran: &RawOutput) -> bool {
        let prints = |text: &String| std::str::from_utf8(&ran.stdout).is_ok_and(|printed| printed.trim() == text);
        ran.status == Some(self.ok.status) && self.ok.stdout.as_ref().is_none_or(prints)
    }
}

/// Reads an answer, and keeps only these members of each object.
#[derive(Clone, Copy)]
struct Members<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = QueryAnswer;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<QueryAnswer, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = QueryAnswer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, or a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<QueryAnswer, A::Error> {
        OneObject(self.0).visit_map(map).map(QueryAnswer::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<QueryAnswer, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element_seed(OneObject(self.0))? {
            elements.push(element);
        }
        Ok(QueryAnswer::List(elements))
    }
}

struct OneObject<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for OneObject<'_> {
    type Value = Element;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Element, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneObject<'_> {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Element, A::Error> {
        let mut element = Element::new();
        while let Some(name) = map.next_key::<String>()? {
            if self.0.contains(&name) {
                element.insert(name, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn filled(output: &str) -> Invocation {
        let action = format!("kind = 'query'\nargv = ['/t']\noutput = {output}");
        Invocation::new(&"show".parse().unwrap(), &toml::from_str(&action).unwrap(), [], "").unwrap()
    }

    fn shown(output: &str, printed: &[u8]) -> Result<QueryAnswer, Fault> {
        let (stdout, stderr) = (Zeroizing::new(printed.to_vec()), Zeroizing::default());
        QueryAnswer::of(
            &filled(output),
            &RawOutput { status: Some(0), timed_out: false, overflowed: false, stdout, stderr },
        )
    }

    #[test]
    fn only_what_is_listed_is_shown() {
        let members = "{ json = ['options', 'id'] }";
        for (output, printed, expected) in [
            (
                members,
                r#"{"options":"a\nb","key":"PRIVATE","id":[1,{"key":2}]}"#,
                Some(r#"{"id":[1,{"key":2}],"options":"a\nb"}"#),
            ),
            (members, r#"[{"id":1,"key":{"id":2}},{}]"#, Some(r#"[{"id":1},{}]"#)),
            (members, r#"{"key":{"options":"PRIVATE"}}"#, Some("{}")),
            (members, "[]", Some("[]")),
            (members, r#""options""#, None),
            (members, r#"[1]"#, None),
            (members, r#"[[{"id":1}]]"#, None),
            (members, r#"{"id":1} {"id":2}"#, None),
            (members, r#"{"id":1"#, None),
            (members, "", None),
            (members, "Traceback", None),
            ("{ text = true }", "True\n", Some("True\n")),
        ] {
            let found = shown(output, printed.as_bytes()).ok().map(|shown| String::from_utf8(shown.bytes()).unwrap());
            assert_eq!(found.as_deref(), expected, "{printed}");
        }
        assert!(shown("{ text = true }", b"\xff").is_err());
        let said = shown(members, br#"{"key": "PRIVATE"x"#).unwrap_err().message;
        assert!(!said.contains("PRIVATE"), "{said}");
    }

    #[test]
    fn what_is_there_may_be_disabled() {
        for (printed, expected) in [
            (r#"[{"id":1,"enabled":false}]"#, true),
            (r#"{"id":1,"enabled":false}"#, true),
            (r#"[{"id":1,"enabled":true}]"#, false),
            (r#"[{"id":1,"enabled":"false"}]"#, false),
            (r#"[{"id":1}]"#, false),
            ("[]", false),
        ] {
            let found = shown("{ json = ['id', 'enabled'] }", printed.as_bytes()).unwrap();
            assert_eq!(found.is_disabled(), expected, "{printed}");
        }
        // A member that is not shown does not count.
        assert!(!shown("{ json = ['id'] }", br#"{"id":1,"enabled":false}"#).unwrap().is_disabled());
        assert!(!shown("{ text = true }", b"enabled: false").unwrap().is_disabled());
    }

    #[test]
    fn a_state_is_one_thing() {
        let member = State { query: "show".parse().unwrap(), member: Some("id".to_owned()), becomes: 1.into() };
        let there = State { member: None, becomes: "absent".into(), ..member.clone() };
        let text = State { member: None, ..member.clone() };
        for (output, state, printed, expected) in [
            ("{ json = ['id'] }", &member, r#"{"id":3}"#, Some(StateValue::Value(3.into()))),
            ("{ json = ['id'] }", &member, r#"{"other":3}"#, None),
            ("{ json = ['id'] }", &member, "[]", Some(StateValue::Absent)),
            ("{ json = ['id'] }", &member, r#"[{"id":3}]"#, Some(StateValue::Value(3.into()))),
            ("{ json = ['id'] }", &member, r#"[{"id":3},{"id":3}]"#, None),
            ("{ json = ['id'] }", &there, r#"[{"id":3}]"#, Some(StateValue::Present)),
            ("{ json = ['id'] }", &there, r#"[{"id":3},{"id":4}]"#, None),
            ("{ json = ['id'] }", &there, r#"[{"number":3}]"#, None),
            ("{ json = ['id'] }", &there, r#"{"result":[]}"#, None),
            ("{ text = true }", &text, "on\n", Some(StateValue::Value("on".into()))),
            ("{ text = true }", &there, "on\n", Some(StateValue::Present)),
            ("{ text = true }", &there, " \n", Some(StateValue::Absent)),
        ] {
            let found = shown(output, printed.as_bytes()).unwrap().observed(&filled(output), state);
            assert_eq!(found.ok().map(|(observed, _)| observed), expected, "{printed}");
        }
    }
}
