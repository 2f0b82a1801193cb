//! What a run would change, inferred from its calls, and how two runs differ in that.

use super::{Call, Outcome, bytes::bytes_of};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Something that two runs would leave in different states.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// What it is, such as `file /etc/motd`.
    pub what: String,
    /// What the recorded run would leave there; `None` if nothing.
    pub recorded: Option<String>,
    /// What this run would leave there; `None` if nothing.
    pub replayed: Option<String>,
}

/// The differences between the changes of two runs.
#[must_use]
pub fn differences(recorded: &[(Call, Outcome)], replayed: &[(Call, Outcome)]) -> Vec<Difference> {
    let (recorded, replayed) = (effects(recorded), effects(replayed));
    let all: BTreeSet<&String> = recorded.keys().chain(replayed.keys()).collect();
    all.into_iter()
        .map(|what| Difference {
            what: what.clone(),
            recorded: recorded.get(what).cloned(),
            replayed: replayed.get(what).cloned(),
        })
        .filter(|one| one.recorded != one.replayed)
        .collect()
}

/// The result of all calls, by what it concerns. A call that only asks has no result.
fn effects(calls: &[(Call, Outcome)]) -> BTreeMap<String, String> {
    let mut effects: BTreeMap<String, String> = BTreeMap::new();
    let mut requests = BTreeMap::new();
    for (Call { function, about, arguments }, outcome) in calls {
        let Outcome::Answer(answer) = outcome else { continue };
        let (kind, left) = match function.as_str() {
            "files.write" => ("file", file(arguments)),
            "files.remove" => ("file", "removed\n".to_owned()),
            "keys.ensure" => ("key", format!("there, of type {}\n", text(&arguments["algorithm"]))),
            "keys.replace" => ("key", "a new one\n".to_owned()),
            "authority.issue" | "authority.renew" | "authority.rekey" => {
                let how = function.trim_start_matches("authority.");
                requests.insert(answer.to_string(), format!("{how}: {about}, key {}\n", text(&arguments["key"])));
                continue;
            }
            "authority.write" => {
                ("certificate", requests.get(&arguments["request"].to_string()).cloned().unwrap_or_default())
            }
            "services.reload" => ("reload", String::new()),
            "services.restart" => ("restart", String::new()),
            "actions.change" => ("program", format!("{}\n", arguments["input"])),
            "schedule.renewals" | "schedule.none" => ("schedule", format!("{about}\n")),
            _ => continue,
        };
        let what = if kind == "schedule" { kind.to_owned() } else { format!("{kind} {about}") };
        if kind == "program" {
            // A program that is run twice runs with both inputs, in this order.
            effects.entry(what).or_default().push_str(&left);
        } else {
            effects.insert(what, left);
        }
    }
    effects
}

fn file(arguments: &Value) -> String {
    let contents = bytes_of(&arguments["contents"]).unwrap_or_default();
    let text = String::from_utf8_lossy(&contents).into_owned();
    match arguments["mode"].as_u64() {
        Some(mode) => format!("(mode {mode:o})\n{text}"),
        None => text,
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_run_of_a_program_counts() {
        let run = |input: &[&str]| {
            let call = |input: &&str| {
                let arguments = json!({ "input": input });
                let call = Call { function: "actions.change".to_owned(), about: "set".to_owned(), arguments };
                (call, Outcome::Answer(Value::Null))
            };
            input.iter().map(call).collect::<Vec<_>>()
        };
        assert_eq!(differences(&run(&["a", "b"]), &run(&["a", "b"])), []);
        for other in [&["b"][..], &["b", "a"], &["c", "b"], &["a", "b", "b"]] {
            let found = differences(&run(&["a", "b"]), &run(other));
            assert_eq!(found.len(), 1, "{other:?}");
            assert_eq!(found[0].recorded.as_deref(), Some("\"a\"\n\"b\"\n"));
        }
    }
}
