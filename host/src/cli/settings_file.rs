//! `--settings-file`: the settings of a procedure as a JSON object, for programs that have them as data.

use serde_json::Value;
use std::{
    fs::File,
    io::{self, Read},
};
use warded_lib::policy::setting::Setting;

/// Far above what a procedure takes.
const MAX_BYTES: u64 = 1024 * 1024;

/// The settings of a file.
#[derive(Clone, Debug)]
pub(super) struct SettingsFile {
    pub(super) settings: Vec<Setting>,
    /// Whether the file is standard input, which then has no secret.
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

/// A value is a text, a whole number or a boolean; a setting that may be given more than once has a list of them.
fn parse(text: &str) -> Result<Vec<Setting>, String> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON object of settings: {error}"))?;
    let mut settings = Vec::new();
    for (name, values) in &object {
        let values = values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice);
        for value in values {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Bool(_) => value.to_string(),
                Value::Number(number) if number.is_i64() || number.is_u64() => value.to_string(),
                Value::Number(_) | Value::Null | Value::Array(_) | Value::Object(_) => {
                    return Err(format!(
                        "the setting {name:?} has {value}: expected a text, a whole number, true or false"
                    ));
                }
            };
            let name = name.parse().map_err(|error| format!("the setting {name:?}: {error}"))?;
            settings.push(Setting { name, value });
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_gives_each_of_its_values() {
        let given =
            parse(r#"{"principal": ["a.example.org", "b.example.org"], "port": 22, "strict": true, "none": []}"#);
        let given: Vec<String> = given.unwrap().iter().map(|one| format!("{}={}", one.name, one.value)).collect();
        let mut expected = ["port=22", "principal=a.example.org", "principal=b.example.org", "strict=true"];
        expected.sort_unstable();
        let mut given: Vec<&str> = given.iter().map(String::as_str).collect();
        given.sort_unstable();
        assert_eq!(given, expected);
    }

    #[test]
    fn what_is_no_setting_is_told_with_its_place() {
        for (text, expected) in [
            ("", "it is no JSON object of settings: EOF"),
            ("[1]", "expected a map at line 1 column 0"),
            ("{\"a\": \n 1.5}", "the setting \"a\" has 1.5"),
            (r#"{"a": null}"#, "the setting \"a\" has null"),
            (r#"{"a": [["b"]]}"#, "the setting \"a\" has [\"b\"]"),
            (r#"{"A b": "c"}"#, "the setting \"A b\": "),
            ("{\"a\": 1,\n}", "line 2 column 1"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
