//! `--settings-file`: the settings of a procedure as a JSON object, for programs that have them as data.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;
use std::{
    fmt,
    fs::File,
    io::{self, Read},
};
use warded_lib::{name::Name, policy::setting::Setting};

/// Much more than any procedure takes.
const MAX_BYTES: u64 = 1024 * 1024;

/// The settings from a file.
#[derive(Clone, Debug)]
pub(super) struct SettingsFile {
    pub(super) settings: Vec<Setting>,
    /// Whether the file is standard input, which then cannot supply a secret.
    pub(super) is_stdin: bool,
}

/// Reads the settings of a file; `-` is standard input.
pub(super) fn read(path: &str) -> Result<SettingsFile, String> {
    let is_stdin = path == "-";
    let contents = if is_stdin { bounded(io::stdin()) } else { File::open(path).and_then(bounded) };
    let settings = parse(&contents.map_err(|error| format!("it cannot be read: {error}"))?)?;
    Ok(SettingsFile { settings, is_stdin })
}

fn bounded(source: impl Read) -> io::Result<String> {
    let mut contents = String::new();
    source.take(MAX_BYTES + 1).read_to_string(&mut contents)?;
    if u64::try_from(contents.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(io::Error::other("it has more than 1 MiB"));
    }
    Ok(contents)
}

/// A value is a string, an integer or a boolean; a setting that may be repeated has a list of them.
fn parse(text: &str) -> Result<Vec<Setting>, String> {
    let Members(members) =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON object of settings: {error}"))?;
    let mut settings: Vec<Setting> = Vec::new();
    for (name, values) in members {
        let shown = format!("the setting {name:?}");
        let name: Name = name.parse().map_err(|error| format!("{shown}: {error}"))?;
        if settings.iter().any(|setting| setting.name == name) {
            return Err(format!("{shown} is there twice: give its values as a list"));
        }
        let values = if let Value::Array(values) = values { values } else { vec![values] };
        for value in values {
            let value = match value {
                Value::String(text) => text,
                Value::Bool(_) => value.to_string(),
                Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
                Value::Number(_) => return Err(unexpected(&shown, "a number that is not whole")),
                Value::Null => return Err(unexpected(&shown, "null")),
                Value::Array(_) => return Err(unexpected(&shown, "a list in a list")),
                Value::Object(_) => return Err(unexpected(&shown, "an object")),
            };
            settings.push(Setting { name: name.clone(), value });
        }
    }
    Ok(settings)
}

fn unexpected(setting: &str, found: &str) -> String {
    format!("{setting} has {found}: expected a text, a whole number, true or false, or a list of these")
}

/// The members of a JSON object in order. Repeated names are kept, of which a map would keep only the last.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_gives_each_of_its_values() {
        let given =
            parse(r#"{"principal": ["b.example.org", "a.example.org"], "port": 22, "strict": true, "none": []}"#);
        let given: Vec<String> = given.unwrap().iter().map(|one| format!("{}={}", one.name, one.value)).collect();
        assert_eq!(given, ["principal=b.example.org", "principal=a.example.org", "port=22", "strict=true"]);
    }

    #[test]
    fn what_is_no_setting_is_told_with_its_place() {
        for (text, expected) in [
            ("", "it is no JSON object of settings: EOF"),
            ("[1]", "expected an object at line 1 column 0"),
            (r#"{"a": 1.5}"#, "the setting \"a\" has a number that is not whole"),
            (r#"{"a": null}"#, "the setting \"a\" has null"),
            (r#"{"a": [["b"]]}"#, "the setting \"a\" has a list in a list"),
            (r#"{"a": {"b": 1}}"#, "the setting \"a\" has an object"),
            (r#"{"a": "b", "a": "c"}"#, "the setting \"a\" is there twice"),
            (r#"{"A b": "c"}"#, "the setting \"A b\": "),
            ("{\"a\": 1,\n}", "line 2 column 1"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
