//! Checks the `[action.NAME]` tables of a policy.

use super::{
    Action, Argument, CHANGE_SECONDS, Json, Kind, MOST_INPUT_BYTES, Output, QUERY_SECONDS, Success,
    fill::{Piece, SCRATCH, texts},
};
use crate::{machine::path::AbsolutePath, name::Name};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Members of a JSON document in which an appliance stores commands that it runs later.
const COMMANDS: [&str; 3] = ["command", "script", "script_text"];

/// Programs that execute code in one of their arguments.
const INTERPRETERS: [&str; 19] = [
    "ash", "awk", "bash", "busybox", "dash", "env", "gawk", "ksh", "lua", "mawk", "node", "perl", "php", "python",
    "ruby", "sed", "sh", "xargs", "zsh",
];

/// The interpreter that a word of a command line names: `/usr/bin/python3.11` is `python`.
fn interpreter(word: &str) -> Option<&'static str> {
    let name = word.rsplit('/').next().unwrap_or_default();
    let name = name.trim_end_matches(|character: char| character.is_ascii_digit() || character == '.');
    INTERPRETERS.into_iter().find(|known| *known == name)
}

impl Action {
    /// The first fault of this action, given all actions of its policy; none if it has no fault.
    #[must_use]
    pub fn fault(&self, all: &BTreeMap<Name, Self>) -> Option<String> {
        self.check_program()
            .and_then(|()| self.check_placeholders())
            .and_then(|()| match self.kind {
                Kind::Query => self.check_query(),
                Kind::Change => self.check_change(all),
            })
            .and_then(|()| self.check_yields())
            .err()
    }

