//! Policies that tests write: grants, for a component that a test made or for the bundled `demo`.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};
use warded_lib::digest::Digest;

/// The bundled component that writes what it is told to, and prints what its policy says of settings.
const DEMO: &[u8] = include_bytes!("../../policies/demo.wasm");
const DEMO_SETTINGS: &str = r#"
settings.path   = { type = "string", required = true, help = "the file" }
settings.text   = { type = "string", many = true, help = "a line of the file" }
settings.reload = { type = "choice", values = ["yes", "no"], default = "no", help = "whether to reload" }
"#;

/// The grants of a procedure; empty at first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grants {
    lists: BTreeMap<String, Vec<String>>,
    others: BTreeMap<String, String>,
    tables: Option<String>,
}

/// The actions of a policy that defines no others.
const ACTIONS: &str = "
[action.show]
kind = 'query'
argv = ['/bin/echo', 'on']
output = { text = true }
[action.set]
kind = 'change'
argv = ['/bin/true']
irreversible = true
";

impl Grants {
    /// Grants from lines of a policy file: `files.read = ["/x"]`.
    pub(crate) fn of(lines: &[&str]) -> Self {
        let mut grants = Self::default();
        lines.iter().for_each(|line| grants.add(line));
        grants
    }

    /// The same with these `[action.NAME]` tables.
    pub(crate) fn with_actions(mut self, tables: &str) -> Self {
        self.tables = Some(tables.to_owned());
        self
    }

    /// Adds a line to the values of its key.
    pub(crate) fn add(&mut self, line: &str) {
        let (key, _) = line.split_once(" = ").unwrap_or_else(|| panic!("no grant: {line}"));
        let mut value: &toml::Value = &toml::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        for part in key.split('.') {
            value = &value[part];
        }
        match value {
            toml::Value::Boolean(_) | toml::Value::Table(_) => {
                drop(self.others.insert(key.to_owned(), value.to_string()));
            }
            other => {
                let words = other.as_array().unwrap().iter().map(ToString::to_string);
                self.lists.entry(key.to_owned()).or_default().extend(words);
            }
        }
    }

    /// Writes a policy and its component into a directory of policies.
    pub(crate) fn write(&self, directory: &Path, name: &str, procedure: &str, component: &[u8]) {
        self.write_with(directory, name, procedure, component, "");
    }

    /// The same, with a setting by which the operator confirms names.
    pub(crate) fn write_confirming(&self, directory: &Path, name: &str, procedure: &str, component: &[u8]) {
        let settings = "settings.principal = { type = \"principal\", many = true, help = \"a name\" }\n";
        self.write_with(directory, name, procedure, component, settings);
    }

    /// Writes a policy for the bundled `demo`, whose procedure is `write-file`.
    pub(crate) fn write_demo(&self, directory: &Path) {
        self.write_with(directory, "writer", "write-file", DEMO, DEMO_SETTINGS);
    }

    fn write_with(&self, directory: &Path, name: &str, procedure: &str, component: &[u8], settings: &str) {
        let mut request = format!(
            "[service.ssh]\nsystemd = [\"ssh.service\"]\ndirect = \"sshd\"\n\
             [service.app]\nsystemd = [\"app.service\"]\n\
             [schedule]\ncron.d = \"warded-renew\"\n{}\n\
             [procedure.{procedure}]\nsummary = \"A test\"\n{settings}",
            self.tables.as_deref().unwrap_or(ACTIONS)
        );
        for (key, words) in &self.lists {
            writeln!(request, "{key} = [{}]", words.join(", ")).unwrap();
        }
        for (key, value) in &self.others {
            writeln!(request, "{key} = {value}").unwrap();
        }
        let name_line = format!("name = {name:?}\n");
        let component = asking(component, &format!("{name_line}{request}"));
        let text = format!("{name_line}component = \"{}\"\n{request}", Digest::of(&component));
        fs::write(directory.join(format!("{name}.toml")), text).unwrap();
        fs::write(directory.join(format!("{name}.wasm")), component).unwrap();
    }
}

/// Changes a policy that a test wrote, as its publisher would: in the request inside its component, too.
pub(crate) fn change(directory: &Path, name: &str, from: &str, to: &str) {
    let file = |kind: &str| directory.join(format!("{name}.{kind}"));
    let text = fs::read_to_string(file("toml")).unwrap();
    assert!(text.contains(from), "{from:?} is not in {text}");
    let request: String = text
        .replacen(from, to, 1)
        .lines()
        .filter(|line| !line.starts_with("component = "))
        .map(|line| format!("{line}\n"))
        .collect();
    let component = asking(&fs::read(file("wasm")).unwrap(), &request);
    let (name_line, rest) = request.split_once('\n').unwrap();
    fs::write(file("toml"), format!("{name_line}\ncomponent = \"{}\"\n{rest}", Digest::of(&component))).unwrap();
    fs::write(file("wasm"), component).unwrap();
}

/// The component with this request in place of any other. A file that is not a component does not change.
pub(crate) fn asking(component: &[u8], request: &str) -> Vec<u8> {
    const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
    const NAME: &[u8] = b"\x0dwarded:policy";
    let Some(sections) = component.strip_prefix(HEADER) else { return component.to_owned() };
    let mut bytes = HEADER.to_vec();
    let mut rest = sections;
    // A section is its ID, its size and its contents; ID 0 is a custom section, which begins with its name.
    while let Some((id, size, header)) = section(rest) {
        let Some((whole, others)) = rest.split_at_checked(header + size) else { break };
        if id != 0 || !whole[header..].starts_with(NAME) {
            bytes.extend(whole);
        }
        rest = others;
    }
    bytes.extend(rest);
    let contents = [NAME, request.as_bytes()].concat();
    bytes.push(0);
    bytes.extend(leb128(contents.len()));
    bytes.extend(contents);
    bytes
}

/// A section's ID, its size, and the length of this header.
fn section(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (id, rest) = bytes.split_first()?;
    let length = rest.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
    let size = rest[..length].iter().rev().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
    Some((*id, size, 1 + length))
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}
