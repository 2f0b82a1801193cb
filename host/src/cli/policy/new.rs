//! `warded policy new` and `warded policy wit`: the files that an author of a policy starts with. Nothing else is
//! needed but cargo, or npm.

use crate::{cli::output::Output, components};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use warded_artifact::read::MAX_COMPONENT_BYTES;
use warded_lib::{
    error::{Error, Exit, Result},
    machine::durable,
    name::Name,
    text::{count, neutral},
};

/// The interfaces, and the crates for making guests, as they are in this binary's repository.
const AUTHORING: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/authoring.rs"));
/// The author's own files in Rust. NAME is the policy's name.
const RUST: [(&str, &str); 5] = [
    ("policy.toml", include_str!("template/policy.toml")),
    ("src/lib.rs", include_str!("template/lib.rs")),
    ("src/set_motd.rs", include_str!("template/set_motd.rs")),
    ("src/world.rs", include_str!("template/world.rs")),
    ("scenarios/two-lines.toml", include_str!("template/two-lines.toml")),
];
const PACKAGE: &str = include_str!("template/Cargo.toml");
/// The author's own files in JavaScript. `example` is the policy's name.
const JAVASCRIPT: [(&str, &str); 9] = [
    (".gitignore", include_str!("../../../../guests/examples/javascript/.gitignore")),
    ("package-lock.json", include_str!("../../../../guests/examples/javascript/package-lock.json")),
    ("package.json", include_str!("../../../../guests/examples/javascript/package.json")),
    ("policy.toml", include_str!("../../../../guests/examples/javascript/policy.toml")),
    ("scenarios/two-lines.toml", include_str!("../../../../guests/examples/javascript/scenarios/two-lines.toml")),
    ("src/contents.js", include_str!("../../../../guests/examples/javascript/src/contents.js")),
    ("src/guest.js", include_str!("../../../../guests/examples/javascript/src/guest.js")),
    ("test/contents.test.js", include_str!("../../../../guests/examples/javascript/test/contents.test.js")),
    ("wit/guest.wit", include_str!("../../../../guests/examples/javascript/wit/guest.wit")),
];

#[derive(Debug, Args)]
pub(in crate::cli) struct New {
    /// The policy's name, and the new folder's
    name: Name,
    /// The language of the guest
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    language: Language,
}

/// A language that a guest can be written in.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Language {
    /// Needs cargo
    Rust,
    /// Needs Node.js and npm
    #[value(name = "javascript")]
    JavaScript,
    /// Not supported; says why
    #[value(hide = true)]
    Python,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Wit {
    /// A new folder
    directory: PathBuf,
}

impl New {
    pub(super) fn run(&self, output: Output) -> Result<Exit> {
        let name = self.name.as_str();
        if components::is_bundled(&self.name) {
            return Err(Error::usage(format!("the name {name} is that of a bundled policy")).next("take another one"));
        }
        if components::is_reserved(&self.name) {
            return Err(Error::usage(format!("no policy can be called {name}"))
                .cause(format!("`warded audit {name}` is a command"))
                .next("take another name"));
        }
        let directory = Path::new(name);
        let (files, procedure, next) = match self.language {
            Language::Rust => {
                (rust(name), "set-motd", "read src/set_motd.rs and policy.toml, then warded policy build")
            }
            Language::JavaScript => (
                javascript(name),
                "set-banner",
                "read src/guest.js and policy.toml, then npm ci && warded policy build",
            ),
            Language::Python => {
                return Err(Error::usage("a guest in Python cannot be run")
                    .cause(format!(
                        "a component made by componentize-py has 18 MB, and the limit is {} MiB",
                        MAX_COMPONENT_BYTES >> 20
                    ))
                    .next("write it in Rust, or in JavaScript: --language javascript (docs/WRITING-A-POLICY.md)"));
            }
        };
        write(directory, &files)?;
        let count = count(files.len(), "file");
        output.line(format!("Made {name}/ with {count}: a guest with the procedure {procedure}."))?;
        output.line(format!("Next: cd {name}, {next}"))?;
        output.object(&json!({ "schema": "warded.policy-new/1", "directory": name, "files": names(&files) }))?;
        Ok(Exit::Done)
    }
}

impl Wit {
    pub(super) fn run(&self, output: Output) -> Result<Exit> {
        let files: Vec<(String, String)> = AUTHORING
            .iter()
            .filter_map(|(file, text)| Some((file.strip_prefix("wit/")?.to_owned(), (*text).to_owned())))
            .collect();
        write(&self.directory, &files)?;
        let shown = neutral(&self.directory.display().to_string());
        output.line(format!("Wrote the {} that this program offers into {shown}/.", count(files.len(), "WIT file")))?;
        output.object(&json!({ "schema": "warded.policy-wit/1", "directory": shown, "files": names(&files) }))?;
        Ok(Exit::Done)
    }
}

fn rust(name: &str) -> Vec<(String, String)> {
    let named = |text: &str| text.replace("NAME", name).replace("UNDERSCORED", &name.replace('-', "_"));
    let given = AUTHORING.iter().map(|(file, text)| match *file {
        "Cargo.toml" => ((*file).to_owned(), workspace(text) + &named(PACKAGE)),
        // The SDK's modules and the crates around them are a reader's; the lock is cargo's.
        _ => ((*file).to_owned(), (*text).to_owned()),
    });
    given.chain(RUST.iter().map(|(file, text)| ((*file).to_owned(), named(text)))).collect()
}

fn javascript(name: &str) -> Vec<(String, String)> {
    let interfaces = AUTHORING
        .iter()
        .filter_map(|(file, text)| Some((format!("wit/deps/host/{}", file.strip_prefix("wit/")?), (*text).to_owned())));
    interfaces
        .chain(JAVASCRIPT.iter().map(|(file, text)| ((*file).to_owned(), text.replace("example", name))))
        .collect()
}

/// The guests' workspace, with the author's package as its root.
fn workspace(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in &mut lines {
        if line.starts_with("members = ") {
            *line = "members = [\"warded/componentize\", \"warded/sdk\", \"warded/sshd-config\"]".to_owned();
        }
        *line = line.replace("path = \"sdk\"", "path = \"warded/sdk\"");
        *line = line.replace("path = \"sshd-config\"", "path = \"warded/sshd-config\"");
    }
    lines.join("\n") + "\n"
}

fn names(files: &[(String, String)]) -> Vec<&str> {
    files.iter().map(|(name, _)| name.as_str()).collect()
}

/// Writes a new folder; existing files stay.
fn write(directory: &Path, files: &[(String, String)]) -> Result<()> {
    let shown = neutral(&directory.display().to_string());
    let failed = |error: std::io::Error| Error::failed(format!("cannot write {shown}")).cause(error);
    if directory.symlink_metadata().is_ok() {
        return Err(Error::refused(format!("{shown} is there already"))
            .state("it is as it was")
            .next("take another name"));
    }
    for (name, text) in files {
        let path = directory.join(name);
        durable::directory(path.parent().unwrap_or(directory)).map_err(failed)?;
        durable::replace(&path, text.as_bytes(), 0o644).map_err(failed)?;
    }
    Ok(())
}