    fn check_program(&self) -> Result<(), String> {
        let program = self.program();
        program.parse::<AbsolutePath>().map_err(|why| format!("its program is not an absolute path: {why}"))?;
        if program.contains(['{', '}']) {
            return Err("its program is written out".to_owned());
        }
        if self.stdin && self.argv.len() < 2 {
            return Err("`stdin` needs an argument that becomes the input".to_owned());
        }
        if self.ok.stdout.as_ref().is_some_and(|text| text.trim() != text) {
            return Err("`ok.stdout` begins and ends without white space".to_owned());
        }
        for (name, input) in &self.input {
            if input.max.is_some_and(|max| max == 0 || max > MOST_INPUT_BYTES) {
                return Err(format!("input {name}: `max` is between 1 and {MOST_INPUT_BYTES}"));
            }
        }
        let most = match self.kind {
            Kind::Query => QUERY_SECONDS,
            Kind::Change => CHANGE_SECONDS,
        };
        match self.timeout {
            Some(seconds) if seconds == 0 || seconds > most => {
                Err(format!("`timeout` is between 1 and {most} seconds"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Every placeholder has to stand for something, and every input has to be used.
    fn check_placeholders(&self) -> Result<(), String> {
        let mut used = BTreeSet::new();
        for text in self.argv.iter().flat_map(texts) {
            match Piece::of(text)? {
                Piece::Literal(text) if text.contains(SCRATCH) && self.scratch.is_empty() => {
                    return Err(format!("{SCRATCH} has no meaning without `scratch`"));
                }
                Piece::Literal(_) => {}
                Piece::Input(name) => drop(used.insert(name)),
                Piece::State(_) if self.state.is_some() => {}
                Piece::State(_) | Piece::Before(_) => return Err(format!("{text} has no meaning here")),
            }
        }
        for name in &used {
            if !self.input.contains_key(name) {
                return Err(format!("{{{name}}} is no input of it"));
            }
        }
        if let Some(name) = self.input.keys().find(|name| !used.contains(*name)) {
            return Err(format!("nothing uses its input {name}"));
        }
        self.check_interpreter()?;
        self.argv.iter().try_for_each(|argument| match argument {
            Argument::Text(_) => Ok(()),
            Argument::Json(Json { json }) if json.to_string().contains(SCRATCH) => {
                Err(format!("{SCRATCH} has no meaning in a document"))
            }
            Argument::Json(Json { json }) => check_document(json),
        })
    }

    /// An interpreter may get an input only after a script that the policy names, and only without an option that
    /// contains code. The interpreter may also be started by another program: `/usr/bin/timeout 5 /bin/sh`.
    fn check_interpreter(&self) -> Result<(), String> {
        // The interpreter whose script has not been named yet; and whether one of its options may contain code.
        let (mut running, mut has_code) = (None, false);
        for text in self.argv.iter().flat_map(texts) {
            match (Piece::of(text)?, running) {
                (Piece::Literal(text), _) if interpreter(text).is_some() => {
                    (running, has_code) = (interpreter(text), false);
                }
                (Piece::Literal(text), Some(_)) => match text.strip_prefix('-') {
                    Some(option) => has_code |= option.contains(['c', 'e']),
                    None if text.starts_with('/') && !has_code => running = None,
                    None => {}
                },
                (Piece::Literal(_), None) | (Piece::Input(_) | Piece::State(_) | Piece::Before(_), None) => {}
                (Piece::Input(_) | Piece::State(_) | Piece::Before(_), Some(name)) => {
                    return Err(format!(
                        "{name} would run {text}: a script with its path has to stand before an input"
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_query(&self) -> Result<(), String> {
        if self.state.is_some() || self.undo.is_some() || self.irreversible {
            return Err("`state`, `undo` and `irreversible` belong to a change".to_owned());
        }
        match &self.output {
            None => Err("a query needs `output`: what of it leaves the host".to_owned()),
            Some(Output::Json(members)) if members.is_empty() => Err("`output.json` names no member".to_owned()),
            Some(Output::File(_)) if self.scratch.is_empty() => Err("`output.file` needs `scratch`".to_owned()),
            Some(Output::File(_)) if self.ok != Success::default() => {
                Err("`ok` has no meaning with `output.file`".to_owned())
            }
            Some(Output::Json(_) | Output::Text(_) | Output::File(_)) => self.check_scratch(),
        }
    }

    /// The host has to know the result: the answer of a query that works on copies, or the text that a change sets.
    fn check_yields(&self) -> Result<(), String> {
        if self.yields.is_none() {
            return Ok(());
        }
        let is_known = match self.kind {
            Kind::Query => matches!(self.output, Some(Output::File(_))) && self.input.is_empty(),
            Kind::Change => self.state.as_ref().is_some_and(|state| state.member.is_some()),
        };
        let what =
            "`yields` needs a query without inputs whose `output` is a file, or a change whose `state` is a member";
        if is_known { Ok(()) } else { Err(what.to_owned()) }
    }

    /// Each key has to be a path below `{scratch}`, and none may lie in another one or collide with the answer.
    fn check_scratch(&self) -> Result<(), String> {
        let ways: Vec<&str> = self.scratch.keys().map(String::as_str).chain(self.output_file()).collect();
        for way in &ways {
            format!("/{way}")
                .parse::<AbsolutePath>()
                .map_err(|why| format!("{way:?} is no way below {SCRATCH}: {why}"))?;
            let leads_into = |other: &&&str| other.strip_prefix(way).is_some_and(|rest| rest.starts_with('/'));
            let same = ways.iter().filter(|other| *other == way).count();
            if same > 1 || ways.iter().any(|other| leads_into(&other)) {
                return Err(format!("{way:?} is there twice below {SCRATCH}, or has another one in it"));
            }
        }
        match self.scratch.iter().find(|(_, directories)| directories.is_empty()) {
            Some((way, _)) => Err(format!("there is no directory to copy to {SCRATCH}/{way}")),
            None => Ok(()),
        }
    }

    fn check_change(&self, all: &BTreeMap<Name, Self>) -> Result<(), String> {
        if !self.scratch.is_empty() {
            return Err("`scratch` belongs to a query".to_owned());
        }
        if self.output.is_some() {
            return Err("a change gives no `output` to the procedure".to_owned());
        }
        if self.irreversible {
            return match (&self.state, &self.undo) {
                (None, None) => Ok(()),
                (Some(_), _) | (_, Some(_)) => Err("what is `irreversible` has no `state` and no `undo`".to_owned()),
            };
        }
        let (Some(state), Some(undo)) = (&self.state, &self.undo) else {
            return Err("a change needs `state` and `undo`, or `irreversible = true`".to_owned());
        };
        let query = all.get(&state.query).filter(|query| query.kind == Kind::Query);
        let query = query.ok_or_else(|| format!("its state names {}, and that is no query", state.query))?;
        if !(query.input.is_empty() && query.scratch.is_empty()) {
            return Err(format!("its state names {}, which has inputs or a `scratch`", state.query));
        }
        let is_shown = |member: &String| match &query.output {
            Some(Output::Json(members)) => members.contains(member),
            Some(Output::Text(_) | Output::File(_)) | None => false,
        };
        let members = self.argv.iter().flat_map(texts).filter_map(|text| match Piece::of(text) {
            Ok(Piece::State(member)) => Some(member),
            _ => None,
        });
        if let Some(member) = members.chain(state.member.clone()).find(|member| !is_shown(member)) {
            return Err(format!("{} does not show the member {member}", state.query));
        }
        if let Value::String(text) = &state.becomes {
            match Piece::of(text)? {
                Piece::Input(name) if !self.input.contains_key(&name) => {
                    return Err(format!("{text} is no input of it"));
                }
                Piece::Literal(_) | Piece::Input(_) => {}
                Piece::State(_) | Piece::Before(_) => return Err(format!("{text} has no meaning in `becomes`")),
            }
        }
        let back = all.get(&undo.action).filter(|back| back.kind == Kind::Change && !back.irreversible);
        let back = back.ok_or_else(|| format!("its undo names {}, and that is no change with an undo", undo.action))?;
        if back.state.as_ref().map(|state| &state.query) != Some(&state.query) {
            return Err(format!("its undo {} has another state query", undo.action));
        }
        if !back.input.keys().eq(undo.input.keys()) {
            return Err(format!("its undo does not give {} the inputs that it has", undo.action));
        }
        undo.input.values().try_for_each(|text| match Piece::of(text)? {
            Piece::Literal(_) | Piece::Before(_) => Ok(()),
            Piece::Input(_) | Piece::State(_) => Err(format!("{text} has no meaning in an undo")),
        })
    }
}

/// Commands that an appliance runs later must be the policy's own: a guest's words in them would run as root.
fn check_document(document: &Value) -> Result<(), String> {
    check_within(document, None)
}

/// `command`: the enclosing member whose strings are run as commands.
fn check_within(document: &Value, command: Option<&str>) -> Result<(), String> {
    match document {
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            check_within(value, command.or_else(|| COMMANDS.contains(&name.as_str()).then_some(name)))
        }),
        Value::Array(values) => values.iter().try_for_each(|value| check_within(value, command)),
        Value::String(text) => match (command, Piece::of(text)?) {
            (Some(name), Piece::Input(_) | Piece::State(_) | Piece::Before(_)) => {
                Err(format!("{name} is a command that is run later: no input can be in it"))
            }
            (Some(_) | None, _) => Ok(()),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "
[show]
kind = 'query'
argv = ['/bin/tool', 'show']
output = { json = ['id', 'options'] }
[set]
kind = 'change'
argv = ['/bin/tool', 'set', { json = { options = '{options}' } }]
input.options = { type = 'text', max = 65536 }
state = { query = 'show', member = 'options', becomes = '{options}' }
undo = { action = 'set', options = '{before}' }
";

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (from, to, why) in [
            ("", "", None),
            ("'/bin/tool', 'set'", "'tool', 'set'", Some("not an absolute path")),
            ("'/bin/tool', 'set'", "'/bin/../tool', 'set'", Some("not an absolute path")),
            ("'/bin/tool', 'set'", "'{options}', 'set'", Some("not an absolute path")),
            ("'/bin/tool', 'set'", "'/bin/{options}', 'set'", Some("written out")),
            ("'set', {", "'--options={options}', {", Some("a placeholder fills a whole text")),
            ("options = '{options}' } }", "options = 'x {options}' } }", Some("a placeholder fills a whole text")),
            ("options = '{options}' } }", "options = '{other}' } }", Some("{other} is no input")),
            ("options = '{options}' } }", "options = 'x' } }", Some("nothing uses its input options")),
            ("options = '{options}' } }", "command = '{options}' } }", Some("a command that is run later")),
            (
                "options = '{options}' } }",
                "command = ['{options}'] } }",
                Some("command is a command that is run later"),
            ),
            (
                "options = '{options}' } }",
                "script = { a = ['{options}'] } } }",
                Some("script is a command that is run later"),
            ),
            ("options = '{options}' } }", "o = '{options}', command = '{warded} renew' } }", None),
            ("'/bin/tool', 'set', {", "'/bin/sh', '-c', {", Some("sh would run {options}")),
            ("'/bin/tool', 'set', {", "'/usr/bin/python3.11', '-ec', {", Some("python would run {options}")),
            ("'/bin/tool', 'set', {", "'/bin/sh', {", Some("sh would run {options}")),
            ("'/bin/tool', 'set', {", "'/bin/sh', '/x.sh', {", None),
            ("'/bin/tool', 'set', {", "'/bin/sh', '-u', '/x.sh', '--name', {", None),
            ("'/bin/tool', 'set', {", "'/usr/bin/timeout', '5', '/bin/sh', '-c', {", Some("sh would run {options}")),
            ("'/bin/tool', 'set', {", "'/usr/bin/env', '/bin/sh', {", Some("sh would run {options}")),
            ("'/bin/tool', 'set', {", "'/usr/bin/env', '/bin/sh', '/x.sh', {", None),
            ("argv = ['/bin/tool', 'set'", "stdin = true\nargv = ['/bin/sh'", Some("sh would run {options}")),
            ("options = '{options}' } }", "o = '{options}', id = '{state.id}' } }", None),
            (
                "options = '{options}' } }",
                "o = '{options}', id = '{state.key}' } }",
                Some("does not show the member key"),
            ),
            ("options = '{options}' } }", "o = '{options}', id = '{before}' } }", Some("has no meaning here")),
            ("becomes = '{options}'", "becomes = '{other}'", Some("{other} is no input")),
            ("member = 'options', b", "member = 'key', b", Some("does not show the member key")),
            ("query = 'show'", "query = 'set'", Some("that is no query")),
            ("action = 'set'", "action = 'show'", Some("that is no change")),
            (", options = '{before}'", "", Some("the inputs that it has")),
            ("'{before}'", "'{options}'", Some("has no meaning in an undo")),
            ("undo = {", "irreversible = true\nundo = {", Some("no `state` and no `undo`")),
            ("undo = { action = 'set', options = '{before}' }", "", Some("needs `state` and `undo`")),
            ("max = 65536", "max = 0", Some("`max` is between")),
            ("undo = {", "timeout = 91\nundo = {", Some("between 1 and 90")),
            ("undo = {", "output = { json = ['a'] }\nundo = {", Some("gives no `output`")),
            ("undo = {", "yields = '{sshd-config}'\nundo = {", None),
            ("kind = 'query'", "kind = 'query'\nyields = '{sshd-config}'", Some("`yields` needs")),
        ] {
            assert!(ALL.contains(from), "{from}");
            let all: BTreeMap<Name, Action> = toml::from_str(&ALL.replacen(from, to, 1)).unwrap();
            let fault = all.values().find_map(|action| action.fault(&all));
            assert!(
                match (&fault, why) {
                    (Some(fault), Some(why)) => fault.contains(why),
                    (fault, why) => fault.is_none() && why.is_none(),
                },
                "{from} -> {to}: {fault:?}"
            );
        }
    }

    #[test]
    fn what_a_query_lacks_or_has_for_nothing_is_refused() {
        for (from, to, why) in [
            ("output = { json = ['id', 'options'] }", "", "needs `output`"),
            ("['id', 'options']", "[]", "names no member"),
            ("argv = ['/bin/tool', 'show']", "timeout = 21\nargv = ['/bin/tool', 'show']", "between 1 and 20"),
            ("argv = ['/bin/tool', 'show']", "argv = ['/bin/tool']\nstdin = true", "needs an argument"),
            ("argv = ['/bin/tool', 'show']", "argv = []", "not an absolute path"),
            (
                "argv = ['/bin/tool', 'show']",
                "argv = ['/bin/tool', '{a}']\ninput.a = { type = 'line' }",
                "which has inputs",
            ),
            ("'/bin/tool', 'show'", "'/bin/tool', '{scratch}'", "no meaning without"),
            (
                "'/bin/tool', 'show'",
                "'/bin/tool', { json = ['{scratch}'] }]\nscratch.a = ['/x'] #",
                "no meaning in a document",
            ),
            ("{ json = ['id', 'options'] }", "{ file = 'out' }", "needs `scratch`"),
            ("{ json = ['id', 'options'] }", "{ file = 'out' }\nok.status = 1\nscratch.a = ['/x']", "no meaning with"),
            ("{ json = ['id', 'options'] }", "{ file = 'a/out' }\nscratch.a = ['/x']", "has another one in it"),
            ("{ json = ['id', 'options'] }", "{ file = 'a' }\nscratch.a = ['/x']", "is there twice"),
            ("{ json = ['id', 'options'] }", "{ file = '../out' }\nscratch.a = ['/x']", "is no way below"),
            ("{ json = ['id', 'options'] }", "{ file = '/out' }\nscratch.a = ['/x']", "is no way below"),
            ("{ json = ['id', 'options'] }", "{ file = 'out' }\nscratch.a = []", "no directory to copy"),
            ("{ json = ['id', 'options'] }", "{ json = ['id', 'options'] }\nscratch.a = ['/x']", "or a `scratch`"),
            ("kind = 'change'", "kind = 'change'\nscratch.a = ['/x']", "belongs to a query"),
        ] {
            let all: BTreeMap<Name, Action> = toml::from_str(&ALL.replacen(from, to, 1)).unwrap();
            let faults: Vec<String> = all.values().filter_map(|action| action.fault(&all)).collect();
            assert!(faults.iter().any(|fault| fault.contains(why)), "{from} -> {to}: {faults:?}");
        }
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        for (from, to, why) in [
            ("'{options}' } }", "'{other.x}' } }", "{other.x} is no placeholder"),
            ("'{options}' } }", "'{warded.x}' } }", "{warded.x} is no placeholder"),
            ("'{options}' } }", "'{state.}' } }", "{state.} is no placeholder"),
            ("'{options}' } }", "'{Warded}' } }", "is not a name"),
            ("'{options}' } }", "'{warded} {options}' } }", "a placeholder fills a whole text"),
            ("'/bin/tool', 'set'", "'{warded}', 'set'", "not an absolute path"),
        ] {
            assert!(ALL.contains(from), "{from}");
            let all: BTreeMap<Name, Action> = toml::from_str(&ALL.replacen(from, to, 1)).unwrap();
            let fault = all.values().find_map(|action| action.fault(&all));
            assert!(fault.as_ref().is_some_and(|fault| fault.contains(why)), "{from} -> {to}: {fault:?}");
        }
    }
}
