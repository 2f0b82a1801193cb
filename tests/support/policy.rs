//! Policies that tests write: grants, for a component that a test made or the bundled `demo`.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};
use warded_lib::digest::Digest;

/// The bundled component that writes what it is told to, and what its policy says of settings.
const DEMO: &[u8] = include_bytes!("../../policies/demo.wasm");
const DEMO_SETTINGS: &str = r#"
settings.path   = { type = "string", required = true, help = "the file" }
settings.text   = { type = "string", many = true, help = "a line of the file" }
settings.reload = { type = "choice", values = ["yes", "no"], default = "no", help = "whether to reload" }
"#;

/// The grants of a procedure; none to begin with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grants {
    lists: BTreeMap<String, Vec<String>>,
    flags: BTreeMap<String, bool>,
}

impl Grants {
    /// Grants from lines of a policy file: `files.read = ["/x"]`.
    pub(crate) fn of(lines: &[&str]) -> Self {
        let mut grants = Self::default();
        lines.iter().for_each(|line| grants.add(line));
        grants
    }

    /// Adds a line, to what there is under the same key.
    pub(crate) fn add(&mut self, line: &str) {
        let (key, _) = line.split_once(" = ").unwrap_or_else(|| panic!("no grant: {line}"));
        let mut value: &toml::Value = &toml::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        for part in key.split('.') {
            value = &value[part];
        }
        match value {
            toml::Value::Boolean(flag) => drop(self.flags.insert(key.to_owned(), *flag)),
            other => {
                let words = other.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
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
        let digest = Digest::of(component);
        let mut text = format!(
            "name = {name:?}\ncomponent = \"{digest}\"\n[service.ssh]\nsystemd = [\"ssh.service\"]\ndirect = \"sshd\"\n\
             [procedure.{procedure}]\nsummary = \"A test\"\n{settings}"
        );
        for (key, words) in &self.lists {
            writeln!(text, "{key} = {words:?}").unwrap();
        }
        for (key, flag) in &self.flags {
            writeln!(text, "{key} = {flag}").unwrap();
        }
        fs::write(directory.join(format!("{name}.toml")), text).unwrap();
        fs::write(directory.join(format!("{name}.wasm")), component).unwrap();
    }
}
